"""Settings of the runtime, read once from the environment. Nothing else here reads it."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

SECRET_ENDINGS = ("_TOKEN", "_TOKENS", "_SECRET", "_SECRETS", "_PASSWORD", "_KEY")


@dataclass(frozen=True)
class RuntimeSettings:
    """One value per ``TURNKEEPER_*`` name; seconds and bytes as the names say."""

    url: str = "http://127.0.0.1:8080"
    token: str = field(default="", repr=False)
    heartbeat_interval_s: float = 30.0
    keepalive_s: float = 75.0
    poll_wait_s: float = 25.0
    output_interval_s: float = 1.0
    output_max_bytes: int = 262_144
    line_max_bytes: int = 1_048_576
    spool_dir: Path = Path("~/.turnkeeper/spool")
    spool_max_bytes: int = 67_108_864
    state_dir: Path = Path("~/.turnkeeper/state")
    log_dir: Path | None = None
    log_max_bytes: int = 67_108_864
    drain_s: float = 20.0
    max_concurrent: int = 1
    kill_grace_s: float = 10.0
    exit_wait_s: float = 10.0
    retry_min_s: float = 0.5
    retry_max_s: float = 15.0
    child_environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "RuntimeSettings":
        """Read every setting; a bad value becomes its default (or its bound) with a log line."""
        return cls(
            url=environ.get("TURNKEEPER_URL", "").rstrip("/") or cls.url,
            token=environ.get("TURNKEEPER_TOKEN", ""),
            heartbeat_interval_s=_bounded(environ, "HEARTBEAT_INTERVAL_S", "HEARTBEAT", 30, 5, 300),
            keepalive_s=_bounded(environ, "KEEPALIVE_S", "KEEPALIVE", 75, 60, 90),
            poll_wait_s=_number(environ, "TURNKEEPER_POLL_WAIT_S", 25, 0, 300),
            output_interval_s=_number(environ, "TURNKEEPER_OUTPUT_INTERVAL_S", 1, 0.05, 60),
            output_max_bytes=_count(environ, "TURNKEEPER_OUTPUT_MAX_BYTES", 262_144, 1024),
            line_max_bytes=_count(environ, "TURNKEEPER_LINE_MAX_BYTES", 1_048_576, 1024),
            spool_dir=Path(environ.get("TURNKEEPER_SPOOL_DIR") or cls.spool_dir).expanduser(),
            spool_max_bytes=_count(environ, "TURNKEEPER_SPOOL_MAX_BYTES", 67_108_864, 1_048_576),
            state_dir=Path(environ.get("TURNKEEPER_STATE_DIR") or cls.state_dir).expanduser(),
            log_dir=_optional_path(environ, "TURNKEEPER_LOG_DIR"),
            log_max_bytes=_count(environ, "TURNKEEPER_LOG_MAX_BYTES", 67_108_864, 1024),
            drain_s=_number(environ, "TURNKEEPER_DRAIN_S", 20, 0, 3600),
            max_concurrent=_count(environ, "TURNKEEPER_MAX_CONCURRENT", 1, 1),
            kill_grace_s=_number(environ, "TURNKEEPER_KILL_GRACE_S", 10, 0, 600),
            exit_wait_s=_number(environ, "TURNKEEPER_EXIT_WAIT_S", 10, 0, 600),
            retry_min_s=_number(environ, "TURNKEEPER_RETRY_MIN_S", 0.5, 0.01, 60),
            retry_max_s=_number(environ, "TURNKEEPER_RETRY_MAX_S", 15, 0.01, 600),
            child_environ=without_secrets(environ),
        )


def load_settings() -> RuntimeSettings:
    """The settings of this process."""
    return RuntimeSettings.from_env(os.environ)


def process_environ() -> dict[str, str]:
    """A copy of this process's environment, for a process of the runtime itself."""
    return dict(os.environ)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment a child may see: everything but Turnkeeper's own tokens and keys."""
    return {
        name: value
        for name, value in environ.items()
        if not (name.startswith("TURNKEEPER_") and name.endswith(SECRET_ENDINGS))
    }


def _optional_path(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name)
    return Path(text).expanduser() if text else None


def _bounded(
    environ: Mapping[str, str], name: str, bounds: str, default: float, low: float, high: float
) -> float:
    """A number whose clamp can itself be moved by ``…_MIN_S`` and ``…_MAX_S``."""
    low_s = _number(environ, f"TURNKEEPER_{bounds}_MIN_S", low, 0.01, math.inf)
    high_s = _number(environ, f"TURNKEEPER_{bounds}_MAX_S", high, 0.01, math.inf)
    if low_s > high_s:
        log.warning(
            "setting_ignored",
            setting=f"TURNKEEPER_{bounds}_MIN_S",
            value=low_s,
            reason=f"above TURNKEEPER_{bounds}_MAX_S={high_s}",
        )
        low_s, high_s = low, high
    return _number(environ, f"TURNKEEPER_{name}", min(max(default, low_s), high_s), low_s, high_s)


def _number(
    environ: Mapping[str, str], name: str, default: float, low: float, high: float
) -> float:
    text = environ.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        log.warning("setting_ignored", setting=name, value=text, used=default)
        return default
    if not low <= value <= high:
        bound = low if value < low else high
        log.warning("setting_clamped", setting=name, value=value, used=bound)
        return bound
    return value


def _count(environ: Mapping[str, str], name: str, default: int, low: int) -> int:
    return int(_number(environ, name, default, low, 2**40))
