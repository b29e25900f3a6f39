"""Routes of memories: recalled, committed, removed."""

import hashlib

from flask import Blueprint, Response, current_app, request

from app.api import models, views
from app.api.operation import answer, operation, platform, require, token
from app.core import memories as core
from app.core import workspaces
from app.core.memory_stores import GLOBAL, SCOPES, store_of
from app.core.recall import Question, recall
from app.core.tokens import EVERYWHERE

blueprint = Blueprint("memories", __name__)
TAG = "memories"
BASE = "/workspaces/<workspace_id>/memories"


def _may_write(scope: str) -> None:
    """GLOBAL memories reach every agent: only an administrator of all workspaces writes them.

    Raises:
        Forbidden.
    """
    if scope == GLOBAL:
        require("admin", EVERYWHERE)


@blueprint.get(BASE)
@operation(
    "read or runtime",
    tag=TAG,
    query=models.MemoryQuery,
    reply=models.Memories,
    refusals=(501,),
)
def recall_memories(workspace_id: str, query: models.MemoryQuery) -> Response:
    """Recall memories, newest first, or best first; never cut without saying so."""
    workspaces.require(platform(), workspace_id)
    question = Question(
        query=query.query.strip(),
        scopes=(query.scope,) if query.scope else SCOPES,
        namespace=query.namespace,
        limit=query.limit,
        cursor=query.cursor,
        session_id=query.session_id,
    )
    indexes = current_app.extensions["turnkeeper"].indexes
    found = recall(platform(), indexes, workspace_id, question)
    return answer(
        {
            "memories": [views.memory(one) for one in found.memories],
            "total": found.total,
            "returned": len(found.memories),
            "is_complete": found.is_complete,
            "next": found.next,
        }
    )


@blueprint.post(BASE)
@operation(
    "runtime or operate",
    tag=TAG,
    body=models.NewMemory,
    reply=models.Memory,
    status=201,
    more={200: models.Memory},
    refusals=(409, 410),
)
def commit_memory(workspace_id: str, body: models.NewMemory) -> Response:
    """Keep a memory; with an Idempotency-Key a repeat (200) changes nothing. GLOBAL needs admin."""
    _may_write(body.scope)
    named = request.headers.get("Idempotency-Key")
    draft = core.Draft(
        content=body.content,
        scope=body.scope,
        namespace=body.namespace,
        key=body.key or None,
        session_id=body.session_id,
        author=token().name,
        put_id=_put_id(workspace_id, body.scope, named) if named else None,
    )
    memory, is_new = core.commit(platform(), workspace_id, draft)
    return answer(views.memory(memory), 201 if is_new else 200)


def _put_id(workspace_id: str, scope: str, name: str) -> str:
    digest = hashlib.sha256("\0".join((workspace_id, scope, name)).encode()).hexdigest()
    return f"mem_{digest[:26].upper()}"


@blueprint.delete(f"{BASE}/<memory_id>")
@operation("runtime or operate", tag=TAG, reply=models.Forgotten)
def remove_memory(workspace_id: str, memory_id: str) -> Response:
    """Remove a memory; a repeat is answered alike. GLOBAL needs admin."""
    return _remove(workspace_id, memory_id, None)


@blueprint.delete(BASE)
@operation("runtime or operate", tag=TAG, body=models.Forget, reply=models.Forgotten)
def forget_memory(workspace_id: str, body: models.Forget) -> Response:
    """Remove a memory named by its id, its key or its whole content."""
    workspaces.require(platform(), workspace_id)
    memory_id = body.id
    if memory_id is None:
        store = store_of(platform(), workspace_id, body.scope)
        if body.key is not None:
            memory_id = core.by_key(platform(), store, body.namespace, body.key)
        else:
            memory_id = core.by_content(platform(), store, body.namespace, body.content or "")
    return _remove(workspace_id, memory_id, body.session_id)


def _remove(workspace_id: str, memory_id: str, session_id: str | None) -> Response:
    store, _ = core.find(platform(), workspace_id, memory_id)
    _may_write(store.scope)
    gone = core.delete(platform(), workspace_id, memory_id, session_id)
    return answer({"status": "ok", "id": gone.id, "seq": gone.seq})
