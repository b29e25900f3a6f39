"""What the fleet page and ``GET /fleet`` both show: the rows a token reaches, and what is wrong."""

from collections.abc import Sequence

from app.core import attention, fleet, keys, workspaces
from app.core.attention import Attention, Vitals
from app.core.platform import Platform
from app.core.tokens import Token


def reached(platform: Platform, token: Token, now_ms: int) -> list[fleet.Row]:
    """The workspaces that the token may read, the longest wait first."""
    rows = fleet.read(platform, list(workspaces.all_ids(platform)), now_ms)
    found = [
        row
        for row in rows
        if token.allows("read", row.workspace.id, row.workspace.stored.get("team"))
    ]
    return sorted(found, key=lambda row: (-row.oldest_wait_ms, row.name))


def items(
    platform: Platform, rows: Sequence[fleet.Row], now_ms: int, sees_all: bool
) -> list[Attention]:
    """What needs a person's attention, the worst first."""
    found = [one for row in rows if (one := attention.of_row(row, now_ms, platform.settings))]
    if sees_all:
        found += attention.of_platform(vitals(platform, rows, now_ms))
    return attention.rank(found)


def vitals(platform: Platform, rows: Sequence[fleet.Row], now_ms: int) -> Vitals:
    """What the platform's own processes left of themselves."""
    ticks = platform.clients.control.hgetall(keys.TICKS)
    return Vitals(
        now=now_ms,
        ticks={job: int(at) for job, at in ticks.items()},
        dispatchers=int(platform.run_control("dispatcher", slice_id="", ttl_ms=0)[1]),
        waiting=sum(row.workspace.depth for row in rows),
    )
