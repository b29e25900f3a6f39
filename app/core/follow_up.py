"""Follow-ups: a caller's answer to the question at which a turn stopped.

The turn keeps its id and its place; what was said so far goes with it: to callers as its history,
to an agent that reads only its prompt as text.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core import ids, keys, push, turns
from app.core.errors import StaleFence
from app.core.platform import Platform
from app.core.push import Config
from app.core.settings import Settings, env_name
from app.core.turns import Accepted

TRIES = 5


@dataclass(frozen=True)
class FollowUp:
    """What a caller says to a turn that asked for input.

    ``said`` is what the agent said when it asked, as a message, or None. ``asked`` and
    ``principal`` tell a repeat; ``idempotency_key`` names the call as it names a submit, so that a
    retry after a lost answer is answered as the first was, however far the turn has come.
    """

    text: str
    message: Mapping[str, Any]
    asked: Mapping[str, Any]
    protocol: str = ""
    principal: str = ""
    idempotency_key: str | None = None
    traceparent: str | None = None
    push: Config | None = None
    call: str = field(default_factory=lambda: ids.new("call"))


def submit(platform: Platform, workspace_id: str, turn_id: str, given: FollowUp) -> Accepted:
    """Queue the turn again with what was said; never waits for the agent.

    Raises:
        TurnNotFound, QueueFull, WorkspaceNotFound, WorkspaceRemoved, IdempotencyConflict,
        TooManyPushConfigs.
        IllegalTransition: the turn does not wait for input; ``state`` says what it does.
        StaleFence: others were quicker, several times over.
    """
    name = given.idempotency_key or ""
    submit_key = keys.idempotency(workspace_id, "key", given.principal, name)
    digest = _digest([given.principal, json.dumps(given.asked, sort_keys=True)])
    for _ in range(TRIES):
        turn, body, result = turns.read_whole(platform, workspace_id, turn_id)
        whole, limits = continued(platform.settings, body or {}, result or {}, given)
        reply = platform.run(
            "follow",
            workspace_id,
            {"submit_key": submit_key},
            turn_id=turn_id,
            attempt=turn.attempt,
            body=json.dumps(whole, ensure_ascii=False, separators=(",", ":")),
            digest=digest,
            call=_digest([given.principal, given.call]),
            named=bool(name),
            limits=json.dumps(limits),
            **push.args(given.push, turn_id),
        )
        if reply[0] != "moved":
            push.hint(platform, workspace_id, given.push)
            return turns.accepted(platform, workspace_id, reply)
    raise StaleFence(turn_id=turn_id)


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def continued(
    settings: Settings, body: Mapping[str, Any], result: Mapping[str, Any], given: FollowUp
) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """What the next session is asked, and the limits that acted. Pure.

    ``body`` and ``result`` are those of the session that asked.
    """
    entry = {"role": "user", "protocol": given.protocol, "message": given.message}
    said = {"role": "agent", "text": result.get("text") or "", "parts": result.get("parts")}
    kept, limits = _newest([*exchange(body), said, entry], settings.history_max_bytes, 1)
    made = [*body.get("artifacts", ()), *(result.get("artifacts") or ())]
    artifacts, more = _newest(made, settings.history_max_bytes, 0)
    whole = {
        "text": told(given.text, kept[:-1], settings.prompt_max_bytes),
        "message": given.message,
        "protocol": given.protocol,
        "history": kept,
        "artifacts": artifacts,
    }
    if given.traceparent or body.get("traceparent"):
        whole["traceparent"] = given.traceparent or body["traceparent"]
    return whole, limits + more


def exchange(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was said in a turn until it was last asked, oldest first.

    Of a user an entry has ``message`` and the ``protocol`` it came in, of the agent ``text`` and
    ``parts``.
    """
    if "history" in body:
        return list(body["history"])
    if not body.get("message") and not body.get("text"):
        return []  # a fire: its schedule says what is asked
    message = body.get("message") or {"parts": [{"kind": "text", "text": body.get("text", "")}]}
    return [{"role": "user", "protocol": body.get("protocol", ""), "message": message}]


def _newest(
    entries: Sequence[dict[str, Any]], limit_bytes: int, least: int
) -> tuple[list[dict[str, Any]], list[tuple[str, Any]]]:
    """As many of the newest entries as the limit takes, ``least`` of them always."""
    sizes = [len(json.dumps(entry, ensure_ascii=False).encode()) for entry in entries]
    first = len(entries) - least
    total = sum(sizes[first:])
    while first > 0 and total + sizes[first - 1] <= limit_bytes:
        first -= 1
        total += sizes[first]
    if first <= 0:
        return list(entries), []
    setting = env_name("history_max_bytes")
    facts = {"limit_bytes": limit_bytes, "measured_bytes": sum(sizes), "setting": setting}
    return list(entries[first:]), [("history_max", facts)]


def told(text: str, before: Sequence[Mapping[str, Any]], limit_bytes: int) -> str:
    """The answer, then what was said before as far as the limit takes it, newest kept.

    What was said stands in tags that it cannot close itself.
    """
    lines = [
        json.dumps({"role": entry["role"], "text": spoken(entry)}, ensure_ascii=False).replace(
            "<", "\\u003c"
        )
        for entry in before
    ]
    left_out = "(earlier words are left out)"
    room = limit_bytes - len(text.encode()) - 200
    first = len(lines)
    while first > 0 and room - len(lines[first - 1].encode()) - 1 >= 0:
        first -= 1
        room -= len(lines[first].encode()) + 1
    shown = lines[first:] if first == 0 else [left_out, *lines[first:]]
    return (
        f"{text}\n\nThis answers your question. What was said before, oldest first:\n"
        "<exchange>\n" + "\n".join(shown) + "\n</exchange>"
    )


def spoken(entry: Mapping[str, Any]) -> str:
    """The text of one entry of an exchange."""
    if "message" not in entry:
        return str(entry.get("text", ""))
    parts = entry["message"].get("parts", ())
    texts = (part["text"] for part in parts if isinstance(part, dict) and "text" in part)
    return "\n".join(str(text) for text in texts)
