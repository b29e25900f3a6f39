"""From a crontab to schedules: first the plan, which changes nothing, then the changes.

A line is known by its name: the same file again changes nothing, a changed line changes its
schedule, and what a crontab does not say (limits, policies, a pause) is left as it is.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.core import crontab, schedules
from app.core.crontab import Crontab, Entry
from app.core.errors import InvalidInput
from app.core.platform import Platform
from app.core.schedules import Schedule


@dataclass(frozen=True)
class Step:
    """What becomes of one line; ``action``: create, update, unchanged or error."""

    line: int
    action: str
    name: str = ""
    cron_expr: str = ""
    timezone: str = ""
    schedule_id: str | None = None
    changes: dict[str, Any] | None = None
    field: str = ""
    rule: str = ""


def read(text: str, prompt_template: str, count_max: int) -> Crontab:
    """The crontab, if it is not too long.

    Raises:
        InvalidInput.
    """
    if crontab.COMMAND not in prompt_template:
        raise InvalidInput("prompt_template", f"must contain {crontab.COMMAND}")
    found = crontab.parse(text, prompt_template)
    count = len(found.entries) + len(found.faults)
    if count > count_max:
        raise too_many("crontab", "lines that make schedules", count, count_max)
    return found


def too_many(field: str, things: str, measured_count: int, limit_count: int) -> InvalidInput:
    """The refusal of a document with too many items."""
    setting = "TURNKEEPER_IMPORT_MAX_COUNT"
    return InvalidInput(
        field,
        f"at most {limit_count} {things} at once ({setting}); here are {measured_count}",
        mechanism="import_max",
        limit_count=limit_count,
        measured_count=measured_count,
        setting=setting,
    )


def plan(
    found: Crontab, existing: Sequence[Schedule], check_prompt: Callable[[str, str], None]
) -> list[Step]:
    """What each line would do, in the order of the lines.

    Args:
        found: what the crontab says.
        existing: the workspace's schedules.
        check_prompt: raises InvalidInput for a prompt that is too long.
    """
    of_name: dict[str, list[Schedule]] = defaultdict(list)
    for schedule in existing:
        of_name[schedule.name].append(schedule)
    steps = [
        Step(fault.number, "error", field=fault.field, rule=fault.rule) for fault in found.faults
    ]
    for entry in found.entries:
        try:
            check_prompt("prompt", entry.prompt)
            steps.append(_step(entry, of_name[entry.name]))
        except InvalidInput as refusal:
            rule = refusal.fields["errors"][0]
            steps.append(Step(entry.number, "error", entry.name, **rule))
    return sorted(steps, key=lambda step: step.line)


def _step(entry: Entry, named: Sequence[Schedule]) -> Step:
    if len(named) > 1:
        ids = ", ".join(schedule.id for schedule in named)
        raise InvalidInput("name", f"{len(named)} schedules are named {entry.name}: {ids}")
    said = {"cron_expr": entry.cron_expr, "timezone": entry.timezone, "prompt": entry.prompt}
    if entry.notes:
        said["notes"] = entry.notes
    step = Step(entry.number, "create", entry.name, entry.cron_expr, entry.timezone)
    if not named:
        return replace(step, changes={"name": entry.name, **said})
    (old,) = named
    changes = {field: value for field, value in said.items() if getattr(old, field) != value}
    action = "update" if changes else "unchanged"
    return replace(step, action=action, schedule_id=old.id, changes=changes or None)


def apply(platform: Platform, workspace_id: str, steps: Sequence[Step]) -> dict[int, str]:
    """Make the changes, in order; the schedule of each line. Repeated, it goes on where it was.

    Raises:
        ScheduleNotFound, ScheduleChanged: somebody else changed it meanwhile.
    """
    made: dict[int, str] = {}
    for step in steps:
        if step.action == "create":
            made[step.line] = schedules.create(platform, workspace_id, step.changes or {}).id
        elif step.action == "update" and step.schedule_id:
            schedules.change(platform, workspace_id, step.schedule_id, step.changes or {})
        if step.schedule_id:
            made[step.line] = step.schedule_id
    return made
