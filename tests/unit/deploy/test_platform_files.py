"""Files for platforms: they parse, run commands that exist, name settings that exist, run without
root, and stop within their platform's kill window."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from app.core import doorbell
from app.core.foreign_settings import FOREIGN
from app.core.settings import Settings, env_name
from tests.support.lua_events import ROOT

DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".md")
FILES += [ROOT / "Procfile", ROOT / "app.json"]
SETTINGS = {env_name(field) for field in Settings.model_fields} | FOREIGN
WEB = ["gunicorn", "-c", "python:app.gunicorn_config", "app.wsgi:create_app()"]
KNOWN = [WEB, ["python", "-m", "workers"], ["python", "-m", "scheduler"]]
KNOWN += [["python", "-m", "workers", name] for name in doorbell.QUEUES]
KNOWN += [["python", "-m", "app.core.settings", "--check"]]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def documents(pattern: str) -> list[tuple[Path, Any]]:
    return [
        (path, one)
        for path in sorted(DEPLOY.glob(pattern))
        for one in yaml.safe_load_all(path.read_text())
    ]


def pods() -> Iterator[tuple[str, Any]]:
    for _, one in documents("kubernetes/*.yaml"):
        if one["kind"] == "Deployment":
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def units() -> Iterator[tuple[str, dict[str, str]]]:
    for path in sorted(DEPLOY.glob("systemd/*.service")):
        lines = [line for line in path.read_text().splitlines() if "=" in line]
        yield name_of(path), dict(line.split("=", 1) for line in lines if line[0] != "#")


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return {name: one for name, one in services.items() if name != "redis"}


def fly() -> dict[str, Any]:
    return tomllib.loads((DEPLOY / "fly.toml").read_text())


def render() -> list[Any]:
    services = yaml.safe_load((DEPLOY / "render.yaml").read_text())["services"]
    return [one for one in services if one["type"] != "keyvalue"]


def image_command() -> list[str]:
    text = (DEPLOY / "Dockerfile").read_text()
    found = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    assert len(found) == 1 and not re.search(r"^ENTRYPOINT ", text, re.MULTILINE)
    command: list[str] = json.loads(found[0])  # exec form is JSON; a shell would eat the SIGTERM
    return command


def commands() -> dict[str, list[str]]:
    found = {"Dockerfile": image_command()}
    for line in (ROOT / "Procfile").read_text().splitlines():
        name, _, text = line.partition(": ")
        words = shlex.split(text)
        found[f"Procfile {name}"] = [w for w in words if not re.match(r"[A-Z_]+=", w)]
    found |= {f"compose {name}": one["command"] for name, one in compose().items()}
    found |= {f"fly {name}": shlex.split(text) for name, text in fly()["processes"].items()}
    found["fly release"] = shlex.split(fly()["deploy"]["release_command"])
    found |= {f"render {one['name']}": shlex.split(one["dockerCommand"]) for one in render()}
    found |= {f"kubernetes {name}": pod["containers"][0]["command"] for name, pod in pods()}
    for name, unit in units():
        words = shlex.split(unit["ExecStart"])
        found[name] = [Path(words[0]).name, *words[1:]]
    return found


def windows() -> dict[str, tuple[float, float]]:
    """Where a drain is set: it, and after how many seconds the platform kills."""

    def seconds(text: str) -> float:
        return float(text.removesuffix("s"))

    key = "TURNKEEPER_DRAIN_S"
    app_json = json.loads((ROOT / "app.json").read_text())
    found = {"heroku": (float(app_json["env"][key]["value"]), 30.0)}
    found["fly"] = (float(fly()["env"][key]), seconds(fly()["kill_timeout"]))
    for name, one in compose().items():
        drain_s = float(one["environment"][key])
        found[f"compose {name}"] = (drain_s, seconds(one["stop_grace_period"]))
    for one in render():
        given = {row.get("key"): row.get("value") for row in one["envVars"]}
        found[f"render {one['name']}"] = (float(given[key]), one["maxShutdownDelaySeconds"])
    shared = next(one for _, one in documents("kubernetes/config.yaml"))["data"]
    for name, pod in pods():
        hook = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {})
        pause_s = float(hook["command"][1]) if hook else 0.0
        window_s = pod["terminationGracePeriodSeconds"] - pause_s
        found[f"kubernetes {name}"] = (float(shared[key]), window_s)
    for name, unit in units():
        found[name] = (float(unit["Environment"].partition("=")[2]), float(unit["TimeoutStopSec"]))
    return found


@pytest.mark.parametrize("where", sorted(commands()))
def test_every_command_is_one_of_ours(where: str) -> None:
    assert commands()[where] in KNOWN


def test_every_module_that_is_run_is_there() -> None:
    for words in KNOWN[1:]:
        assert find_spec(words[2]) is not None


def test_each_platform_runs_web_workers_and_scheduler() -> None:
    for platform in ("Procfile", "compose", "fly", "render", "kubernetes", "deploy/systemd"):
        told = [words for where, words in commands().items() if where.startswith(platform)]
        queues = [words[3] for words in told if words[1:3] == ["-m", "workers"] and words[3:]]
        assert WEB in told and ["python", "-m", "scheduler"] in told
        assert ["python", "-m", "workers"] in told or sorted(queues) == sorted(doorbell.QUEUES)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"TURNKEEPER_[A-Z0-9_]+", path.read_text()))
    assert {name for name in named if name.rstrip("_") not in SETTINGS} == set()


@pytest.mark.parametrize("where", sorted(windows()))
def test_the_drain_ends_before_the_platform_kills(where: str) -> None:
    drain_s, window_s = windows()[where]
    assert drain_s + 5 <= window_s


def test_ports_agree() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "PORT=8080" in text and "EXPOSE 8080" in text
    assert compose()["web"]["ports"] == ["127.0.0.1:8080:8080"]
    assert fly()["http_service"]["internal_port"] == int(fly()["env"]["PORT"]) == 8080
    (web,) = [pod["containers"][0] for name, pod in pods() if name == "turnkeeper-web"]
    assert web["ports"][0]["containerPort"] == 8080
    service = next(one for _, one in documents("kubernetes/*.yaml") if one["kind"] == "Service")
    assert service["spec"]["ports"][0]["targetPort"] == 8080


def test_nothing_runs_as_root() -> None:
    last_stage = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001$", last_stage, re.MULTILINE)
    for _, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    assert {unit["User"] for _, unit in units()} == {"turnkeeper"}


def test_the_scaler_scales_dispatch_on_what_the_api_answers() -> None:
    scaled = next(one for _, one in documents("kubernetes/*.yaml") if one["kind"] == "ScaledObject")
    spec = scaled["spec"]
    assert spec["scaleTargetRef"]["name"] in dict(pods())
    assert spec["minReplicaCount"] == 1
    told = spec["triggers"][0]["metadata"]
    assert (told["url"].partition("turnkeeper")[2], told["valueLocation"]) == (
        "/admin/scale",
        "desired_workers",
    )
    assert spec["maxReplicaCount"] == Settings.model_fields["scale_workers_max"].default


def test_the_readme_names_every_file() -> None:
    text = (DEPLOY / "README.md").read_text()
    names = {name_of(path).removeprefix("deploy/") for path in FILES}
    assert {
        name for name in names if f"`{name}`" not in text and name.split("/")[0] not in text
    } == (set())


def test_control_a_setting_that_does_not_exist_and_a_drain_that_is_too_long_are_found() -> None:
    assert "TURNKEEPER_DRAIN_SECONDS" not in SETTINGS
    assert ["python", "-m", "worker"] not in KNOWN
    assert not 28 + 5 <= 30
