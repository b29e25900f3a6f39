"""Reads from the Lua scripts which events they append, with which payload and mechanism.

Scripts call ``emit(event, turn, session, payload, mechanism)``, directly or through a local
function of theirs that takes the event or the mechanism as a parameter. A mechanism that the
caller hands in (``A.mechanism``) is looked up in the script's header (``-- mechanism: a | b``)
and in the Python code that runs the script.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LUA = ROOT / "app/core/lua"
SOURCES = ("app", "workers", "scheduler")

FUNCTION = re.compile(r"^local function (\w+)\(([^)]*)\)\n(.*?)^end$", re.MULTILINE | re.DOTALL)
EVENT_NAME = re.compile(r"'([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)'")
MAPPED = re.compile(r"A\.mechanism == '(\w+)' and '(\w+)' or (?=A\.mechanism)")
WORD = re.compile(r"(?<![=~]= )'([a-z_]+)'")
OF_THE_TURN = "that of the turn's end"
# Functions of the core that hand their parameter ``mechanism`` to a script, with its position.
CALLERS = {"release": ("release", 4), "Ask": ("ask", 1), "_put": ("workspace_put", 4)}


@dataclass
class Appended:
    """Where an event comes from: scripts, payload fields and mechanisms, each in order."""

    scripts: dict[str, None] = field(default_factory=dict)
    payload: dict[str, None] = field(default_factory=dict)
    mechanisms: dict[str, None] = field(default_factory=dict)


def event_names(source: str) -> list[str]:
    """Every text in a script that reads like an event's name (settings' names aside)."""
    return [name for name in EVENT_NAME.findall(source) if not name.startswith("TURNKEEPER_")]


def calls(source: str, name: str) -> Iterator[list[str]]:
    """The arguments of each call of ``name``, as text."""
    for found in re.finditer(rf"(?<!function )\b{name}\(", source):
        arguments, depth, start, quoted = [], 0, found.end(), False
        for at in range(found.end(), len(source)):
            char = source[at]
            quoted ^= char == "'"
            if quoted:
                continue
            depth += (char in "({[") - (char in ")}]")
            if depth < 0 or (char == "," and not depth):
                arguments.append(" ".join(source[start:at].split()))
                start = at + 1
            if depth < 0:
                break
        yield arguments


def appended() -> dict[str, Appended]:
    """Event -> where it comes from."""
    sources = {path: path.read_text() for path in sorted(LUA.rglob("*.lua"))}
    wrappers = _wrappers(list(sources.values()))
    found: dict[str, Appended] = {}
    for path, source in sources.items():
        for arguments in _emits(source, wrappers):
            _note(found, path, source, arguments)
    found["WORKSPACE_HEARTBEAT"] = Appended({"heartbeat": None})  # published, not appended
    return found


Wrappers = list[tuple[str, list[str], list[str]]]


def _wrappers(sources: list[str]) -> Wrappers:
    """Local functions that append events: name, parameters, arguments of the emit within."""
    functions = [found for source in sources for found in FUNCTION.findall(source)]
    known: Wrappers = []
    for _ in range(3):  # as deep as functions call one another on the way to emit
        known = [
            (name, [part.strip() for part in parameters.split(",")], arguments)
            for name, parameters, body in functions
            for arguments in _emits(body, [one for one in known if one[0] != name])
        ]
    return known


def _emits(source: str, wrappers: Wrappers) -> Iterator[list[str]]:
    """The arguments of each emit that running this source can lead to."""
    yield from calls(source, "emit")
    for name, parameters, inner in wrappers:
        for arguments in calls(source, name):
            given = dict(zip(parameters, arguments, strict=False))
            yield [given.get(part, part) for part in inner]


def _note(found: dict[str, Appended], path: Path, source: str, arguments: list[str]) -> None:
    for event in event_names(arguments[0]) or _python_events(path.stem, arguments[0]):
        one = found.setdefault(event, Appended())
        one.scripts[path.stem] = None
        if len(arguments) > 3:
            one.payload |= dict.fromkeys(_fields(source, arguments[3]))
        if len(arguments) > 4:
            one.mechanisms |= dict.fromkeys(_mechanisms(path, source, arguments[4]))


def _fields(source: str, payload: str) -> list[str]:
    if not payload.startswith("{"):
        return re.findall(rf"\b{re.escape(payload)}\.(\w+)(?=.*=)", source)
    flat = payload[1:-1]
    while flat != (flat := re.sub(r"[({][^(){}]*[)}]", "", flat)):
        pass
    return re.findall(r"(\w+) =(?!=)", flat)


def _mechanisms(path: Path, source: str, expression: str) -> list[str]:
    assigned = re.search(rf"^ *local {re.escape(expression)} = (.*)$", source, re.MULTILINE)
    if assigned:
        found = _mechanisms(path, source, assigned[1])
        ends = re.search(r"^local ends = \{(.*)\}$", source, re.MULTILINE)
        is_rest = ends and assigned[1] == "mechanism"  # what the table `ends` leaves over
        return [word for word in found if not (is_rest and ends and f"{word} =" in ends[1])]
    if expression == "turn.mechanism":
        return [OF_THE_TURN]
    named = WORD.findall(expression)
    if "A.mechanism" in expression:
        header = re.search(r"^-- mechanism: (.*)$", source, re.MULTILINE)
        handed = header[1].split(" | ") if header else _python_mechanisms(path.stem)
        for was, becomes in MAPPED.findall(expression):
            handed = [becomes if word == was else word for word in handed]
        named += handed
    return named


def _python_calls() -> Iterator[ast.Call]:
    for top in SOURCES:
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield node


def _python_mechanisms(script: str) -> list[str]:
    """The constants that the Python code hands to a script as its mechanism."""
    return [value for value in _constants(script, "mechanism", CALLERS) if value]


def _python_events(script: str, expression: str) -> list[str]:
    if expression != "A.event":
        return []
    return _constants(script, "event", {"append": ("append", 2)})


def _constants(script: str, keyword: str, callers: dict[str, tuple[str, int]]) -> list[str]:
    found: dict[str, None] = {}
    for node in _python_calls():
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        nodes = [word.value for word in node.keywords if word.arg == keyword]
        first = node.args[0] if node.args else None
        if name == "run" and not (isinstance(first, ast.Constant) and first.value == script):
            continue
        if name != "run":
            to, at = callers.get(name, ("", 0))
            if to != script:
                continue
            nodes += node.args[at : at + 1]
        for value in nodes:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[value.value] = None
    return list(found)
