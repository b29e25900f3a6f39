"""``python -m tests.support.docs``: writes the reference pages from the code.

Each page is a function from the code to text, so the same code always gives the same page; a test
compares them with the files. Nothing here needs Redis. In pages that people write, only the part
between two ``generated`` comments is replaced.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from annotated_types import Ge, Gt, Le, Lt

from app.api.errors import RETRY_AFTER_S, STATUS
from app.cli import faults
from app.cli.main import main as command_line
from app.core import events, keys, redaction, scripts, settings, states, telemetry
from app.core.errors import TurnkeeperError
from tests.support import docs_api, docs_runtime, lua_events
from tests.support.lua_events import LUA, ROOT

REFERENCE = "docs/reference/"
CORE = "app/core/README.md"
MEMORIES = "docs/guides/memories.md"
NOTE = "<!-- Written by `make docs` from the code; changes made here are lost. -->"
SOURCE_KEY = re.compile(r'^(?:    # (.*)\n)?    "(\w+)": "[\w:]+",(?:  # (.*))?$', re.MULTILINE)
SOURCE_CONTROL = re.compile(r'^([A-Z_]+) = "(tk:[\w:]+)"  # (.*)$', re.MULTILINE)
GENERATED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; what would break a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = ([str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in lines)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def page(title: str, *parts: str) -> str:
    """A whole page."""
    return "\n\n".join([f"# {title}", NOTE, *(part.strip("\n") for part in parts)]) + "\n"


def code(words: Iterable[str]) -> str:
    """Names as code, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)


def settings_page() -> str:
    """Every setting of the platform and of the runtime."""
    unread = docs_runtime.unread_settings()
    rows = []
    for name, field in settings.Settings.model_fields.items():
        alias = field.validation_alias
        others = [str(choice) for choice in getattr(alias, "choices", [])[1:]]
        names = code([settings.env_name(name), *others])
        text = field.description or ""
        text += " *Nothing acts on it yet.*" if name in unread else ""
        rows.append([names, _default(field.default), _bounds(field.metadata), text])
    return page(
        "Settings",
        "Read once from the environment when a process starts, checked together, then frozen. "
        "Seconds may be fractions. An empty value means the default. A name that begins with "
        "`TURNKEEPER_` and is not known stops the start, and so does a value out of its bounds; "
        "`python -m app.core.settings --check` prints every fault at once.",
        "## Platform\n\nRead by `web`, `worker`, `scheduler` and `turnkeeper up`.",
        table(["Name", "Default", "Bounds", "What it does"], rows),
        "Where two settings depend on one another, this must hold:",
        "\n".join(f"- `{rule}`: {why}" for rule, why in docs_runtime.relations()),
        "`A2A_IDLE_TIMEOUT_SECONDS` counts only where `TURNKEEPER_IDLE_TIMEOUT_S` is not set, and "
        "never stops a start: empty, text, negative or less than two beats means the default. Each "
        "is told in the log.",
        "## Runtime\n\nRead by `turnkeeper run` and `with Heartbeat(...)`, beside the agent. A bad "
        "value never stops the runtime: it becomes the default, or the nearest bound, with a log "
        "line that names the setting. `TURNKEEPER_HEARTBEAT_INTERVAL_S`, `TURNKEEPER_DRAIN_S` and "
        "`TURNKEEPER_OUTPUT_MAX_BYTES` are names of both sides: each side reads its own.",
        table(["Name", "Default", "Bounds", "What it does"], docs_runtime.runtime_rows()),
        "## Set by the runtime for the command it runs",
        table(["Name", "What it holds"], docs_runtime.child_rows()),
    )


def _default(value: Any) -> str:
    text = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    text = str(text).lower() if isinstance(text, bool) else str(text)
    return f"`{text}`" if text else "empty"


def _bounds(metadata: Iterable[Any]) -> str:
    signs = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}
    found = [
        f"{sign} {getattr(item, name):g}"
        for item in metadata
        for kind, (sign, name) in signs.items()
        if isinstance(item, kind)
    ]
    return ", ".join(found)


