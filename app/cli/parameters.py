"""Kinds of option values: durations and free fields."""

import json
from typing import Any

import click

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604_800}


class Duration(click.ParamType[float]):
    """``90``, ``90s``, ``10m``, ``2h``, ``30d`` as seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds; click calls it again with a default that is seconds already."""
        if isinstance(value, (int, float)):
            return float(value)
        text = str(value).strip()
        number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
        if not number.replace(".", "", 1).isdigit() or not number.isascii():
            self.fail(f"{value!r} is not a duration such as 90s, 10m, 2h or 30d", param, ctx)
        return float(number) * UNITS[unit]


class Field(click.ParamType[tuple[str, Any]]):
    """``key=value``; the value is JSON when it reads as JSON, else text."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """The key and its value."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not key=value", param, ctx)
        try:
            return key, json.loads(text)
        except ValueError:
            return key, text


DURATION = Duration()
FIELD = Field()


def body_of(fields: tuple[tuple[str, Any], ...], **named: Any) -> dict[str, Any]:
    """A request body: the named options that were given, then the free fields."""
    return {key: value for key, value in named.items() if value is not None} | dict(fields)


def required_change(body: dict[str, Any]) -> dict[str, Any]:
    """The body, unless nothing was asked to change."""
    if not body:
        raise click.UsageError("nothing to change: give at least one option, or --field key=value")
    return body
