"""A refusal on the command line: what, why, and the next command to try, with its exit code.

A ``ClickException`` and not a ``TurnkeeperError``: these are refusals the kernel never sees, and
click knows how to end a command with one.
"""

import json
from typing import IO, Any

import click

from app.cli.plain_text import plain

OK, FAILED, USAGE, NOT_FOUND, REFUSED, UNREACHABLE, TIMED_OUT = 0, 1, 2, 3, 4, 5, 124

NEXT_BY_CODE = {
    "unauthorized": "set TURNKEEPER_TOKEN (or --token) to a token that is not expired or revoked",
    "forbidden": "turnkeeper tokens create --name NAME --scope SCOPE  (with an admin token)",
    "workspace_not_found": "turnkeeper workspaces ls",
    "turn_not_found": "turnkeeper turns ls WORKSPACE",
    "session_not_found": "turnkeeper sessions ls WORKSPACE",
    "schedule_not_found": "turnkeeper schedules ls WORKSPACE",
    "queue_full": "turnkeeper why WORKSPACE",
    "store_unavailable": "try again; nothing was accepted",
    "memory_not_found": "turnkeeper memories ls WORKSPACE",
    "workspace_removed": "turnkeeper workspaces ls   (a removed id is not given again)",
    "already_exists": "turnkeeper workspaces ls",
    "illegal_transition": "turnkeeper turns show WORKSPACE TURN   (it has moved on)",
    "schedule_changed": "look again, then repeat it: turnkeeper schedules ls WORKSPACE",
    "memories_full": "turnkeeper memories rm WORKSPACE MEMORY",
    "store_full": "turnkeeper doctor   (Redis is full; what has begun can end)",
    "unknown_schema": "turnkeeper doctor",
}
NEXT_BY_STATUS = {
    400: "turnkeeper COMMAND --help",
    404: "turnkeeper workspaces ls",
    422: "turnkeeper COMMAND --help",
    500: "turnkeeper doctor   (and the log of the web process)",
    503: "turnkeeper doctor",
}


class Fault(click.ClickException):
    """A command that did not do what it was asked."""

    def __init__(
        self,
        what: str,
        why: str = "",
        next_step: str = "",
        exit_code: int = FAILED,
        problem: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.why = why
        self.next_step = next_step
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance
        self.problem = problem or {}
        self.is_json = False

    def show(self, file: IO[Any] | None = None) -> None:
        """Write to stderr: three short lines, or one JSON object under ``-o json``."""
        if self.is_json:
            body = {"error": self.message, "why": self.why, "next": self.next_step}
            click.echo(json.dumps(body | {"problem": self.problem}), file=file, err=True)
            return
        click.echo(f"Error: {plain(self.message)}", file=file, err=True)
        for label, text in (("  why: ", self.why), ("  next: ", self.next_step)):
            if text:
                click.echo(label + plain(text, keep_lines=True), file=file, err=True)


def from_problem(status: int, body: Any, asked: str, retry_after: str = "") -> Fault:
    """The fault for an HTTP answer of 400 and above; ``body`` is problem+json when it is a dict."""
    problem = body if isinstance(body, dict) else {}
    code = str(problem.get("code", ""))
    title = str(problem.get("title") or f"the server answered {status}")
    reasons = [str(problem["detail"])] if problem.get("detail") else []
    for item in problem.get("errors") or []:
        text = f"{item.get('field')}: {item.get('rule')}" if isinstance(item, dict) else str(item)
        if not reasons or text not in reasons[0]:
            reasons.append(text)
    # Most refusals have nothing to add to their kind: one sentence, said once.
    reasons = [text for text in reasons if text.rstrip(".") != title.rstrip(".")]
    next_step = NEXT_BY_CODE.get(code) or NEXT_BY_STATUS.get(status, "")
    if retry_after:
        next_step = f"try again in {retry_after} s" + (f"; {next_step}" if next_step else "")
    what = f"{asked}: {title.rstrip('.')}" + (f" ({code})" if code else "")
    return Fault(what, "; ".join(reasons), next_step, exit_code_of(status), problem)


def exit_code_of(status: int) -> int:
    """The exit code of an HTTP status; 400 is refused too, a gateway's 502-504 unreachable."""
    if status == 404:
        return NOT_FOUND
    if 400 <= status < 500:
        return REFUSED
    return UNREACHABLE if status in (502, 503, 504) else FAILED
