"""The fleet: what needs attention first, then every workspace, then the day in charts."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from flask import Response, g, request

from app.core import attention, history, keys, ledger, overview, timings, vitals
from app.core import fleet as core
from app.core.admission import Pace, admit
from app.core.clock import rfc3339
from app.core.history import Sample
from app.core.platform import Platform
from app.core.why import span
from app.ui import filters, svg
from app.ui.pages import blueprint, page, platform, scope
from app.ui.svg import Series

SHOWN_MAX = 500
# A minute each; more would be finer than a screen.
CHARTED = 720
ENDS = (
    ("CRON_EXECUTED", "run"),
    ("TURN_COALESCED", "coalesced"),
    ("CRON_SKIPPED", "skipped"),
    ("CRON_MISSED", "missed"),
)


@blueprint.get("/")
@scope("public")
def fleet() -> Response:
    """Every workspace that the token reaches; without a login, how to log in."""
    here = platform()
    found = admit(here, g.login or "", Pace.REQUEST)
    if found is None:
        return page("login.html", 401)
    now = here.now_ms()
    rows = overview.reached(here, found, now)
    query = request.args.get("q", "").strip()
    wanted = filters.parse(query)
    shown = [row for row in rows if wanted.passes(row, now)]
    sees_all = found.allows("read", None)
    return page(
        "fleet.html",
        now=now,
        rows=shown[:SHOWN_MAX],
        matched=len(shown),
        total=len(rows),
        query=query,
        fault=wanted.fault,
        strips=strips(here, shown[:SHOWN_MAX]),
        items=overview.items(here, rows, now, sees_all),
        tiles=_tiles(here, rows, now),
        charts=_charts(history.read(here, CHARTED)) if sees_all else [],
        can_operate=found.allows("operate", None) or bool(set(found.scopes) & {"operate", "admin"}),
    )


def strips(here: Platform, rows: Sequence[core.Row]) -> dict[str, Any]:
    """The last sixty fires of each workspace."""
    pipe = here.clients.data.pipeline(transaction=False)
    for row in rows:
        pipe.hkeys(keys.of(row.workspace.id)["schedules"])
    known = dict(
        zip((row.workspace.id for row in rows), pipe.execute() if rows else [], strict=True)
    )
    found = ledger.newest(here, known, svg.STRIP_COUNT) if known else {}
    return {
        one: svg.strip([(fire.state, _told(fire)) for fire in fires])
        for one, fires in found.items()
    }


def _told(fire: ledger.Fire) -> str:
    at = (rfc3339(fire.nominal_at) or "")[:16].replace("T", " ")
    return f"{at} UTC {fire.state.replace('_', ' ')}" + (f": {fire.why}" if fire.why else "")


def _tiles(here: Platform, rows: Sequence[core.Row], now: int) -> list[tuple[str, str, str]]:
    """Name, figure, and a word on it."""
    running = sum(row.workspace.live_count for row in rows)
    slots = sum(row.workspace.slots for row in rows if row.workspace.capacity)
    waiting = sum(row.workspace.depth for row in rows)
    oldest = max((row.oldest_wait_ms for row in rows), default=0)
    live = vitals.read(here, sum(row.workspace.depth for row in rows), now)
    heard = [job for job, at in live.ticks.items() if now - at < attention.SILENT_S * 1000]
    samples = history.read(here)
    made = sum(history.growth(samples, "CRON_QUEUED"))
    late = sum(history.growth(samples, "CRON_MISSED"))
    on_time = f"{100 * made / (made + late):.1f} %" if made + late else "none yet"
    return [
        ("Running", f"{running} / {slots}", "sessions of slots"),
        ("Waiting", str(waiting), "turns"),
        ("Oldest wait", span(oldest / 1000) if oldest else "0 s", ""),
        ("Fires made in 24 h", on_time, f"{made} made, {late} missed"),
        ("Scheduler", "alive" if "fire_due" in heard else "silent", "ticks each second"),
        (
            "Workers",
            "alive" if live.dispatchers and "reap" in heard else "silent",
            "dispatch, reaper",
        ),
        ("Dead letters", str(sum(row.dead_letters for row in rows)), ""),
    ]


def _charts(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Each chart with its table twin: the same figures by hour."""
    if len(samples) < 2:
        return []
    lanes = sorted({lane for one in samples for lane in one.waiting}) or ["chat"]
    depth = [Series(lane, [one.waiting.get(lane, 0) for one in samples]) for lane in lanes]
    fires = [Series(word, history.growth(samples, event)) for event, word in ENDS]
    waits = history.timing_growth(samples, "wait")
    lengths = history.timing_growth(samples, "session")
    return [
        _chart("Waiting turns by lane", samples, depth, is_stacked=True),
        _chart("Ends of fires a minute", samples[1:], fires, is_stacked=True),
        _chart("Wait for a first claim, seconds", samples[1:], _quantiles("wait", waits)),
        _chart("Session length, seconds", samples[1:], _quantiles("session", lengths)),
    ]


def _quantiles(name: str, grown: Sequence[Sequence[int]]) -> list[Series]:
    found = []
    for share, word in ((0.5, "half within"), (0.99, "99 % within")):
        values = [(timings.quantile_ms(name, one, share) or 0) / 1000 for one in grown]
        found.append(Series(word, values))
    return found


def _chart(
    title: str, samples: Sequence[Sample], series: Sequence[Series], is_stacked: bool = False
) -> dict[str, Any]:
    hours = [at for at, one in enumerate(samples) if at % 60 == 0 or at == len(samples) - 1]
    table = [
        (samples[end].at, [max(one.values[start : end + 1]) for one in series])
        for start, end in (pairwise(hours) if len(hours) > 1 else [(0, len(samples) - 1)])
    ]
    return {
        "title": title,
        "picture": svg.chart(title, series, is_stacked),
        "names": [one.name for one in series],
        "latest": [one.values[-1] for one in series],
        "table": table,
    }
