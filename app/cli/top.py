"""``turnkeeper top``: the fleet page in a terminal."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from app.cli.connection import Cli, connected, is_data
from app.cli.parameters import DURATION
from app.cli.plain_text import clock_time, duration, plain, shorten
from app.cli.tables import GAP, Column, fitting

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType

STATES = {"online": "green", "degraded": "yellow", "offline": "red", "paused": "blue"}
SEVERITIES = {"critical": "bold red", "warning": "yellow"}
HEADS = "state workspace sessions age/ceiling heartbeat progress waiting oldest fires next dead"
# Left out in this order where the terminal is narrow.
SPARE = ("sessions", "next", "heartbeat", "fires", "dead", "progress")


@click.command()
@click.option("--interval", "interval_s", type=DURATION, default="2s", show_default=True)
@click.option("--once", is_flag=True, help="Print once, as where stdout is no terminal.")
@connected
def top(cli: Cli, interval_s: float, once: bool) -> None:
    """Show what needs attention and every workspace, the longest wait first; Ctrl-C ends it."""
    if is_data(cli, answer := cli.api.call("GET", "/fleet")):
        return
    console = _console()
    if once or not sys.stdout.isatty():
        console.print(picture(answer, console.width))
        return
    with _live(console) as update:
        clock = threading.Event()
        while True:
            update(picture(answer, *console.size))
            clock.wait(max(interval_s, 0.2))
            answer = cli.api.call("GET", "/fleet")


def picture(answer: dict[str, Any], width: int, height: int | None = None) -> "Group":
    """Attention first, then the table with the columns that fit; ``height`` cuts it to a screen and
    says so."""
    from rich.console import Group
    from rich.text import Text

    rows: Sequence[dict[str, Any]] = answer["workspaces"]
    items: Sequence[dict[str, Any]] = answer["attention"]
    room = len(rows) if height is None else max(3, height - len(items) * 2 - 5)
    waiting = sum(row["waiting"] for row in rows)
    running = sum(row["live_sessions"] for row in rows)
    head = f"{clock_time(answer['at'])}  {answer['total']} workspaces, {running} sessions, "
    parts: list[RenderableType] = [Text(f"{head}{waiting} turns wait", style="bold")]
    for item in items:
        mark = "!!" if item["severity"] == "critical" else "! "
        parts.append(Text(f"{mark} {plain(item['sentence'])}", SEVERITIES[item["severity"]]))
    if not rows:
        parts.append(Text("no workspaces yet: turnkeeper workspaces create ID"))
    else:
        parts.append(_table(rows[:room], width))
    if hidden := answer["total"] - min(room, len(rows)):
        parts.append(Text(f"… and {hidden} more: turnkeeper top --once", style="dim"))
    return Group(*parts)


def _table(rows: Sequence[dict[str, Any]], width: int) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    found = zip(HEADS.split(), zip(*map(cells, rows), strict=True), strict=True)
    kept = fitting(
        [Column(head, head, texts, is_whole=True) for head, texts in found], SPARE, width
    )
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for one in kept:
        table.add_column(one.head, no_wrap=True)
    for texts in zip(*(one.cells for one in kept), strict=True):
        table.add_row(Text(texts[0], STATES.get(texts[0], "")), *map(Text, texts[1:]))
    return table


def cells(row: dict[str, Any]) -> list[str]:
    """A row's texts, as the page's table has them."""
    oldest = max(row["sessions"], key=lambda one: one["age_s"], default=None)
    age = progress = "-"
    if oldest:
        limit = duration(oldest["ceiling_s"]) if oldest["ceiling_s"] else "none"
        age = f"{duration(oldest['age_s'])} / {limit}"
        progress = duration(oldest["progress_age_s"])
    beat = row["heartbeat_age_s"]
    return [
        row["status"],
        plain(shorten(row["name"], 24)),
        f"{row['live_sessions']}/{row['max_concurrent']}",
        age,
        "never" if beat is None else duration(beat),
        progress,
        str(row["waiting"]),
        duration(row["oldest_wait_s"]) if row["waiting"] else "-",
        str(row["waiting_fires"] or "-"),
        clock_time(row["next_fire_at"]) if row["next_fire_at"] else "-",
        str(row["dead_letters"] or "-"),
    ]


def _console() -> "Console":
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100_000, highlight=False)


@contextmanager
def _live(console: "Console") -> Iterator[Any]:
    """A picture that is drawn over in place; the terminal is as it was at the end."""
    from rich.live import Live

    with Live(console=console, screen=True, auto_refresh=False) as live:
        try:
            yield lambda shown: live.update(shown, refresh=True)
        except KeyboardInterrupt:
            return
