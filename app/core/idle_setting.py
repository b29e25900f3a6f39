"""``A2A_IDLE_TIMEOUT_SECONDS``: the one setting that is the field platform's own, read its way."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

NAME = "A2A_IDLE_TIMEOUT_SECONDS"
log = logging.getLogger("app.core.settings")  # read as one of the settings, told as one


def decide(
    env: Mapping[str, str], values: dict[str, Any], own: str, default: Callable[[str], float]
) -> None:
    """Put it into ``values``; a bad value never stops a boot.

    Empty, text, negative and less than two beats mean the default, 0 means never, a fraction is
    taken; our ``own`` name counts before it. Each is logged.
    """
    raw = env.get(NAME)
    if raw is None:
        return
    if "idle_timeout_s" in values:
        log.warning("setting %s=%r is passed over: %s is set", NAME, raw, own)
        return
    value, least = _seconds(raw), 2 * _interval_s(values, default("heartbeat_interval_s"))
    if value == 0 or least <= value < math.inf:
        values["idle_timeout_s"] = value = abs(value)
        log.info(
            "setting %s=%s: idle timeout is %s s%s", NAME, raw, value, "" if value else " (never)"
        )
    else:
        rule = f"neither 0 nor a number of seconds of at least two beats ({least:g})"
        log.warning("setting %s=%r is %s: default %g s", NAME, raw, rule, default("idle_timeout_s"))


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _interval_s(values: Mapping[str, Any], default: float) -> float:
    """The interval of the heartbeat as far as it can be read here; checked later like all."""
    read = _seconds(str(values.get("heartbeat_interval_s", default)))
    return read if 0 < read < math.inf else default
