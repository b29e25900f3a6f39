"""The stores of memories: a workspace's own, its team's, everybody's; each in a slot of its own."""

from dataclasses import dataclass

from app.core import keys
from app.core.errors import InvalidInput
from app.core.platform import Platform

LOCAL, TEAM, GLOBAL = SCOPES = ("LOCAL", "TEAM", "GLOBAL")


@dataclass(frozen=True)
class Store:
    """One store; ``tag`` is what its keys carry in place of a workspace's id."""

    scope: str
    tag: str
    team: str = ""


def team_of(platform: Platform, workspace_id: str) -> str:
    """The team whose memories a workspace shares; empty: none."""
    return platform.clients.data.hget(keys.of(workspace_id)["workspace"], "team") or ""


def stores(workspace_id: str, team: str) -> list[Store]:
    """The stores that a workspace reads."""
    shared = [Store(TEAM, keys.team_tag(team), team)] if team else []
    return [Store(LOCAL, workspace_id), *shared, Store(GLOBAL, keys.GLOBAL_TAG)]


def store_of(platform: Platform, workspace_id: str, scope: str) -> Store:
    """The store of one scope.

    Raises:
        InvalidInput: TEAM, and the workspace is in none.
    """
    found = stores(workspace_id, team_of(platform, workspace_id))
    store = next((one for one in found if one.scope == scope), None)
    if store is None:
        raise InvalidInput("scope", "TEAM: this workspace is in no team; set its team first")
    return store
