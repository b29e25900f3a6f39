"""Who changed what: each change asked for by a person is told in the workspace's event stream.

Appended after the change and not with it: where the process dies between the two, the change stands
and the log of the web server alone knows who asked. The change's own event is never lost.
"""

import structlog
from flask import Response, current_app, g, request
from redis.exceptions import RedisError

from app.api.operation import scopes_of
from app.core import events
from app.core.errors import TurnkeeperError
from app.core.platform import Platform

log = structlog.get_logger(__name__)
# Changes under these scopes; what runtimes report and callers send has its own events.
AUDITED = frozenset({"operate", "admin"})


def record(response: Response) -> Response:
    """After each request: tell of a change that was carried out."""
    if request.method in ("GET", "HEAD", "OPTIONS") or response.status_code >= 400:
        return response
    view = current_app.view_functions.get(request.endpoint or "")
    asked = getattr(view, "scope", None)
    if asked is None or not AUDITED & set(scopes_of(asked)) or "token" not in g:
        return response
    facts = {
        "by": g.token.name,
        "token_id": g.token.id,
        "operation": getattr(view, "__name__", ""),
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
    }
    log.info("OPERATOR_ACTED", **facts)
    workspace_id = (request.view_args or {}).get("workspace_id")
    if workspace_id:
        here: Platform = current_app.extensions["turnkeeper"].platform
        try:
            events.append(here, workspace_id, "OPERATOR_ACTED", facts, "operator")
        except (RedisError, TurnkeeperError) as error:  # the change itself stands
            log.warning("not told in the workspace's events", error=str(error))
    return response
