"""Settings with where each value comes from; the health of the platform, and its own events."""

from typing import Any

from flask import Response
from pydantic import SecretStr

from app.core import checkup, events, keys, workspaces
from app.core.events import Event
from app.core.platform import Platform
from app.core.settings import Settings, env_name
from app.ui.pages import blueprint, page, platform, scope

OWN_LIMITS = {
    "ceiling_ms": ("ceiling_s", "TURNKEEPER_CEILING_S"),
    "idle_ms": ("idle_timeout_s", "TURNKEEPER_IDLE_TIMEOUT_S"),
    "stall_ms": ("stall_after_s", "TURNKEEPER_STALL_AFTER_S"),
    "max_concurrent": ("max_concurrent", "1"),
}
EVENTS_SHOWN = 50


@blueprint.get("/settings")
@scope("admin")
def settings() -> Response:
    """Every setting with its value and its source; and what single workspaces have of their own."""
    here = platform()
    own = [
        {
            "workspace": found,
            "field": field,
            "value": _shown_ms(stored, found.stored[stored]),
            "over": over,
        }
        for found in workspaces.listing(here)
        for stored, (field, over) in OWN_LIMITS.items()
        if found.stored.get(stored)
    ]
    return page("settings.html", now=here.now_ms(), rows=rows(here.settings), own=own)


def rows(found: Settings) -> list[dict[str, Any]]:
    """Each setting; secrets and the passwords of addresses are not shown."""
    return [
        {
            "env": env_name(name),
            "value": _masked(getattr(found, name)),
            "source": "env" if name in found.model_fields_set else "default",
            "text": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def _masked(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "set, not shown" if value.get_secret_value() else "not set"
    text = str(value)
    scheme, found, rest = text.partition("://")
    if found and "@" in rest:
        return f"{scheme}://***@{rest.rsplit('@', 1)[1]}"
    return text


def _shown_ms(stored: str, value: str) -> str:
    return f"{float(value) / 1000:g} s" if stored.endswith("_ms") else value


@blueprint.get("/health")
@scope("admin")
def health() -> Response:
    """The doctor's checks, and what was told of the platform itself."""
    here = platform()
    return page(
        "health.html",
        now=here.now_ms(),
        checks=checkup.run(here),
        told=platform_events(here),
        told_max=EVENTS_SHOWN,
    )


def platform_events(here: Platform) -> list[dict[str, Any]]:
    """The newest events that belong to no workspace, newest first."""
    found = events.latest(here, keys.PLATFORM_PLACE, EVENTS_SHOWN)
    return [_told(one) for one in found]


def _told(event: Event) -> dict[str, Any]:
    payload = event.payload
    return {
        "at": events.order(event.id)[0],
        "event": event.event,
        "about": payload.get("condition") or payload.get("mechanism") or event.mechanism or "",
        "said": payload.get("sentence") or payload.get("reason") or "",
    }
