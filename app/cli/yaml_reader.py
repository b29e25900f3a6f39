"""Reads back the YAML that ``yaml_text`` writes: blocks of two spaces, every scalar JSON.

Not a YAML parser: what a hand may add beyond that is a comment line, an empty line, or another
value; anything else is refused with its line, and never guessed at ("no" is no boolean here).
"""

import json
import re
from typing import Any

ENTRY = re.compile(r'("(?:[^"\\]|\\.)*"|[A-Za-z][\w-]*):(?: (.+))?')
# What JSON does not know and our writer uses for characters beyond the basic plane.
LONG_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\U([0-9a-fA-F]{8})")

Lines = list[tuple[int, int, str]]  # number, indent, text


class NotOurYaml(ValueError):
    """A line that cannot be read."""

    def __init__(self, number: int, rule: str) -> None:
        super().__init__(f"line {number}: {rule}")


def from_yaml(text: str) -> Any:
    """The value of the document.

    Raises:
        NotOurYaml: naming the line.
    """
    lines: Lines = []
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        if bare and not bare.startswith("#") and bare != "---":
            lines.append((number, len(line) - len(line.lstrip(" ")), bare))
    if not lines:
        raise NotOurYaml(1, "the document is empty")
    value, at = _block(lines, 0, lines[0][1])
    if at < len(lines):
        raise NotOurYaml(lines[at][0], "is indented otherwise than what stands before it")
    return value


def _block(lines: Lines, at: int, indent: int) -> tuple[Any, int]:
    """The value that begins here, and where the next one begins."""
    number, _, text = lines[at]
    if text.startswith("- "):
        return _list(lines, at, indent)
    if ENTRY.fullmatch(text):
        return _mapping(lines, at, indent)
    return _scalar(number, text), at + 1


def _list(lines: Lines, at: int, indent: int) -> tuple[list[Any], int]:
    found = []
    while at < len(lines) and lines[at][1] == indent and lines[at][2].startswith("- "):
        number, _, text = lines[at]
        # An item's first line stands behind its dash, as if it were indented by two.
        lines[at] = (number, indent + 2, text[2:].strip())
        value, at = _block(lines, at, indent + 2)
        found.append(value)
    return found, at


def _mapping(lines: Lines, at: int, indent: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at][1] == indent:
        number, _, text = lines[at]
        entry = ENTRY.fullmatch(text)
        if entry is None:
            raise NotOurYaml(number, "is not: name, colon, value")
        name = _scalar(number, entry[1]) if entry[1].startswith('"') else entry[1]
        if name in found:
            raise NotOurYaml(number, f"{name} stands here twice")
        if entry[2] is not None:
            found[name], at = _scalar(number, entry[2]), at + 1
        elif at + 1 < len(lines) and lines[at + 1][1] > indent:
            found[name], at = _block(lines, at + 1, lines[at + 1][1])
        else:
            raise NotOurYaml(number, f"{name} has no value; write null for none")
    return found, at


def _scalar(number: int, text: str) -> Any:
    def pair(found: re.Match[str]) -> str:
        return found[1] + json.dumps(chr(int(found[2], 16)))[1:-1]

    try:
        return json.loads(LONG_ESCAPE.sub(pair, text) if text.startswith('"') else text)
    except (ValueError, OverflowError):
        rule = 'is neither text in "double quotes", a number, true, false, null, [] nor {}'
        raise NotOurYaml(number, f"{text[:40]!r} {rule}") from None
