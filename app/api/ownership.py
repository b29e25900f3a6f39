"""Whose turn it is: a caller that may only send has its own turns, and no others' exist for it."""

from app.api.operation import platform, token
from app.core import contexts, tokens, turns
from app.core.errors import TurnNotFound
from app.core.records import Turn

# Any of these sees a workspace's turns anyway (operate and admin hold read).
SEES_ALL = ("read", "runtime")


def sees_all(workspace_id: str) -> bool:
    """Whether the caller may see every turn there."""
    here, caller = platform(), token()
    return any(tokens.reach(here, caller, scope, workspace_id) for scope in SEES_ALL)


def may_see(workspace_id: str, turn: Turn) -> bool:
    """Whether the turn exists for the caller; one that nobody sent is no sender's."""
    return turn.principal == token().principal or sees_all(workspace_id)


def turn_of(workspace_id: str, turn_id: str) -> Turn:
    """One turn, for a route that is open to ``send``.

    Raises:
        TurnNotFound: also where it is another's and the caller sees only its own.
    """
    found = turns.get(platform(), workspace_id, turn_id)
    if not may_see(workspace_id, found):
        raise TurnNotFound(turn_id=turn_id)
    return found


def check_context(workspace_id: str, context_id: str) -> None:
    """Take a context for a new turn of the caller's.

    Raises:
        TurnNotFound: another's tasks are in it, and the caller sees only its own.
    """
    principal = token().principal
    owner = contexts.owner_of(platform(), workspace_id, context_id, principal)
    if owner != principal and not sees_all(workspace_id):
        raise TurnNotFound(context_id=context_id)
