"""The turn's states as data; scripts carry the same table (see ``scripts.py``).

The diagram stands in ``app/core/README.md``.
"""

from collections.abc import Container
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


def lua_tables(named: Container[str]) -> str:
    """The same tables as Lua source, put in front of a script: those that it names.

    They are made anew at every call, so ALLOWED has one text a state and not one table.
    """
    allowed = ", ".join(f"{state} = ' {' '.join(after)} '" for state, after in TRANSITIONS.items())
    tables = {
        "ALLOWED": allowed,
        "LANE_FIELDS": ", ".join(
            f"'{field}'" for field in (*LANES, *(f"last:{lane}" for lane in LANES), "parked")
        ),
        "LANES": ", ".join(f"'{lane}'" for lane in LANES),
        "RANK": ", ".join(f"{lane} = {rank}" for rank, lane in enumerate(LANES)),
        "TERMINAL": ", ".join(f"{state} = true" for state in sorted(TERMINAL)),
    }
    used = {name: rows for name, rows in tables.items() if name in named}
    return "".join(f"local {name} = {{{rows}}}\n" for name, rows in used.items())