def events_page() -> str:
    """Every event, from where it comes and what it carries."""
    found = lua_events.appended()
    operations = scripts.load()
    rows = []
    for name, meaning in events.NAMES.items():
        one = found.get(name, lua_events.Appended())
        by = code(script for script in one.scripts if script in operations)
        how = code(one.mechanisms).replace(f"`{lua_events.OF_THE_TURN}`", lua_events.OF_THE_TURN)
        if name == "WORKSPACE_HEARTBEAT":
            by += " (published)"
        counter = f"`{telemetry.COUNTERS[name][0]}_total`" if name in telemetry.COUNTERS else ""
        carries = code(events.wire_name(name) for name in one.payload)
        rows.append([f"`{name}`", meaning, by or "*not yet*", how, carries, counter])
    heads = ["Event", "Means", "Appended by", "Mechanisms", "Payload", "Counter"]
    return page(
        "Events",
        "An event is appended to the workspace's stream by the same script that makes the change, "
        "so none is lost. Read them at `GET /workspaces/<id>/events`, follow them at "
        "`GET /workspaces/<id>/events/stream` or with `turnkeeper tail`.",
        "Every event has `event`, `workspace_id`, `timestamp`, `payload`, `id` (its place in the "
        "stream), `turn_id`, `session_id`, `fence`, and `mechanism` where something acted by "
        "itself. When a limit ended a session the payload also has `limit_s`, `measured_s` and "
        "`setting`. Moments are RFC 3339, spans seconds. `mechanisms` lists what "
        "the scripts of that row can write; *not yet* marks a name that is reserved and not "
        "appended by this release.",
        table(heads, rows),
    )


def metrics_page() -> str:
    """Every metric."""
    counters = [
        [f"`{name}_total`", "counter", "", f"{text} Counts `{event}`."]
        for event, (name, text) in telemetry.COUNTERS.items()
    ]
    return page(
        "Metrics",
        "`GET /metrics`, Prometheus text format, with a token that reads all workspaces. The "
        "counters are kept in Redis by the scripts that make the change, so a process that dies "
        "loses none, and every web process shows the same figures. A reading is shared for "
        f"{telemetry.CACHE_S:g} s, and for {telemetry.CACHE_TIMES} times as long as it took where "
        "that is longer. The counts of a removed workspace stay in the sums.",
        table(["Name", "Kind", "Labels", "What it counts"], [*counters, *docs_runtime.gauges()]),
    )


def errors_page() -> str:
    """Every code with its status, and the exit codes of the command line."""
    rows = []
    for kind in sorted(_kinds(TurnkeeperError), key=lambda one: (STATUS[one.code], one.code)):
        by = code(name for name, refused in docs_runtime.refusals().items() if kind.code in refused)
        again = f"{RETRY_AFTER_S[kind.code]} s" if kind.code in RETRY_AFTER_S else ""
        text = (kind.__doc__ or "").splitlines()[0]
        rows.append([f"`{kind.code}`", STATUS[kind.code], again, text, by])
    heads = ["Code", "Status", "Retry-After", "Means", "Refused by the scripts"]
    exits = ["FAILED", "USAGE", "NOT_FOUND", "REFUSED", "UNREACHABLE", "TIMED_OUT"]
    told = ["failed", "usage", "not found", "refused", "unreachable", "timed out"]
    return page(
        "Errors",
        "Every error of the native routes is `application/problem+json` (RFC 9457): `type`, "
        "`title`, `status`, `code`, `detail`, and members that name the field, the rule, the "
        "limit or the setting. `code` is stable; texts may change. Errors that Flask itself finds "
        "(no such route, method not allowed) carry a code made of their name, such as "
        "`method_not_allowed`.",
        table(heads, rows),
        "## JSON-RPC\n\nA body with a `jsonrpc` member is answered as JSON-RPC 2.0: HTTP 200 with "
        "an `error` member (400 where the body is not JSON). Errors found before the message is "
        "read (token, scope, workspace) are problems as above.",
        table(["Code", "Means"], docs_api.rpc_rows()),
        "## Exit codes of `turnkeeper`",
        table(
            ["Exit code", "Means"],
            [[0, "ok"], *([getattr(faults, name), text] for name, text in zip(exits, told))],  # noqa: B905
        ),
        "`turnkeeper run` becomes the runtime, which ends with 0 when it was stopped, 70 after a "
        "fault of its own and 77 when the platform refused its registration.",
    )


def _kinds(base: type[TurnkeeperError]) -> list[type[TurnkeeperError]]:
    return [base, *(one for child in base.__subclasses__() for one in _kinds(child))]


