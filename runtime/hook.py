"""``python -m runtime.hook``: a hook of Claude Code that passes on the wish to wrap up.

For PostToolUse and PostToolUseFailure; harmless on every other event. Reads the file named by
TURNKEEPER_CONTROL_FILE; says nothing as long as it is not there. Standard library only and no
package import: it is started at every tool call. Its answers follow
https://docs.claude.com/en/docs/claude-code/hooks.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TOLD = ".told"


def main() -> int:
    """Answer on stdout; 0 whatever happens: a broken hook must not break the agent."""
    try:
        call = json.loads(sys.stdin.buffer.read() or b"{}")
        control = os.environ.get("TURNKEEPER_CONTROL_FILE", "")
        said = answer(str(call.get("hook_event_name", "")), control, datetime.now(UTC))
    except (OSError, ValueError, AttributeError) as error:
        print(f"turnkeeper hook: {error}", file=sys.stderr)
        return 0
    if said:
        print(json.dumps(said))
    return 0


def answer(event: str, control: str, now: datetime) -> dict[str, Any]:
    """The hook's JSON; empty when nothing is wished.

    After a tool the whole text once, then a sentence; past the deadline ``continue`` false, which
    ends claude, while codex 0.169 shows the reason to the model and goes on. Before a tool nothing
    is said: there ``continue`` false does not keep the tool from running, and a denial makes the
    agent try for ever (both measured on claude 2.1.197). A stopping agent is let go.

    Raises: OSError and ValueError for a control file that cannot be read.
    """
    wish = read_wish(control)
    if wish is None or event in ("PreToolUse", "Stop", "SubagentStop"):
        return {}
    deadline = parse_moment(wish.get("deadline_at"))
    if deadline is not None and now >= deadline:
        why = f"Turnkeeper: the time to WRAP-UP ended at {wish['deadline_at']}: stop now."
        return {"continue": False, "stopReason": why}
    text = wrap_up_text(wish) if first_time(control) else reminder_text(wish)
    if event in ("PostToolUse", "PostToolUseFailure", "UserPromptSubmit"):
        return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}
    return {"systemMessage": text}


def wrap_up_text(wish: dict[str, Any]) -> str:
    """What the model is told, in full."""
    reason = f" ({wish['reason']})" if wish.get("reason") else ""
    until = f" This session is ended at {wish['deadline_at']}." if wish.get("deadline_at") else ""
    file = wish.get("checkpoint_file")
    note = f' Where you can, write {{"summary", "next_step"}} as JSON to {file}.' if file else ""
    return (
        f"Turnkeeper asks you to WRAP-UP now{reason}. This replaces your current task: start "
        "nothing new, do not finish what remains. Save what you have, then answer with what is "
        f"done and what comes next, and stop.{note}{until}"
    )


def reminder_text(wish: dict[str, Any]) -> str:
    """What the model is told again at each tool call."""
    until = f", at the latest by {wish['deadline_at']}" if wish.get("deadline_at") else ""
    return f"Turnkeeper: WRAP-UP was asked for; answer and stop{until}."


def read_wish(control: str) -> dict[str, Any] | None:
    """The wish in the control file; None when there is none. Raises: OSError, ValueError."""
    if not control:
        return None
    try:
        wish = json.loads(Path(control).read_bytes())
    except FileNotFoundError:
        return None
    return wish if isinstance(wish, dict) and wish.get("action") == "checkpoint" else None


def first_time(control: str) -> bool:
    """True once per control file, also among hooks that run at the same time."""
    try:
        Path(control + TOLD).touch(exist_ok=False)
    except OSError:
        return False
    return True


def parse_moment(text: Any) -> datetime | None:
    """An RFC 3339 moment; None if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
