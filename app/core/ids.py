"""Ids: a type prefix and a ULID, so that ids of one kind sort by when they were made."""

import hashlib
import re

from ulid import ULID

from app.core.errors import InvalidInput

_WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def new(prefix: str) -> str:
    """A new id: ``new("trn")`` gives ``trn_01J…``."""
    return f"{prefix}_{ULID()}"


def of_fire(schedule_id: str, nominal_ms: int) -> str:
    """The turn id of a fire: the same fire always has the same one."""
    return "trn_" + hashlib.sha256(f"{schedule_id}:{nominal_ms}".encode()).hexdigest()[:26].upper()


def check_workspace(workspace_id: str) -> str:
    """The id if it may be one.

    Raises:
        InvalidInput: naming the rule.
    """
    if not _WORKSPACE.fullmatch(workspace_id):
        raise InvalidInput(
            "id", "1 to 64 letters, digits, '_', '.', '-'; the first a letter or digit"
        )
    return workspace_id
