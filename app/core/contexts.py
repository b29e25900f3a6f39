"""Whose a context is: an agent may go on with what was said in it, so it is one principal's.

It is remembered beside the turns, and not with them: that nothing was accepted after all leaves a
name that nobody else takes, and no more.
"""

from app.core import keys
from app.core.errors import WorkspaceNotFound
from app.core.platform import Platform


def owner_of(platform: Platform, workspace_id: str, context_id: str, principal: str) -> str:
    """Who used the context first: this one, where nobody did within ``turn_retention_s``.

    Raises:
        WorkspaceNotFound: there is none, or it was removed: looked at in the same round trip.
    """
    data, key = platform.clients.data, keys.context_owner(workspace_id, context_id)
    kept_ms = round(platform.settings.turn_retention_s * 1000)
    pipe = data.pipeline(transaction=False)
    pipe.hget(keys.of(workspace_id)["workspace"], "status")
    pipe.set(key, principal, nx=True, px=kept_ms)
    status, is_first = pipe.execute()
    if status in (None, "removed"):
        if is_first:
            data.delete(key)
        raise WorkspaceNotFound(workspace_id=workspace_id)
    if is_first:
        return principal
    owner = str(data.get(key) or principal)
    if owner == principal:
        data.pexpire(key, kept_ms)
    return owner
