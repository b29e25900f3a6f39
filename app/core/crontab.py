"""Crontabs as text: read into schedules and written from them; pure.

Read as crontab(5) of Debian's cron describes it: five fields or a macro, ``NAME = value`` lines,
comments, ``%`` for a line's end. The command is the prompt. ``CRON_TZ=`` and ``TZ=`` set the zone
of the lines that follow; other environment lines are noted and mean nothing here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.core import cron
from app.core.errors import InvalidInput

NAME_MAX_CHARS, NAME_OF_COMMAND_CHARS = 200, 60
COMMAND = "{command}"
ASSIGNMENT = re.compile(r"\s*(\"[^\"]*\"|'[^']*'|[A-Za-z_]\w*)\s*=\s*(.*?)\s*")
# The heading that `crontab -e` writes above the lines of a new file: it names none of them.
HEADING = re.compile(r"m(in(ute)?)?\s+h(our)?\s+d(om|ay)?\s.*", re.IGNORECASE)
BAD_FIELD = re.compile(r"'.*' is not a valid (minute|hour|day|month|weekday)\b", re.DOTALL)
OFF = "off:"  # a paused schedule, in what `write` writes


@dataclass(frozen=True)
class Entry:
    """A line that makes a schedule; ``number`` counts from 1."""

    number: int
    name: str
    notes: str
    cron_expr: str
    timezone: str
    prompt: str


@dataclass(frozen=True)
class Fault:
    """A line that cannot be taken, the field at fault and the rule it breaks."""

    number: int
    field: str
    rule: str


@dataclass(frozen=True)
class Note:
    """A line that is passed over, and why."""

    number: int
    text: str


@dataclass(frozen=True)
class Crontab:
    """Everything a crontab says."""

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Note, ...]


def parse(text: str, prompt_template: str = COMMAND) -> Crontab:
    """Read a crontab; a bad line is a fault and the next one is read all the same.

    Args:
        text: the file.
        prompt_template: the prompt; ``{command}`` in it is the line's command.
    """
    entries: list[Entry] = []
    faults: list[Fault] = []
    notes: list[Note] = []
    above: list[str] = []  # the comment lines directly above
    zone = "UTC"
    for number, raw in enumerate(re.split(r"\r?\n", text.removeprefix("\ufeff")), 1):
        line = raw.strip(" \t")
        if line.startswith("#"):
            above.append(line.lstrip("#").strip())
            continue
        try:
            if assigned := ASSIGNMENT.fullmatch(line):
                zone = _environment(number, assigned, zone, notes)
            elif line:
                entries.append(_entry(number, line, above, zone, prompt_template))
        except InvalidInput as refusal:
            rule = refusal.fields["errors"][0]
            faults.append(Fault(number, rule["field"], rule["rule"]))
        above = []
    return Crontab(_told_apart(entries), tuple(faults), tuple(notes))


def _environment(number: int, assigned: re.Match[str], zone: str, notes: list[Note]) -> str:
    """The zone from here on."""
    name, value = (_unquoted(part) for part in assigned.groups())
    if name in ("CRON_TZ", "TZ"):
        cron.parse("@daily", value or "UTC")
        return value or "UTC"
    notes.append(Note(number, f"{name} is passed over: an agent has its own environment"))
    return zone


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if is_quoted else text


def _entry(number: int, line: str, above: list[str], zone: str, template: str) -> Entry:
    cron_expr, command = _split(line)
    try:
        cron.parse(cron_expr, zone)
    except InvalidInput as refusal:
        rule = refusal.fields["errors"][0]
        blamed = BAD_FIELD.match(rule["rule"])
        raise InvalidInput(blamed[1] if blamed else rule["field"], rule["rule"]) from refusal
    prompt = _lines(command)
    if not prompt:
        raise InvalidInput("command", "is missing: what follows the time is the prompt")
    comments = [text for text in above if text and not _is_no_name(text)]
    if comments:
        name = _short(comments[0], NAME_MAX_CHARS)
    else:
        name = _short(" ".join(prompt.split()), NAME_OF_COMMAND_CHARS)
    # A comment that was too long for a name is kept whole.
    kept = comments[1:] if comments and name == comments[0] else comments
    return Entry(number, name, "\n".join(kept), cron_expr, zone, template.replace(COMMAND, prompt))


def _split(line: str) -> tuple[str, str]:
    """A line as its time and its command.

    Raises:
        InvalidInput: too few fields.
    """
    parts = line.split(None, 1 if line.startswith("@") else 5)
    if line.startswith("@"):
        if parts[0].lower() == "@reboot":
            rule = "@reboot is not a time: a schedule fires by the clock, not when a machine starts"
            raise InvalidInput("cron_expr", rule)
        return parts[0], parts[1] if len(parts) > 1 else ""
    if len(parts) < 5:
        rule = f"must be minute hour day month weekday, then the command; here are {len(parts)}"
        raise InvalidInput("cron_expr", f"{rule} words")
    return " ".join(parts[:5]), parts[5] if len(parts) > 5 else ""


def _lines(command: str) -> str:
    """As cron hands it over: ``%`` ends a line, ``\\%`` is a percent sign."""
    return re.sub(r"(\\)?%", lambda found: "%" if found[1] else "\n", command).strip()


def _is_no_name(comment: str) -> bool:
    """A heading, or a line that was commented out."""
    if HEADING.fullmatch(comment):
        return True
    try:
        cron.parse(_split(comment)[0], "UTC")
    except InvalidInput:
        return False
    return True


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _told_apart(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Names are what a second import knows a line by: a repeated one gets a number."""
    found: list[Entry] = []
    counts: Counter[str] = Counter()
    taken: set[str] = set()
    for entry in entries:
        name = entry.name
        while name in taken:
            counts[entry.name] += 1
            name = f"{entry.name} ({counts[entry.name] + 1})"
        taken.add(name)
        found.append(replace(entry, name=name))
    return tuple(found)


def write(rows: Iterable[Mapping[str, Any]]) -> str:
    """Schedules as a crontab that :func:`parse` reads back to the same names, times and prompts.

    What a crontab cannot say (limits, policies) is left out. A paused schedule is written as a
    comment that begins with ``off:``, so that reading it back makes nothing.
    """
    lines: list[str] = []
    zone = "UTC"
    for row in rows:
        if row["timezone"] != zone:
            zone = str(row["timezone"])
            lines += [f"CRON_TZ={zone}", ""]
        lines.append(f"# {' '.join(str(row['name']).split())}")
        lines += [f"# {text}" for text in str(row.get("notes") or "").splitlines()]
        # A backslash at a line's end would escape the sign that stands for the end: a blank after.
        prompt = re.sub(r"\\(?=\r?\n)", r"\\ ", str(row["prompt"]).strip())
        command = re.sub(r"\r?\n", "%", prompt.replace("%", "\\%"))
        line = f"{' '.join(str(row['cron_expr']).split())} {command}"
        lines += [line if row.get("enabled", True) else f"# {OFF} {line}", ""]
    return "\n".join(lines)
