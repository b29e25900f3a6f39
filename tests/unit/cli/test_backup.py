"""``turnkeeper export`` and ``import``: the file, its parts, and what is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli import backup
from app.cli.yaml_reader import NotOurYaml, from_yaml
from app.cli.yaml_text import to_yaml
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_api import FakeApi, problem

DOCUMENT = {
    "format": "turnkeeper-backup",
    "version": 1,
    "workspaces": [{"id": "w1", "name": "no", "agent_card": {"skills": [[1, 2], {}]}}],
    "schedules": [{"id": "sch_1", "workspace_id": "w1", "prompt": "a: b\n- c # d", "ttl_s": None}],
    "memories": [],
    "webhooks": [],
}
ROW = {"workspace_id": None, "changed": [], "reason": ""}
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
values = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(values)
def test_what_is_written_as_yaml_is_read_back(value: Any) -> None:
    assert from_yaml(to_yaml(value)) == value


def test_comments_and_empty_lines_of_a_hand_are_passed_over() -> None:
    text = '---\n# mine\nworkspaces:\n\n  - id: "w1"\n    # here\n    ceiling_s: 5\n'
    assert from_yaml(text) == {"workspaces": [{"id": "w1", "ceiling_s": 5}]}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "line 1: the document is empty"),
        ("a: no", "line 1: 'no' is neither text"),
        ("a: 1\na: 2", "line 2: a stands here twice"),
        ("a:\nb: 1", "line 1: a has no value"),
        ("a: 1\n  b: 2", "line 2: is indented otherwise"),
        ("a: 1\nnonsense", "line 2: is not: name, colon, value"),
        ("a: |\n  text", "line 1: '|' is neither text"),
        ('- "a"\n b: 1', "line 2: is indented otherwise"),
        ('a: "\\U99999999"', "line 1:"),
    ],
)
def test_anything_else_is_refused_with_its_line(text: str, rule: str) -> None:
    with pytest.raises(NotOurYaml) as refusal:
        from_yaml(text)
    assert str(refusal.value).startswith(rule)


@given(st.text("ab:- \n\"'#[]{}1\\U|", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        from_yaml(text)
    except NotOurYaml as refusal:
        assert str(refusal).startswith("line ")


def answers(api: FakeApi, *items: dict[str, Any]) -> None:
    api.on("POST", "/admin/import", (200, {"dry_run": False, "items": list(items)}))


def test_an_export_is_yaml_and_goes_in_again(api: FakeApi, run: Run, tmp_path: Any) -> None:
    api.on("GET", "/admin/export", (200, DOCUMENT))
    answers(api, {**ROW, "kind": "workspace", "id": "w1", "outcome": "created"})
    for form in ((), ("-o", "json"), ("-o", "yaml")):
        file = tmp_path / "backup"
        file.write_text(run("export", *form).stdout)
        result = run("import", str(file))
        assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "1 workspaces created")
        assert api.last().body == DOCUMENT
        assert [one.query for one in api.asked[-2:]] == [
            {"dry_run": ["true"]},
            {"dry_run": ["false"]},
        ]


def test_a_dry_run_asks_once_and_changes_nothing(api: FakeApi, run: Run) -> None:
    answers(api, {**ROW, "kind": "workspace", "id": "w1", "outcome": "updated"})
    result = run("import", "-", "--dry-run", stdin=json.dumps(DOCUMENT))
    assert "1 workspaces updated (dry run)" in result.stdout
    assert [one.query for one in api.asked] == [{"dry_run": ["true"]}]


def test_what_is_refused_is_named_and_the_exit_code_says_so(api: FakeApi, run: Run) -> None:
    answers(api, {**ROW, "kind": "schedule", "id": "s", "outcome": "refused", "reason": "gone"})
    result = run("import", "-", stdin=json.dumps(DOCUMENT))
    assert result.exit_code == 4
    assert "schedule s: gone" in result.stderr


def test_a_part_that_is_invalid_stops_before_anything_is_changed(api: FakeApi, run: Run) -> None:
    bad = problem(422, "invalid_input", "schedules.1.cron_expr: no")
    api.on("POST", "/admin/import", (200, {"items": []}), bad)
    many = DOCUMENT | {"schedules": [{"id": f"s{n}", "workspace_id": "w1"} for n in range(300)]}
    assert run("import", "-", stdin=json.dumps(many)).exit_code == 4
    assert {tuple(one.query["dry_run"]) for one in api.asked} == {("true",)}


@pytest.mark.parametrize("text", ["[1]", "1", '{"a":', "a: no", ""])
def test_a_file_that_is_no_backup_is_a_usage_error(api: FakeApi, run: Run, text: str) -> None:
    assert run("import", "-", stdin=text).exit_code == 2
    assert api.asked == []


def test_parts_hold_everything_once_with_the_workspaces_they_need() -> None:
    spaces = [{"id": f"w{n}"} for n in range(150)]
    plans = [
        {"id": f"s{n}", "workspace_id": f"w{n % 150}", "prompt": "x" * 9000} for n in range(450)
    ]
    found = list(backup.parts({**DOCUMENT, "workspaces": spaces, "schedules": plans}))
    assert [item for part in found for item in part["schedules"]] == plans
    assert {item["id"] for part in found for item in part["workspaces"]} == {
        item["id"] for item in spaces
    }
    for part in found:
        here = {item["id"] for item in part["workspaces"]}
        assert {item["workspace_id"] for item in part["schedules"]} <= here
        assert sum(len(part[kind]) for kind in backup.KINDS) <= backup.PART_ITEMS_COUNT
        assert len(json.dumps(part)) < 1_048_576 / 2 + 20_000
        assert part["version"] == 1
    assert len(list(backup.parts({"format": "x"}))) == 1
