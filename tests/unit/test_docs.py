"""The docs say what the code says: pages are fresh, nothing is missing, links lead somewhere."""

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest

from app.api import errors as http_errors
from app.cli.main import main as command_line
from app.core import errors, events, fleet_metrics, keys, scripts, states, telemetry
from app.core.settings import FOREIGN, Settings, env_name
from tests.support import docs, docs_api, docs_runtime, lua_events
from tests.support.lua_events import LUA, ROOT

PAGES = docs.pages()
WRITTEN = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / docs.CORE]
WRITTEN += sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "deploy").rglob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def reference(name: str) -> str:
    return (ROOT / docs.REFERENCE / name).read_text()


def missing(names: list[str], page: str) -> list[str]:
    """The names that the page does not have as code."""
    return [name for name in names if f"`{name}`" not in page and f"`{name} " not in page]


def unknown_events(source: str) -> list[str]:
    """Events that a script appends and nobody declared."""
    return [name for name in lua_events.event_names(source) if name not in events.NAMES]


def broken_links(path: Path, text: str) -> list[str]:
    """Relative links of a page that lead to no file."""
    found = []
    for target in LINK.findall(text):
        file = target.partition("#")[0]
        if file and "://" not in file and not (path.parent / file).exists():
            found.append(target)
    return found


def missing_files(text: str) -> list[str]:
    """Files of ours that a page names as code and that are not there."""
    named = re.findall(r"`((?:app|workers|scheduler|runtime|tests|docs|deploy)/[\w./-]+\w)`", text)
    return [name for name in named if not (ROOT / name).exists()]


def printed_commands(text: str) -> list[list[str]]:
    """The words of every ``turnkeeper …`` in a page's shell blocks."""
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    found = [re.search(r"(?:^|bin/|\$\(|&& )turnkeeper (.*)$", line.strip()) for line in lines]
    return [one[1].partition(" # ")[0].split() for one in found if one]


def is_command(words: list[str]) -> bool:
    """Whether the words begin with a command that there is, and name only options it has."""
    command = command_line
    words = words[: words.index("--")] if "--" in words else words
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]  # type: ignore[attr-defined]
    known = {name for part in command.params for name in (*part.opts, *part.secondary_opts)}
    known |= {"--help", "-h", "--version"}
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return not getattr(command, "commands", None) and options <= known


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / name).read_text() == PAGES[name], "run: make docs"


def test_the_same_code_gives_the_same_pages() -> None:
    assert docs.pages() == PAGES


def test_every_setting_is_there() -> None:
    names = [env_name(field) for field in Settings.model_fields]
    assert missing([*names, *docs_runtime.runtime_names()], reference("settings.md")) == []


def test_every_name_that_the_settings_pass_over_is_told() -> None:
    told = {*docs_runtime.RUNTIME, *docs_runtime.CHILD}
    assert sorted(FOREIGN - told) == ["TURNKEEPER_PROFILE"]  # reserved, read by nothing


def test_the_table_of_runtime_settings_names_nothing_that_is_gone() -> None:
    assert sorted(docs_runtime.runtime_names()) == sorted(docs_runtime.RUNTIME)


def test_what_the_runtime_sets_for_its_command_is_there() -> None:
    """Read from the sources: the names are keys of literal dicts and constants."""
    sources = "".join(path.read_text() for path in (ROOT / "runtime").rglob("*.py"))
    tree = ast.parse((ROOT / "runtime/environ.py").read_text())
    environ = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "child_environ"
    )
    set_there = re.findall(r"TURNKEEPER_[A-Z_]+|TRACEPARENT", ast.unparse(environ))
    assert set(set_there) <= set(docs_runtime.CHILD)
    assert [name for name in docs_runtime.CHILD if f'"{name}"' not in sources] == []


def test_every_event_is_there() -> None:
    assert missing(list(events.NAMES), reference("events.md")) == []


@pytest.mark.parametrize("path", sorted(LUA.rglob("*.lua")), ids=name_of)
def test_a_script_appends_only_declared_events(path: Path) -> None:
    assert unknown_events(path.read_text()) == []


