"""The page of concepts: short, and every name in it is one that the code has."""

import ast
import dataclasses
import re
import shlex
from functools import lru_cache
from typing import get_args

import pytest

from app.api.models import schedules as schedule_models
from app.core import attention, errors, events, states, workspaces
from app.core.schedules import Schedule
from app.core.settings import Settings, env_name
from tests.support import docs_api, lua_events
from tests.support.printed import ROOT, fault_of

PAGE = ROOT / "docs/concepts.md"
WORDS = ("Turn", "Session", "Fire", "Lane", "Capacity", "Fence", "Clocks and ceiling", "Freshness",
         "Dead letter", "Why")  # fmt: skip
NAME = re.compile(r"`([^`]+)`")
SENTENCE_END = re.compile(r"[.](?=\s|$)")


def sections(text: str) -> dict[str, str]:
    """Each word of the page with what is said of it."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def reason_codes() -> set[str]:
    """What ``why.py`` can answer: the first text of each pair in it."""
    tree = ast.parse((ROOT / "app/core/why.py").read_text())
    firsts = (node.elts[0] for node in ast.walk(tree) if isinstance(node, ast.Tuple) and node.elts)
    texts = (str(one.value) for one in firsts if isinstance(one, ast.Constant))
    return {text for text in texts if re.fullmatch("[a-z_]+", text)}


def error_codes(kind: type[errors.TurnkeeperError] = errors.TurnkeeperError) -> set[str]:
    return {kind.code}.union(*(error_codes(child) for child in kind.__subclasses__()))


def routes() -> list[str]:
    found = (f"{method} {path}" for method, path, _ in docs_api.routes())
    return [re.sub(r"<\w+>", "<id>", name) for name in found]


@lru_cache
def known() -> set[str]:
    """Every name that the code has for an event, a state, a setting, a field or a reason."""
    mechanisms = {name for one in lua_events.appended().values() for name in one.mechanisms}
    return {
        *events.NAMES, *states.TRANSITIONS, *states.LANES, *mechanisms, *reason_codes(),
        *(env_name(field) for field in Settings.model_fields), *error_codes(),
        *(field.name for field in dataclasses.fields(Schedule)), *workspaces.FIELDS,
        *attention.SEVERITY, *get_args(schedule_models.OnPolicyChange), "never",
        *routes(),
    }  # fmt: skip


def strangers(text: str, names: set[str]) -> list[str]:
    """What stands as code and is no name of the code and no command of ours."""
    found = [name for name in NAME.findall(text) if name not in names]
    return [
        name
        for name in found
        if not name.startswith("turnkeeper ") or fault_of(shlex.split(name)[1:])
    ]


def test_every_name_exists() -> None:
    assert strangers(PAGE.read_text(), known()) == []


def test_control_a_name_that_does_not_exist_is_found() -> None:
    text = "`TURN_TELEPORTED`, `TURNKEEPER_CEILNG_S`, `runing`, `turnkeeper whi w1`, `running`"
    assert strangers(text, known()) == text.replace("`", "").split(", ")[:4]


def test_every_concept_is_there_in_a_few_sentences() -> None:
    found = sections(PAGE.read_text())
    assert tuple(found) == WORDS
    counts = {word: len(SENTENCE_END.findall(text)) for word, text in found.items()}
    assert {word: count for word, count in counts.items() if not 2 <= count <= 5} == {}


@pytest.mark.parametrize("word", WORDS)
def test_a_concept_is_tied_to_names(word: str) -> None:
    assert len(set(NAME.findall(sections(PAGE.read_text())[word])) & known()) >= 2


def test_every_reason_code_is_named() -> None:
    assert reason_codes() - set(NAME.findall(sections(PAGE.read_text())["Why"])) == set()


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/llms.txt"])
def test_it_is_linked(page: str) -> None:
    assert "concepts.md)" in (ROOT / page).read_text()
