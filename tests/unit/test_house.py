"""The house rules that a machine can check, each with a control that breaks it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("app", "workers", "scheduler", "runtime")
PYTHON_MAX_LINES, LUA_MAX_LINES = 400, 60

PYTHON = sorted(p for top in (*PACKAGES, "tests") for p in (ROOT / top).rglob("*.py"))
LUA = sorted((ROOT / "app/core/lua").rglob("*.lua"))
MAY_READ_ENVIRONMENT = (
    "app/core/settings.py",
    "runtime/settings.py",
    "runtime/hook.py",  # a command of its own, started at every tool call: it imports nothing
    "app/cli/",
    "tests/",
)
MAY_SLEEP = ("tests/support/",)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.AST) -> dict[str, str]:
    """Local name -> what it stands for, in full: {"sleep": "time.sleep", "t": "time"}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                full = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or full] = full
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def full_name(node: ast.AST, names: dict[str, str]) -> str:
    """``t.sleep`` -> "time.sleep"; "" for what does not begin with an imported name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        value = full_name(node.value, names)
        return f"{value}.{node.attr}" if value else ""
    return ""


def uses(source: str, wanted: tuple[str, ...]) -> list[int]:
    """Lines that name one of ``wanted``, however it was imported."""
    tree = ast.parse(source)
    names = imported(tree)
    lines = {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute) and full_name(node, names) in wanted
    }
    return sorted(lines)


def patches(source: str) -> list[int]:
    """Lines where unittest.mock puts something in the place of a part of our own modules."""
    tree = ast.parse(source)
    names = imported(tree)

    def is_ours(node: ast.expr) -> bool:
        text = node.value if isinstance(node, ast.Constant) else full_name(node, names)
        return isinstance(text, str) and text.partition(".")[0] in PACKAGES

    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and node.args
        and re.fullmatch(r"(unittest\.)?mock\.patch(\.\w+)?", full_name(node.func, names))
        and is_ours(node.args[0])
    ]


LUA_TOKEN = re.compile(
    r"""--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
    r"""|(?P<token>[A-Za-z_]\w*|[=~<>]=|\S)""",
    re.DOTALL,
)


def lua_globals(source: str) -> list[str]:
    """Names a Lua script sets without having declared them local before; scopes are not seen."""
    tokens = [m["token"] for m in LUA_TOKEN.finditer(source) if m["token"]]
    declared, found, braces = set(), [], 0
    for at, token in enumerate(tokens):
        braces += (token == "{") - (token == "}")
        if token in ("local", "for"):
            declared.update(name_list(tokens, at + 1 + (tokens[at + 1] == "function")))
        elif token == "function":
            opening = tokens.index("(", at)
            declared.update(name_list(tokens, opening + 1))
            if opening == at + 2 and tokens[at + 1] not in declared:
                found.append(tokens[at + 1])
        elif token == "=" and not braces:  # a table's fields are its own
            found += [name for name in targets(tokens, at) if name not in declared]
    return found


def name_list(tokens: list[str], at: int) -> list[str]:
    """The names of "a, b, ..." that begin here."""
    names = []
    while re.match(r"[A-Za-z_]", tokens[at]):
        names.append(tokens[at])
        if tokens[at + 1] != ",":
            break
        at += 2
    return names


def targets(tokens: list[str], at: int) -> list[str]:
    """The plain names of "a, t.b, c" that end before here; fields are nobody's globals."""
    names = []
    while at > 0:
        at -= 1
        if tokens[at] == "]":
            depth = 1
            while depth:
                at -= 1
                depth += (tokens[at] == "]") - (tokens[at] == "[")
            at -= 1
        plain = tokens[at]
        while at > 0 and tokens[at - 1] == ".":
            at, plain = at - 2, ""
        if plain and tokens[at + 1] != "[":
            names.append(plain)
        if at == 0 or tokens[at - 1] != ",":
            break
        at -= 1
    return names[::-1]


