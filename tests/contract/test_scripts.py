"""Every script has a contract test, and a header that says what it takes and answers."""

import ast
from pathlib import Path

import pytest

from app.core import scripts
from tests.contract.refusals import RECIPES, refusals_of

HERE = Path(__file__).parent
LUA = Path(scripts.__file__).parent / "lua"
NAMES = sorted(scripts.load())


def names_of_tests() -> list[str]:
    trees = [ast.parse(path.read_text()) for path in HERE.glob("test_*.py")]
    return [
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def without_test(names: list[str], tests: list[str]) -> list[str]:
    return [name for name in names if not any(t.startswith(f"test_{name}_") for t in tests)]


def test_each_script_has_a_contract_test_that_begins_with_its_name() -> None:
    assert without_test(NAMES, names_of_tests()) == []


def test_control_a_script_without_a_test_is_found() -> None:
    assert without_test([*NAMES, "novel"], names_of_tests()) == ["novel"]


def test_each_refusal_of_a_header_has_a_recipe_that_provokes_it() -> None:
    promised = {(name, code) for name in NAMES for code in refusals_of(name)}
    assert promised == set(RECIPES)


@pytest.mark.parametrize("name", NAMES)
def test_a_header_says_what_is_answered(name: str) -> None:
    text = (LUA / f"{name}.lua").read_text()
    assert text.startswith("-- ")
    assert "-- @returns" in text
    assert set(refusals_of(name)) <= set(scripts.REFUSALS)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_refuses_only_what_its_header_says(name: str) -> None:
    """Refusals of includes (``held``) count as the script's own."""
    body = scripts.load()[name].source
    raised = {code for code in scripts.REFUSALS if f"refuse('{code}'" in body}
    assert raised == set(refusals_of(name))
