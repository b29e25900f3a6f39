"""A message in: a new turn, or the answer to a question of one; then a bounded wait.

Room to wait is taken before anything is accepted: who is refused has sent nothing.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from flask import current_app, request

from app.api import ownership
from app.api.a2a.faults import Fault
from app.api.bounds import check_prompt
from app.api.hub import Hub, Waiter
from app.api.operation import platform, require, token
from app.api.tracing import traceparent
from app.core import delegations, follow_up, ids, keys, turns, workspaces
from app.core.a2a import shapes
from app.core.errors import AnswerPending, IdempotencyConflict, InvalidInput
from app.core.push import Config
from app.core.records import Turn
from app.core.states import TERMINAL

LOOK_S = 1.0
NAME_MAX = 256
PARTS_MAX = 1000
REDELIVER = ("on_loss", "never")
ANSWERED_S = 10.0  # beyond the wait: how long an answer may take until its retry may try anew


@dataclass(frozen=True)
class Send:
    """What a client asks for, whichever form it came in.

    ``message`` is in the form of ``protocol`` ("" for the short form); ``is_waiting``: the client
    wants the answer if it comes soon.
    """

    message: Mapping[str, Any]
    protocol: str
    text: str
    is_waiting: bool = True
    history_length: int | None = None
    push: Config | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    expires_in_s: float | None = None
    priority: int | None = None


def hub() -> Hub:
    """The hub of this web process."""
    found: Hub = current_app.extensions["turnkeeper"].hub
    return found


def accept(workspace_id: str, send: Send) -> turns.Accepted:
    """Queue the message: as a new turn, or where it names a task as the answer to its question.

    Raises:
        WorkspaceNotFound: nothing was accepted.
    """
    _check(send)
    message = send.message
    if message.get("taskId"):
        workspaces.require(platform(), workspace_id)
        return _follow(workspace_id, send)
    from_id = _from(send.metadata.get("from_workspace_id"))
    is_agent = bool(from_id) or send.metadata.get("origin") == "agent"
    redeliver = send.metadata.get("redeliver")
    if redeliver not in (None, *REDELIVER):
        raise InvalidInput("params.metadata.redeliver", f"one of {', '.join(REDELIVER)}")
    body = {
        "text": send.text,
        "message": {"messageId": ids.new("msg"), **message},
        "protocol": send.protocol,
    }
    if trace := traceparent():
        body["traceparent"] = trace
    context_id = message.get("contextId") or ids.new("ctx")
    ownership.check_context(workspace_id, context_id)
    taken = turns.submit(
        platform(),
        workspace_id,
        turns.Request(
            body=body,
            origin="agent" if is_agent else "chat",
            lane=turns.LANE_OF_PRIORITY[send.priority] if send.priority else None,
            principal=token().principal,
            context_id=context_id,
            idempotency_key=request.headers.get("Idempotency-Key"),
            repeat_key=message.get("messageId"),
            asked=message,
            expires_in_s=send.expires_in_s,
            redeliver=redeliver,
            push=send.push,
            from_workspace_id=from_id,
        ),
    )
    if from_id and taken.outcome == "accepted":
        delegations.note(platform(), from_id, workspace_id, taken.turn_id, send.text)
    return taken


def _from(workspace_id: Any) -> str | None:
    """Whose agent asks: only who holds that agent's token may say so.

    Raises:
        InvalidInput, Forbidden, WorkspaceNotFound.
    """
    if workspace_id is None:
        return None
    if not isinstance(workspace_id, str) or not workspace_id:
        raise InvalidInput("params.metadata.from_workspace_id", "the id of a workspace")
    require("runtime", workspace_id)
    workspaces.require(platform(), workspace_id)
    return workspace_id


def _follow(workspace_id: str, send: Send) -> turns.Accepted:
    turn = ownership.turn_of(workspace_id, send.message["taskId"])
    context_id = send.message.get("contextId")
    if context_id and context_id != shapes.context_of(turn):
        raise Fault("INVALID_PARAMS", "message.contextId: not the context of this task")
    given = follow_up.FollowUp(
        text=send.text,
        message=send.message,
        asked=send.message,
        protocol=send.protocol,
        principal=token().principal,
        idempotency_key=request.headers.get("Idempotency-Key"),
        traceparent=traceparent(),
        push=send.push,
    )
    return follow_up.submit(platform(), workspace_id, turn.id, given)


def _check(send: Send) -> None:
    check_prompt("params.message.parts", send.text)
    if send.priority is not None and send.priority not in turns.LANE_OF_PRIORITY:
        allowed = ", ".join(str(number) for number in turns.LANE_OF_PRIORITY)
        raise InvalidInput("params.priority", f"one of {allowed}")
    for name in ("messageId", "contextId", "taskId"):
        if len(str(send.message.get(name) or "")) > NAME_MAX:
            raise InvalidInput(f"params.message.{name}", f"at most {NAME_MAX} characters")
    if len(send.message["parts"]) > PARTS_MAX:
        raise InvalidInput("params.message.parts", f"at most {PARTS_MAX}")


def answer_to(workspace_id: str, send: Send) -> dict[str, Any]:
    """Accept a message and wait as it asks: ``{"task": …}``, or the agent's bare ``{"message"}``.

    Raises:
        Overloaded: too many requests wait already; nothing was accepted.
    """
    settings = platform().settings
    with ExitStack() as stack:
        waiter = None
        if send.is_waiting and settings.message_wait_s:
            workspaces.require(platform(), workspace_id)  # nobody waits for one that is not there
            waiter = stack.enter_context(hub().waiting(workspace_id, token().owner))
        taken = accept(workspace_id, send)
        if waiter:
            wait(waiter, workspace_id, taken.turn_id, has_stopped, settings.message_wait_s)
    turn, body, result = turns.read_whole(platform(), workspace_id, taken.turn_id)
    if waiter and shapes.is_bare(turn, result):
        return {"message": shapes.bare_message(turn, result)}
    facts = {"queue_depth": taken.depth} if turn.state == "queued" else None
    length = send.history_length
    return {"task": shapes.task(turn, body, result, history_length=length, facts=facts)}


def has_stopped(turn: Turn) -> bool:
    """Whether a turn has ended or waits for its caller."""
    return turn.state in TERMINAL or turn.state == "input_required"


def of_turn(turn_id: str) -> Callable[[str, str], bool]:
    """The events of one turn."""
    return lambda event, of: of == turn_id


def wait(
    waiter: Waiter, workspace_id: str, turn_id: str, until: Callable[[Turn], bool], wait_s: float
) -> None:
    """Until the turn is as wanted, at most so long; woken by its events."""
    clock = platform().clock
    waiter.wants = of_turn(turn_id)
    end = clock.monotonic() + wait_s
    while not platform().stopping.is_set():
        left_s = end - clock.monotonic()
        if until(turns.get(platform(), workspace_id, turn_id)) or left_s <= 0:
            return
        waiter.wait(min(left_s, LOOK_S))


def once(
    workspace_id: str, send: Send, answer: Callable[[], tuple[dict[str, Any], int]]
) -> tuple[dict[str, Any], int]:
    """The answer; under an Idempotency-Key the first one again, for as long as it is remembered.

    What was accepted is remembered with the turn itself; here it is the words of the answer. A
    process that dies before it has answered leaves its mark only as long as an answer may take.

    Raises:
        AnswerPending: the first request is still being answered.
        WorkspaceNotFound.
        IdempotencyConflict: the key stands for another message.
    """
    name = request.headers.get("Idempotency-Key")
    if not name:
        return answer()
    here, data = platform(), platform().clients.data
    workspaces.require(here, workspace_id)  # else its mark stood there before it
    digest = hashlib.sha256(json.dumps(send.message, sort_keys=True).encode()).hexdigest()[:32]
    key = keys.idempotency(workspace_id, "answer", token().principal, name)
    mark_ms = round((here.settings.message_wait_s + ANSWERED_S) * 1000)
    mine = f"{digest} {ids.new('call')}"
    found = None if data.set(key, mine, nx=True, px=mark_ms) else data.get(key)
    if found not in (None, mine):  # mine: the command was sent again after a lost reply
        known, _, told = found.partition(" ")
        if known != digest:
            raise IdempotencyConflict
        if not told.startswith("{"):
            raise AnswerPending
        stored = json.loads(told)
        return stored["answer"], stored["status"]
    try:
        content, status = answer()
    except BaseException:
        data.delete(key)
        raise
    text = json.dumps({"answer": content, "status": status}, ensure_ascii=False)
    data.set(key, f"{digest} {text}", px=round(here.settings.idempotency_ttl_s * 1000))
    return content, status