def offences(may: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[str]:
    for path in PYTHON:
        if not name_of(path).startswith(may):
            yield from (f"{name_of(path)}:{line}" for line in uses(path.read_text(), wanted))


def test_only_the_tests_support_sleeps() -> None:
    assert not list(offences(MAY_SLEEP, ("time.sleep", "gevent.sleep")))


def test_only_settings_read_the_environment() -> None:
    assert not list(offences(MAY_READ_ENVIRONMENT, ("os.environ", "os.environb", "os.getenv")))


def test_no_module_of_ours_is_patched() -> None:
    found = [f"{name_of(p)}:{line}" for p in PYTHON for line in patches(p.read_text())]
    assert not found, "pass a fake in instead"


def test_no_file_is_too_long() -> None:
    limits = [(p, PYTHON_MAX_LINES) for p in PYTHON] + [(p, LUA_MAX_LINES) for p in LUA]
    counts = [(name_of(p), len(p.read_text().splitlines()), limit) for p, limit in limits]
    assert not [row for row in counts if row[1] > row[2]], "look for the seam"


def test_every_folder_of_tests_is_a_package() -> None:
    """Otherwise two test files of one name in two folders break collection."""
    folders = {p.parent for p in (ROOT / "tests").rglob("*.py")}
    assert not [name_of(f) for f in folders if not (f / "__init__.py").exists()]


@pytest.mark.parametrize("path", LUA, ids=name_of)
def test_a_script_sets_no_global(path: Path) -> None:
    """Redis refuses it, and on the fake server it poisons every later script."""
    assert lua_globals(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    ["import time\ntime.sleep(1)", "from time import sleep\nsleep(1)"]
    + ["import time as t\nt.sleep(1)", "from time import sleep as s\nlist(map(s, [1]))"],
)
def test_control_a_sleep_is_found_however_it_is_imported(source: str) -> None:
    assert uses(source, ("time.sleep",)) == [2]


def test_control_a_method_called_sleep_is_not_the_sleep_of_time() -> None:
    assert uses("import time\nclock.sleep(1)\ntime.monotonic()", ("time.sleep",)) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("from unittest import mock\nmock.patch('app.core.turns.submit')", [2]),
        ("from unittest.mock import patch\n@patch('workers.jobs.x')\ndef f(): pass", [2]),
        (
            "from unittest.mock import patch\nfrom app.core import turns\npatch.object(turns, 'x')",
            [3],
        ),
        ("from unittest import mock\nmock.patch('socket.socket')", []),
        ("client.patch('app/1')", []),
    ],
)
def test_control_a_patch_of_ours_is_found(source: str, lines: list[int]) -> None:
    assert patches(source) == lines


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("local a = 1\na = 2", []),
        ("a = 2", ["a"]),
        ("a = 2\nlocal a = 1", ["a"]),
        ("local a, b\na, b = b, a", []),
        ("local a\na, b = 1, 2", ["b"]),
        ("if x then y = 1 end", ["y"]),
        ("if x then return 1 end y = 1", ["y"]),
        ("for i = 1, 3 do i = i + 1 end", []),
        ("for k, v in pairs(t) do k = v; w = v end", ["w"]),
        ("local t = {\n  a = 1,\n  b = {\n    c = 2,\n  },\n}\nt.a = 2\nt[1] = 3", []),
        ("function f() end", ["f"]),
        ("local function f(a, ...) a = 1 end", []),
        ("local f = function(a) a = 1 end", []),
        ("redis.call('SET', KEYS[1], 'a = 1')  -- b = 2", []),
        ("--[[\na = 1\n]]\nlocal s = [[\nb = 2\n]]", []),
        ("if a == b or a ~= c or a <= d then return a >= b end", []),
        ("redis.call('PING') z = 1", ["z"]),
        ("local t\nt.a.b, c, t[x[1]], d = 1, 2, 3, 4", ["c", "d"]),
        ("local t = {f = function(a) b = {c = 1} end}", []),
        ("local n = #t\nwhile n > 0 do n = n - 1 end", []),
    ],
)
def test_control_a_global_of_lua_is_found(source: str, names: list[str]) -> None:
    assert lua_globals(source) == names