def states_page() -> str:
    """The transitions of a turn, as a table and a picture."""
    rows = [
        [f"`{state}`", _kind_of(state), code(afters), docs_api.task_state(state)]
        for state, afters in states.TRANSITIONS.items()
    ]
    lanes = [[f"`{lane}`", number] for lane, number in states.PRIORITIES.items()]
    return page(
        "States of a turn",
        "A turn is in exactly one state. A script refuses a change that this table does not "
        "allow. *live*: the turn has a session that holds a slot. *ended*: nothing follows.",
        table(["State", "Kind", "May become", "A2A task state"], rows),
        diagram(),
        "## Lanes\n\nOne stream each, served in this order; an entry that has waited longer than "
        "its `max_wait_ms` is served first.",
        table(["Lane", "Priority"], lanes),
    )


def _kind_of(state: str) -> str:
    if state in states.TERMINAL:
        return "ended"
    return "live" if state in states.LIVE else "waits"


def diagram() -> str:
    """The transitions as Mermaid."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    for state, afters in states.TRANSITIONS.items():
        lines += [f"    {state} --> {after}" for after in afters]
        lines += [f"    {state} --> [*]"] if state in states.TERMINAL else []
    return "\n".join([*lines, "```"]) + "\n"


def cli_page() -> str:
    """Every command with its help."""
    parts = []
    for path, context in commands(command_line, "turnkeeper"):
        text = context.command.get_help(context)
        parts.append(f"## `{path}`\n\n```text\n{text}\n```")
    return page(
        "Command line",
        "`turnkeeper` is a client of the HTTP API; `up` and `run` also start processes. `--url` "
        "and `--token` (or `TURNKEEPER_URL` and `TURNKEEPER_TOKEN`) say where and as whom, "
        "`-o json` and `-o yaml` give every field.",
        *parts,
    )


def commands(
    command: click.Command, name: str, parent: click.Context | None = None
) -> list[tuple[str, click.Context]]:
    """Each command with its whole name, groups before their members."""
    own = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=name, parent=parent, **own)
    found = [(context.command_path, context)]
    for child, inner in sorted(getattr(command, "commands", {}).items()):
        found += commands(inner, child, context)
    return found


def keys_table() -> str:
    """The keys of one workspace and of the control side, with the words of ``keys.py``."""
    source = (ROOT / "app/core/keys.py").read_text()
    told = {name: above or beside for above, name, beside in SOURCE_KEY.findall(source)}
    own = [
        [f"`tk:{{<id>}}:{key}`", told.get(name) or "as above"] for name, key in keys.NAMES.items()
    ]
    hints = [[f"`{key}`", text] for _, key, text in SOURCE_CONTROL.findall(source)]
    return (
        "Keys of one workspace:\n\n"
        + table(["Key", "Holds"], own)
        + "\nKeys of the control side (hints and coordination):\n\n"
        + table(["Key", "Holds"], hints)
    )


def scripts_table() -> str:
    """One line for each script, from its header."""
    rows = []
    for path in sorted(LUA.rglob("*.lua")):
        first = path.read_text().splitlines()[0].removeprefix("-- ")
        rows.append([f"`{path.relative_to(LUA).as_posix()}`", first])
    return table(["Script", "What it does"], rows)


def redaction_table() -> str:
    """What is taken out of memories."""
    rows = [[f"`{one.kind}`", one.example] for one in redaction.PATTERNS]
    return table(["Kind", "Looks like"], rows)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "redaction": redaction_table,
    "keys": keys_table,
    "states": diagram,
    "scripts": scripts_table,
}


def filled(text: str) -> str:
    """A page of ours with its generated blocks written anew."""
    return GENERATED.sub(lambda at: f"{at[1]}\n{BLOCKS[at[2]]()}\n{at[3]}", text)


def pages() -> dict[str, str]:
    """Path -> text of everything that is written from the code."""
    return {
        f"{REFERENCE}settings.md": settings_page(),
        f"{REFERENCE}events.md": events_page(),
        f"{REFERENCE}metrics.md": metrics_page(),
        f"{REFERENCE}api.md": page("HTTP API", *docs_api.parts(table, code)),
        f"{REFERENCE}cli.md": cli_page(),
        f"{REFERENCE}errors.md": errors_page(),
        f"{REFERENCE}states.md": states_page(),
        CORE: filled((ROOT / CORE).read_text()),
        MEMORIES: filled((ROOT / MEMORIES).read_text()),
    }


def main() -> int:
    """Write what has changed and name it."""
    for name, text in pages().items():
        path = ROOT / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
