"""The turn's states as data; scripts carry the same table (see ``scripts.py``).

The diagram stands in ``app/core/README.md``.
"""

from typing import Final

LANES: Final = ("urgent", "chat", "task", "cron", "info")
PRIORITIES: Final = {"urgent": 100, "chat": 70, "task": 50, "cron": 30, "info": 10}

_ENDS: Final = ("completed", "failed", "yielded", "force_idled", "canceled", "input_required")

TRANSITIONS: Final[dict[str, tuple[str, ...]]] = {
    "queued": ("claimed", "canceled", "expired", "coalesced", "skipped", "dead"),
    "claimed": ("delivered", "running", "queued", "dead", *_ENDS),
    "delivered": ("running", "queued", "dead", *_ENDS),
    "running": ("checkpointing", "queued", "dead", *_ENDS),
    "checkpointing": ("queued", "dead", *_ENDS),
    "input_required": ("queued", "canceled", "expired"),
    "completed": (),
    "failed": (),
    "yielded": (),
    "force_idled": (),
    "canceled": (),
    "expired": (),
    "coalesced": (),
    "skipped": (),
    "dead": (),
}

TERMINAL: Final = frozenset(state for state, after in TRANSITIONS.items() if not after)
LIVE: Final = frozenset({"claimed", "delivered", "running", "checkpointing"})


def lua_tables() -> str:
    """The same tables as Lua source, put in front of every script that moves a turn."""
    rows = ", ".join(
        f"{state} = {{{', '.join(f'{after} = true' for after in afters)}}}"
        for state, afters in TRANSITIONS.items()
    )
    lanes = ", ".join(f"'{lane}'" for lane in LANES)
    ranks = ", ".join(f"{lane} = {rank}" for rank, lane in enumerate(LANES))
    ended = ", ".join(f"{state} = true" for state in sorted(TERMINAL))
    return (
        f"local ALLOWED = {{{rows}}}\nlocal LANES = {{{lanes}}}\n"
        f"local RANK = {{{ranks}}}\nlocal TERMINAL = {{{ended}}}\n"
    )
