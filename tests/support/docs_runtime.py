"""What the reference pages read from sources rather than from objects."""

import ast
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from structlog.testing import capture_logs

from app.core import scripts
from app.core.settings import Settings, env_name
from runtime.settings import RuntimeSettings
from tests.support.lua_events import LUA, ROOT

# Where a bound's setting is looked up by its name.
BY_NAME = ("app/api/hub.py", "app/core/admission.py")
RUNTIME = {
    "TURNKEEPER_URL": "Address of the platform.",
    "TURNKEEPER_TOKEN": "Bearer token with scope `runtime` in the workspace (or a wider one, "
    "which is traded for such a token at registration). Never handed to the command.",
    "TURNKEEPER_HEARTBEAT_INTERVAL_S": "How often the runtime beats.",
    "TURNKEEPER_HEARTBEAT_MIN_S": "Moves the lower bound of the heartbeat interval.",
    "TURNKEEPER_HEARTBEAT_MAX_S": "Moves the upper bound of the heartbeat interval.",
    "TURNKEEPER_KEEPALIVE_S": "Silence of the command after which a keepalive is reported.",
    "TURNKEEPER_KEEPALIVE_MIN_S": "Moves the lower bound of the keepalive.",
    "TURNKEEPER_KEEPALIVE_MAX_S": "Moves the upper bound of the keepalive.",
    "TURNKEEPER_POLL_WAIT_S": "How long one poll for a turn waits at the platform.",
    "TURNKEEPER_OUTPUT_INTERVAL_S": "New output is reported at most this often.",
    "TURNKEEPER_OUTPUT_MAX_BYTES": "Output kept of each stream; the tail is kept, the cut is told.",
    "TURNKEEPER_LINE_MAX_BYTES": "Longest line that an agent kind with a line protocol reads.",
    "TURNKEEPER_SPOOL_DIR": "Where reports wait on disk while the platform is away.",
    "TURNKEEPER_SPOOL_MAX_BYTES": "Disk that waiting reports may take.",
    "TURNKEEPER_STATE_DIR": "Where `--resume-chat` keeps which chat belongs to which context.",
    "TURNKEEPER_LOG_DIR": "Where the whole output of each session is kept; not set: nowhere. "
    "Nothing is ever removed there.",
    "TURNKEEPER_LOG_MAX_BYTES": "Longest file in that directory; the rest is drained and counted.",
    "TURNKEEPER_DRAIN_S": "How long a stopping runtime lets its commands wrap up.",
    "TURNKEEPER_MAX_CONCURRENT": "Turns at a time.",
    "TURNKEEPER_KILL_GRACE_S": "Pause between the signals that end a command.",
    "TURNKEEPER_EXIT_WAIT_S": "How long an agent may go on after its last word before it is ended.",
    "TURNKEEPER_RETRY_MIN_S": "First pause before an unreachable platform is tried again.",
    "TURNKEEPER_RETRY_MAX_S": "Longest pause before an unreachable platform is tried again.",
}
CHILD = {
    "TURNKEEPER_URL": "Address of the platform.",
    "TURNKEEPER_WORKSPACE": "The workspace served.",
    "TURNKEEPER_TURN_ID": "The turn.",
    "TURNKEEPER_SESSION_ID": "The session.",
    "TURNKEEPER_TOKEN": "Lets the command call the tools of its session, and nothing else; good "
    "while the session lives.",
    "TURNKEEPER_MCP_URL": "Where these tools are, by the Model Context Protocol.",
    "TURNKEEPER_TURN_FILE": "The whole turn as JSON: message, last checkpoint note, deadlines.",
    "TURNKEEPER_PROMPT_FILE": "The prompt as text.",
    "TURNKEEPER_CONTROL_FILE": "Appears when the platform wants something: save and exit.",
    "TURNKEEPER_CHECKPOINT_FILE": "Where the command may leave its note for the next session.",
    "TURNKEEPER_DEADLINE": "The session's ceiling, RFC 3339; not set where there is none.",
    "TURNKEEPER_MARK": "The session's id again; finds processes that left the process group.",
    "TURNKEEPER_SESSION_MODE": "Of a fire: `resume` where its schedule's last session goes on.",
    "TRACEPARENT": "The W3C trace context that came with the message, if one did.",
}
KINDS = {
    "GaugeMetricFamily": "gauge",
    "CounterMetricFamily": "counter",
    "HistogramMetricFamily": "histogram",
}
EXTREME = 1e30


