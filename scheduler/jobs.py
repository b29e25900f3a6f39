"""The scheduler's RQ job, called by dotted name each second."""

from app.core import keys
from app.core.platform import current
from scheduler import fires


def fire_due() -> None:
    """Make the fires that are due; may run twice, late or not at all without harm."""
    platform = current()
    fires.fire_due(platform)
    platform.clients.control.hset(keys.TICKS, "fire_due", platform.now_ms())
