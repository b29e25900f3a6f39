"""What the fleet page and ``GET /fleet`` both show: the rows a token reaches, and what is wrong."""

from collections.abc import Sequence

from app.core import attention, fleet, vitals, workspaces
from app.core.attention import Attention
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
        waiting = sum(row.workspace.depth for row in rows)
        found += attention.of_platform(vitals.read(platform, waiting, now_ms))
    return attention.rank(found)