class Asked(dict[str, str]):
    """An environment that remembers which names were asked for."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)
        self.names: dict[str, None] = {}

    def get(self, name: str, default: Any = None) -> Any:
        self.names[name] = None
        return super().get(name, default)


def runtime_names() -> list[str]:
    """Every name the runtime reads, in the order of the table."""
    environ = Asked({})
    RuntimeSettings.from_env(environ)
    return sorted(environ.names, key=list(RUNTIME).index)


def runtime_rows() -> Iterator[list[str]]:
    """A row for each name: default, bounds, meaning."""
    for name in runtime_names():
        plain, low, high = (_read({name: text} if text else {}) for text in ("", -EXTREME, EXTREME))
        field = next(
            (key for key in plain if low[key] != plain[key] or high[key] != plain[key]), ""
        )
        field = field or name.removeprefix("TURNKEEPER_").lower()
        numeric = isinstance(plain.get(field), int | float)
        bounds = f"{_number(low[field])} to {_number(high[field])}" if numeric else ""
        yield [f"`{name}`", f"`{plain[field]}`" if plain.get(field) else "", bounds, RUNTIME[name]]


def _read(environ: Mapping[str, Any]) -> dict[str, Any]:
    with capture_logs():
        found = RuntimeSettings.from_env({name: str(value) for name, value in environ.items()})
    declared = {field.name: field.default for field in fields(RuntimeSettings)}
    return {name: getattr(found, name) for name in declared if name != "child_environ"} | {
        name: declared[name] for name in ("spool_dir", "state_dir")
    }


def _number(value: float) -> str:
    return "any" if value >= 2**40 or math.isinf(value) else f"{value:.10g}"


def child_rows() -> list[list[str]]:
    """The names a command finds in its environment."""
    return [[f"`{name}`", text] for name, text in CHILD.items()]


def relations() -> list[tuple[str, str]]:
    """The rules between settings, as the check words them."""
    tree = ast.parse((ROOT / "app/core/settings.py").read_text())
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "_relations":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Constant) and ": " in str(inner.value):
                    rule, _, why = str(inner.value).partition(": ")
                    found.append((rule, why))
    return sorted(found)


def unread_settings() -> set[str]:
    """Settings that no code of the platform or the runtime acts on."""
    used: set[str] = set()
    for top in ("app", "workers", "scheduler"):
        for path in (ROOT / top).rglob("*.py"):
            tree = ast.parse(path.read_text())
            for node in tree.body:
                used |= _attributes(node)
            if path.relative_to(ROOT).as_posix() in BY_NAME:
                texts = (one for one in ast.walk(tree) if isinstance(one, ast.Constant))
                used |= {one.value for one in texts if isinstance(one.value, str)}
    shared = set(runtime_names())
    return {
        name for name in Settings.model_fields if name not in used and env_name(name) not in shared
    }


def _attributes(top: ast.AST) -> set[str]:
    if isinstance(top, ast.FunctionDef) and top.name == "_relations":
        return set()
    own = {top.attr} if isinstance(top, ast.Attribute) and _is_settings(top.value) else set()
    return own.union(*(_attributes(child) for child in ast.iter_child_nodes(top)))


def _is_settings(node: ast.AST) -> bool:
    """``settings.x``, ``platform.settings.x``, ``_settings.x`` and ``self.x`` of the class."""
    name = getattr(node, "attr", getattr(node, "id", ""))
    return name in ("settings", "_settings", "self")


def gauges() -> Iterator[list[str]]:
    """A row for each metric that a scrape reads and that no event counts."""
    names_of = ("telemetry", "fleet_metrics")
    trees = [ast.parse((ROOT / f"app/core/{name}.py").read_text()) for name in names_of]
    for node in (node for tree in trees for node in ast.walk(tree)):
        kind = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and kind in KINDS and isinstance(node.args[0], ast.Constant):
            name, text = (str(getattr(part, "value", "")) for part in node.args[:2])
            labels = next((word.value for word in node.keywords if word.arg == "labels"), None)
            names = ast.literal_eval(labels) if labels else []
            yield [f"`{name}`", KINDS[kind], ", ".join(f"`{label}`" for label in names), text]


def refusals() -> dict[str, set[str]]:
    """Operation -> the codes with which its header says it refuses."""
    found = {}
    for name in sorted(scripts.load()):
        source = (LUA / f"{name}.lua").read_text()
        lines = re.findall(r"^-- @returns refused: (.*)$", source, re.MULTILINE)
        found[name] = {word for line in lines for word in line.split(", ")}
    return found
