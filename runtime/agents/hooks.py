"""How agents are told of our hook (``runtime.hook``), which speaks after their tools."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime import hook

TIMEOUT_S = 10


def command() -> str:
    """The shell command of the hook. By file, with ``-S -E``: it starts in 15 ms."""
    return shlex.join([sys.executable, "-S", "-E", str(Path(hook.__file__).resolve())])


def claude_settings(allowed: Sequence[str] = ()) -> dict[str, Any]:
    """For ``claude --settings``: our hook, and tools that need no permission. A failed tool has an
    event of its own."""
    entry = {"hooks": [{"type": "command", "command": command(), "timeout": TIMEOUT_S}]}
    events = ("PostToolUse", "PostToolUseFailure")
    hooks = {"hooks": {event: [{"matcher": "*", **entry}] for event in events}}
    return hooks | ({"permissions": {"allow": list(allowed)}} if allowed else {})


def codex_option() -> str:
    """For ``codex -c``, as TOML. Codex runs it only with its trust, or with
    ``--dangerously-bypass-hook-trust``, which covers the hooks of the project too."""
    entry = f'{{type="command",command={json.dumps(command())},timeout={TIMEOUT_S}}}'
    return f'hooks.PostToolUse=[{{matcher="*",hooks=[{entry}]}}]'
