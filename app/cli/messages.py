"""``turnkeeper send`` and ``turnkeeper why``: say something, and ask what everything waits for."""

import sys
import threading
import time
from typing import Any

import click

from app.cli.client import Api, workspace_path
from app.cli.connection import Cli, connected, show_done
from app.cli.faults import FAILED, REFUSED, TIMED_OUT, USAGE, Fault
from app.cli.names import workspace_argument
from app.cli.parameters import DURATION
from app.cli.plain_text import plain
from app.cli.turns import TERMINAL

FIRST_LOOK_S, LONGEST_LOOK_S = 0.1, 2.0


@click.command()
@workspace_argument
@click.argument("text")
@click.option("--wait", is_flag=True, help="Stay until the turn has ended and print its answer.")
@click.option("--timeout", "timeout_s", type=DURATION, default="10m", show_default=True)
@click.option("--key", help="Idempotency key: the same key and text is the same turn.")
@connected
def send(
    cli: Cli, workspace: str, text: str, wait: bool, timeout_s: float, key: str | None
) -> None:
    """Send a chat message ("-": read it from stdin)."""
    words = sys.stdin.read() if text == "-" else text
    if not words.strip():
        raise Fault("an empty message is not sent", exit_code=USAGE)
    answer = post_message(cli.api, workspace, words, key)
    turn_id = str(answer["queue_id"])
    if not wait:
        sentence = f"{turn_id}: {answer.get('message') or 'queued'}"
        show_done(cli, answer, plain(sentence))
        return
    turn = wait_for_turn(cli.api, workspace, turn_id, timeout_s)
    show_done(cli, turn, outcome_text(turn))
    if turn["state"] not in ("completed", "input_required"):
        raise Fault(
            f"turn {turn_id} ended as {turn['state']}",
            reason_text(turn),
            f"turnkeeper turns show {workspace} {turn_id}",
            FAILED,
        )


@click.command()
@workspace_argument
@connected
def why(cli: Cli, workspace: str) -> None:
    """Say in one sentence why nothing runs, or what everything waits for."""
    answer = cli.api.call("GET", workspace_path(workspace, "why"))
    show_done(cli, answer, plain(f"{answer['sentence']} ({answer['code']})"))


def post_message(api: Api, workspace: str, text: str, key: str | None = None) -> dict[str, Any]:
    """Queue a chat message; the queued answer with its ``queue_id``."""
    message: dict[str, Any] = {"role": "user", "parts": [{"kind": "text", "text": text}]}
    if key:
        message["messageId"] = key
    body = {"method": "message/send", "params": {"message": message}}
    headers = {"Idempotency-Key": key} if key else {}
    answer: dict[str, Any] = api.call(
        "POST", workspace_path(workspace, "a2a"), body, headers=headers
    )
    return answer


def wait_for_turn(api: Api, workspace: str, turn_id: str, timeout_s: float) -> dict[str, Any]:
    """The turn once it has ended, or once it asks for more input.

    Raises:
        Fault: with exit code 124 when the time is over; the turn itself goes on.
    """
    deadline = time.monotonic() + timeout_s
    pause_s, clock = FIRST_LOOK_S, threading.Event()
    while True:
        turn = _look(api, workspace, turn_id)
        if turn["state"] in TERMINAL or turn["state"] == "input_required":
            return turn
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise Fault(
                f"turn {turn_id} is still {turn['state']} after {timeout_s:g} s",
                "it goes on; only the waiting has ended",
                f"turnkeeper turns show {workspace} {turn_id}   or: turnkeeper why {workspace}",
                TIMED_OUT,
            )
        clock.wait(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, LONGEST_LOOK_S)


def _look(api: Api, workspace: str, turn_id: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = api.call("GET", workspace_path(workspace, "turns", turn_id))
    except Fault as fault:
        if fault.problem.get("code") != "forbidden":
            raise
        raise Fault(
            f"turn {turn_id} is queued, but this token may not read how it ends",
            "to wait needs the scope read beside send; the message is not sent again by this",
            f"turnkeeper turns show {workspace} {turn_id}   (with a token that may read)",
            REFUSED,
            fault.problem,
        ) from fault
    return found


def outcome_text(turn: dict[str, Any]) -> str:
    """What the agent answered; empty when there is no text."""
    result = turn.get("result")
    text = result.get("text") if isinstance(result, dict) else None
    return plain(str(text), keep_lines=True) if text else f"({turn['state']}, no text)"


def reason_text(turn: dict[str, Any]) -> str:
    """Why a turn did not complete: the error's own words, then the mechanism."""
    error = turn.get("error")
    parts = (
        [str(error.get("detail") or error.get("message") or error.get("code") or "")]
        if (isinstance(error, dict))
        else [str(error or "")]
    )
    if turn.get("mechanism"):
        parts.append(f"mechanism={turn['mechanism']}")
    return "; ".join(part for part in parts if part)
