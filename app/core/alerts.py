"""Alerts: what needs a person's attention, told once when it begins and once when it is over.

What is open stands beside the events that tell it, in the workspace's own slot, so that both change
in one step however many workers look. What concerns the whole platform stands in a place of its
own, ``keys.PLATFORM_PLACE``.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.core import keys, scripts
from app.core.attention import SEVERITY, Attention
from app.core.errors import TurnkeeperError
from app.core.events import Event
from app.core.platform import Platform
from app.core.webhooks import SLACK
from app.core.why import span

# What is measured of these is a number of things; of the others, seconds.
COUNTED = frozenset({"workers_gone", "waiting_streak", "dead_letters"})


def rows(found: Sequence[Attention]) -> list[dict[str, Any]]:
    """The conditions that hold, each once, as the script takes them: integers only."""
    told: dict[str, dict[str, Any]] = {}
    for item in found:
        for one in item.conditions:
            unit, scale = ("count", 1) if one.code in COUNTED else ("ms", 1000)
            told.setdefault(
                one.code,
                {
                    "condition": one.code,
                    "severity": SEVERITY[one.code],
                    "sentence": item.sentence,
                    "setting": one.setting,
                    f"measured_{unit}": round(one.measured * scale),
                    f"limit_{unit}": round(one.limit * scale),
                },
            )
    return list(told.values())


def note(platform: Platform, found: Mapping[str, Sequence[Attention]]) -> tuple[int, int]:
    """Say what holds in each of these places. Returns how many alerts were opened, and how many
    recovered. A repeat, or two workers at once, tell nothing twice."""
    settings = platform.settings
    limits = {
        "hold_ms": round(settings.alert_hold_s * 1000),
        "repeat_ms": round(settings.alert_repeat_s * 1000),
    }
    calls = []
    for place, items in found.items():
        args = limits | {"found": json.dumps(rows(items), ensure_ascii=False)}
        calls.append((place, platform.with_limits("alert", args)))
    replies = scripts.call_many(platform.clients.data, "alert", calls) if calls else []
    good = [reply for reply in replies if not isinstance(reply, TurnkeeperError)]
    return sum(int(one[1]) for one in good), sum(int(one[2]) for one in good)


def known(platform: Platform, places: Sequence[str]) -> set[str]:
    """Those of these places of which something is noted."""
    pipe = platform.clients.data.pipeline(transaction=False)
    for place in places:
        pipe.exists(keys.of(place)["alerts"])
    return {place for place, there in zip(places, pipe.execute(), strict=True) if there}


def body(form: str, event: Event) -> dict[str, Any]:
    """What a webhook is sent of an event, in its format."""
    return {"text": text(event)} if form == SLACK else event.envelope()


def text(event: Event) -> str:
    """One sentence on an event, for a chat; the three signs that Slack gives a meaning are
    escaped, for what agents and users write is in it."""
    payload = event.payload
    if event.event == "ALERT_OPENED":
        told = f"[{payload.get('severity')}] {payload.get('sentence')}"
    elif event.event == "ALERT_RECOVERED":
        after = span(int(payload.get("open_ms", 0)) / 1000)
        told = f"[recovered after {after}] {payload.get('condition')}: {payload.get('sentence')}"
    else:
        why = payload.get("reason") or payload.get("text") or event.mechanism or ""
        told = f"{event.event} in {event.workspace_id}" + (f": {why}" if why else "")
    return told.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