def test_every_event_that_a_script_names_was_found_at_an_emit() -> None:
    named = {name for p in LUA.rglob("*.lua") for name in lua_events.event_names(p.read_text())}
    assert named - set(lua_events.appended()) == set()


def test_control_an_undeclared_event_is_found() -> None:
    source = "emit('TURN_TELEPORTED', turn)\nfacts.setting = 'TURNKEEPER_CEILING_S'"
    assert unknown_events(source) == ["TURN_TELEPORTED"]


def test_a_mechanism_is_found_where_the_caller_gives_it() -> None:
    ended = lua_events.appended()["SESSION_ENDED"].mechanisms
    assert {"finish", "ceiling", "idle_timeout", "lost", "operator"} <= set(ended)


def test_every_metric_is_there() -> None:
    names = [f"{name}_total" for name, _ in telemetry.COUNTERS.values()]
    source = inspect.getsource(telemetry.Collector) + inspect.getsource(fleet_metrics)
    names += re.findall(r'"(turnkeeper_\w+)"', source)
    assert missing(names, reference("metrics.md")) == []
    assert set(telemetry.COUNTERS) <= set(events.NAMES)


def test_every_route_is_there() -> None:
    names = [f"{method} {path}" for method, path, _ in docs_api.routes()]
    assert missing(names, reference("api.md")) == []


def test_every_command_is_there() -> None:
    paths = [path for path, _ in docs.commands(command_line, "turnkeeper")]
    assert missing(paths, reference("cli.md")) == []
    assert "turnkeeper schedules add" in paths


def test_every_error_code_is_there_and_has_a_status() -> None:
    def codes(kind: type[errors.TurnkeeperError]) -> set[str]:
        return {kind.code}.union(*(codes(child) for child in kind.__subclasses__()))

    every = codes(errors.TurnkeeperError)
    assert missing(sorted(every), reference("errors.md")) == []
    assert every == set(http_errors.STATUS)


def test_the_refusals_in_the_headers_are_codes_of_the_kernel() -> None:
    known = {*scripts.REFUSALS, ""}
    wrong = {name: codes - known for name, codes in docs_runtime.refusals().items()}
    assert {name: codes for name, codes in wrong.items() if codes} == {}


def test_every_state_key_and_script_is_there() -> None:
    assert missing(list(states.TRANSITIONS), reference("states.md")) == []
    kernel = (ROOT / docs.CORE).read_text()
    assert [name for name in keys.NAMES.values() if f"`tk:{{<id>}}:{name}`" not in kernel] == []
    names = [path.relative_to(LUA).as_posix() for path in LUA.rglob("*.lua")]
    assert missing(names, kernel) == []


def test_every_key_is_explained() -> None:
    """Only the lanes share one comment in ``keys.py``."""
    lines = [line for line in docs.keys_table().splitlines() if "| as above |" in line]
    assert [line for line in lines if ":lane:" not in line] == []


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_links_lead_to_files(path: Path) -> None:
    assert broken_links(path, path.read_text()) == []


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_named_files_exist(path: Path) -> None:
    assert missing_files(path.read_text()) == []


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_printed_commands_exist(path: Path) -> None:
    wrong = [words for words in printed_commands(path.read_text()) if not is_command(words)]
    assert [shlex.join(words) for words in wrong] == []


def test_control_a_command_that_does_not_exist_is_found() -> None:
    text = "```sh\nturnkeeper pause demo\n.venv/bin/turnkeeper send demo hi --wiat\n```"
    assert [is_command(words) for words in printed_commands(text)] == [False, False]


def test_control_a_file_that_is_gone_is_found() -> None:
    assert missing_files("`app/core/gone.py` and `app/core/turns.py`") == ["app/core/gone.py"]


def test_control_a_broken_link_is_found() -> None:
    page = ROOT / "README.md"
    assert broken_links(page, "[a](docs/none.md) [b](LICENSE) [c](https://a.b/c)") == [
        "docs/none.md"
    ]
