"""What is to be done about the lines of one workspace: pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.core.lines import PUSH, Standing
from app.core.webhooks import Webhook, cursor_of


@dataclass(frozen=True)
class Open:
    """Open this line and serve it; without a cursor: from where its turn begins."""

    line: str
    cursor: str | None = None


@dataclass(frozen=True)
class Close:
    """Close this line; ``remove``: nobody will open it again. No mechanism: nobody is told."""

    line: str
    mechanism: str = ""
    reason: str = ""
    remove: bool = False
    failed_count: int | None = None


@dataclass(frozen=True)
class Run:
    """Serve this line; ``is_owed`` False: it owes nothing, and may have come to its end."""

    line: str
    is_owed: bool = True


Action = Open | Close | Run


def plan(found: Standing, registry: Sequence[Webhook]) -> Iterator[Action]:
    """Every webhook that covers the workspace has a line, and no other has one."""
    hooks = {hook.id: hook for hook in registry if hook.covers(found.workspace_id)}
    for hook in hooks.values():
        line = found.lines.get(hook.id)
        if hook.enabled and (line is None or not line.is_open):
            yield Open(hook.id, cursor_of(hook))
    for name, line in found.lines.items():
        if name.startswith(PUSH):
            if name.removeprefix(PUSH) not in found.pushes:
                yield Close(name, remove=True)
            elif line.is_open:
                yield Run(name, line.owes(found.last_event_id))
            continue
        of = hooks.get(name.partition("|")[0])
        if of is None:
            yield Close(name, "webhook_removed", "no longer covered", remove=True)
        elif not of.enabled:
            if line.is_open:
                reason = of.disabled_reason or ""
                yield Close(
                    name, "webhook_disabled", reason, line.only is not None, of.failed_count
                )
        elif line.owes(found.last_event_id):
            yield Run(name)
    for key in sorted(found.pushes):
        if PUSH + key not in found.lines:
            yield Open(PUSH + key)
