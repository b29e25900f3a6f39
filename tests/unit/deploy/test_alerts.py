"""Alert rules, dashboard and runbooks: every metric exists, every rule fires when it should and
not below, every alert has its runbook."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from app.core import attention, telemetry
from tests.conftest import IN_CI
from tests.support import docs_runtime
from tests.support.lua_events import ROOT

RULES = ROOT / "deploy/prometheus/alerts.yaml"
BOARD = ROOT / "deploy/grafana/turnkeeper.json"
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
BY_NAME = {rule["alert"]: rule for rule in ALERTS}
METRIC = re.compile(r"\bturnkeeper_\w+")
CONDITION = re.compile(r'turnkeeper_attention\{condition="(\w+)"\}')
SECTIONS = ("## Symptom", "## Meaning", "## First look", "## Action")


def known_metrics() -> set[str]:
    """Every sample name that a scrape can have."""
    found = {f"{name}_total" for name, _ in telemetry.COUNTERS.values()}
    for name, kind, *_ in docs_runtime.gauges():
        name = name.strip("`")
        ends = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
        found |= {name.removesuffix("_total") + end for end in ends.get(kind, ("",))}
    return found


def expressions() -> dict[str, str]:
    """Where each expression stands, and the expression."""
    found = {rule["alert"]: rule["expr"] for rule in ALERTS}
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def strangers(expression: str) -> list[str]:
    return [name for name in METRIC.findall(expression) if name not in known_metrics()]


@pytest.fixture(scope="module")
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        missing = "no promtool on PATH (Debian: apt install prometheus)"
        (pytest.fail if IN_CI else pytest.skip)(missing)
    return path


@pytest.mark.parametrize("where", sorted(expressions()))
def test_every_metric_that_is_asked_for_exists(where: str) -> None:
    assert strangers(expressions()[where]) == []


def test_control_a_metric_that_does_not_exist_is_found() -> None:
    assert strangers("max(turnkeeper_session_seconds) > turnkeeper_slots") == [
        "turnkeeper_session_seconds"
    ]


def test_every_condition_that_needs_a_person_has_one_alert_of_its_severity() -> None:
    told = {found[1]: rule for rule in ALERTS if (found := CONDITION.search(rule["expr"]))}
    severity = {code: rule["labels"]["severity"] for code, rule in told.items()}
    assert severity == dict(attention.SEVERITY)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_alert_has_a_runbook_that_says_what_to_do(name: str) -> None:
    path = ROOT / BY_NAME[name]["annotations"]["runbook"]
    text = path.read_text()
    assert text.startswith(f"# {name}\n")
    assert [part for part in SECTIONS if part not in text] == []
    assert f"[{name}]({path.name})" in (path.parent / "README.md").read_text()


def test_no_runbook_is_of_an_alert_that_is_gone() -> None:
    named = {Path(rule["annotations"]["runbook"]).name for rule in ALERTS} | {"README.md"}
    assert {path.name for path in (ROOT / "docs/runbooks").iterdir()} == named


def test_the_dashboard_has_no_panel_twice_and_none_over_another() -> None:
    panels = json.loads(BOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24


def test_promtool_takes_the_rules_and_the_scrape(promtool: str) -> None:
    checks = (["rules", RULES], ["config", "--syntax-only", RULES.parent / "prometheus.yaml"])
    for words in checks:
        done = subprocess.run([promtool, "check", *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def series_of(rule: dict[str, Any]) -> tuple[str, float, float]:
    """A sample, a value at which the rule must keep still, and one at which it must fire."""
    expression: str = rule["expr"]
    inner = re.search(r"turnkeeper_\w+(\{[^}]*\})?", expression)
    assert inner is not None
    if expression.startswith("absent("):
        return inner[0] + '{condition="stalled"}', 0, float("nan")
    limit = float(expression.rpartition("> ")[2])
    return inner[0], limit, limit + 1


def case(rule: dict[str, Any], value: float, fires: bool) -> dict[str, Any]:
    """Two web processes show the same figure for 25 minutes; there must be one alert or none."""
    series, labels = series_of(rule)[0], {"instance": "a", "job": "turnkeeper"}
    text = "_x100" if value != value else f"{value:g}x100"
    rows = []
    for instance in ("a", "b"):
        own = ",".join(f'{k}="{v}"' for k, v in (labels | {"instance": instance}).items())
        whole = f"{series[:-1]},{own}}}" if series.endswith("}") else f"{series}{{{own}}}"
        rows.append({"series": whole, "values": text})
    wanted: dict[str, Any] = {"eval_time": "20m", "alertname": rule["alert"], "exp_alerts": []}
    if fires:
        kept = dict(re.findall(r'(\w+)="(\w+)"', rule["expr"]))
        if not rule["expr"].startswith("absent("):
            kept["job"] = "turnkeeper"
        wanted["exp_alerts"] = [
            {"exp_labels": rule["labels"] | kept, "exp_annotations": rule["annotations"]}
        ]
    return {"interval": "15s", "input_series": rows, "alert_rule_test": [wanted]}


def unit_tests(promtool: str, folder: Path, cases: list[dict[str, Any]]) -> tuple[int, str]:
    path = folder / "cases.yaml"
    whole = {"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": cases}
    path.write_text(json.dumps(whole))
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_rule_fires_once_beyond_its_limit_and_not_at_it(
    promtool: str, tmp_path: Path, name: str
) -> None:
    rule = BY_NAME[name]
    _, quiet, loud = series_of(rule)
    cases = [case(rule, quiet, fires=False), case(rule, loud, fires=True)]
    status, text = unit_tests(promtool, tmp_path, cases)
    assert status == 0, text


def test_control_a_rule_that_does_not_fire_is_found(promtool: str, tmp_path: Path) -> None:
    rule = BY_NAME["TurnkeeperDeadLetters"]
    assert unit_tests(promtool, tmp_path, [case(rule, 0, fires=True)])[0] != 0
    assert unit_tests(promtool, tmp_path, [case(rule, 1, fires=False)])[0] != 0
