"""Charts drawn on the server as SVG: no script, and each has its table twin on the page.

Only presentation attributes and classes, no ``style``: the content policy forbids inline styles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 600, 120
STRIP_COUNT = 60
# What a fire's state looks like: class and letter, so that no colour stands alone.
LOOKS: Mapping[str, tuple[str, str]] = {
    "completed": ("good", "✓"),
    "yielded": ("good", "✓"),
    "queued": ("wait", "…"),
    "claimed": ("run", "▸"),
    "running": ("run", "▸"),
    "input_required": ("wait", "?"),
    "failed": ("bad", "✗"),
    "dead": ("bad", "✗"),
    "force_idled": ("bad", "■"),
    "missed": ("bad", "!"),
    "expired": ("warn", "⌛"),
    "skipped": ("warn", "–"),
    "coalesced": ("warn", "»"),
    "canceled": ("warn", "–"),
}


def look(state: str) -> tuple[str, str]:
    """Class and sign of a state."""
    return LOOKS.get(state, ("wait", "?"))


def strip(states: Sequence[tuple[str, str]]) -> Markup:
    """The last fires as bars, oldest first. ``states``: (state, what a hover says) of each."""
    shown = states[-STRIP_COUNT:]
    counts: dict[str, int] = {}
    for state, _ in shown:
        counts[state] = counts.get(state, 0) + 1
    said = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in counts.items())
    bars = Markup("").join(
        Markup(
            '<rect class="{}" x="{}" y="{}" width="3" height="{}"><title>{}</title></rect>'
        ).format(
            look(state)[0],
            (STRIP_COUNT - len(shown) + at) * 4,
            0 if look(state)[0] != "good" else 4,
            16 if look(state)[0] != "good" else 12,
            title,
        )
        for at, (state, title) in enumerate(shown)
    )
    label = f"last {len(shown)} fires: {said}" if shown else "no fires yet"
    return Markup(
        '<svg class="strip" viewBox="0 0 {} 16" role="img" aria-label="{}">{}</svg>'
    ).format(STRIP_COUNT * 4, label, bars)


@dataclass(frozen=True)
class Series:
    """One line of a chart, or one band of a stacked one."""

    name: str
    values: Sequence[float]


def chart(title: str, series: Sequence[Series], is_stacked: bool = False) -> Markup:
    """Lines, or bands on one another; the first value is the oldest."""
    length = max((len(one.values) for one in series), default=0)
    tops = _stack(series) if is_stacked else [list(one.values) for one in series]
    highest = max((value for row in tops for value in row), default=0) or 1
    drawn = []
    for at, row in enumerate(tops):
        below = tops[at - 1] if is_stacked and at else [0.0] * len(row)
        name = Markup("series s{}").format(at)
        if is_stacked:
            outline = _points(row, highest) + _points(below, highest)[::-1]
            shape = Markup('<polygon class="{}" points="{}"/>')
        else:
            outline, shape = _points(row, highest), Markup('<polyline class="{}" points="{}"/>')
        drawn.append(shape.format(name, " ".join(f"{x:g},{y:g}" for x, y in outline)))
    last = [one.values[-1] if one.values else 0 for one in series]
    said = ", ".join(f"{one.name} {value:g}" for one, value in zip(series, last, strict=True))
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}</svg>'
    ).format(
        WIDTH, HEIGHT, f"{title}, {length} minutes; now {said or 'nothing'}", Markup("").join(drawn)
    )


def _stack(series: Sequence[Series]) -> list[list[float]]:
    tops: list[list[float]] = []
    for one in series:
        below = tops[-1] if tops else [0.0] * len(one.values)
        tops.append([low + value for low, value in zip(below, one.values, strict=True)])
    return tops


def _points(values: Sequence[float], highest: float) -> list[tuple[float, float]]:
    step = WIDTH / max(1, len(values) - 1)
    return [
        (round(at * step, 1), round(HEIGHT - value / highest * (HEIGHT - 4), 1))
        for at, value in enumerate(values)
    ]


@dataclass(frozen=True)
class Mark:
    """Something on the timeline: a span, or a moment where ``until`` is None. Times in ms."""

    row: str
    at: int
    until: int | None
    kind: str
    title: str


def timeline(marks: Sequence[Mark], rows: Sequence[str], start: int, end: int) -> Markup:
    """Marks over time, a row each kind."""
    height = 22 * len(rows)

    def x(at: int) -> float:
        return round((min(max(at, start), end) - start) / max(1, end - start) * WIDTH * 2, 1)

    drawn = []
    for mark in marks:
        left = min(x(mark.at), WIDTH * 2 - 4.0)
        y = rows.index(mark.row) * 22 + 4
        width = max(3.0, round(x(mark.until) - x(mark.at), 1)) if mark.until else 4
        drawn.append(
            Markup(
                '<rect class="{}" x="{}" y="{}" width="{}" height="14"><title>{}</title></rect>'
            ).format(mark.kind, left, y, width, mark.title)
        )
    lines = Markup("").join(
        Markup('<line x1="0" x2="{}" y1="{}" y2="{}"/>').format(WIDTH * 2, at * 22, at * 22)
        for at in range(1, len(rows))
    )
    return Markup(
        '<svg class="timeline" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}{}</svg>'
    ).format(
        WIDTH * 2,
        height,
        f"timeline with {len(marks)} marks; the table has each",
        lines,
        Markup("").join(drawn),
    )


def chip(state: str) -> Markup:
    """A state as sign, colour and text."""
    kind, sign = look(state)
    return Markup('<span class="chip {}"><span aria-hidden="true">{}</span> {}</span>').format(
        kind, sign, escape(state.replace("_", " "))
    )
