"""workspace_put.lua and append.lua."""

import json

import pytest

from app.core import events, keys, workspaces
from app.core.errors import AlreadyExists, WorkspaceNotFound, WorkspaceRemoved
from tests.contract.conftest import Pass
from tests.contract.refusals import live
from tests.support.kernel import Kernel


def put(kernel: Kernel, mode: str, **fields: object) -> list[object]:
    return kernel.run(
        "workspace_put",
        mode=mode,
        fields=json.dumps(fields),
        event="WORKSPACE_CHANGED",
        mechanism="",
    )


def test_workspace_put_creates_once_and_registers_any_number_of_times(bare: Kernel) -> None:
    fresh = Kernel(bare.platform, "fresh")
    assert put(fresh, "register", name="one") == ["created", 0]
    assert put(fresh, "register", name="two", agent_url="u") == ["changed", 0]
    assert (fresh.field("name"), fresh.field("agent_url")) == ("one", "u"), "renames nothing"
    assert fresh.field("status") == "offline"
    with pytest.raises(AlreadyExists):
        put(fresh, "create")
    with pytest.raises(WorkspaceNotFound):
        put(Kernel(bare.platform, "nowhere"), "change")


def test_workspace_put_changes_only_the_named_fields_and_clears_the_empty(kernel: Kernel) -> None:
    put(kernel, "change", name="n", ceiling_ms=5000)
    assert put(kernel, "change", name="") == ["changed", 1]
    assert (kernel.field("name"), kernel.field("ceiling_ms")) == (None, "5000")
    assert kernel.field("status") == "online"


def test_workspace_put_pauses_once_and_resuming_rings(kernel: Kernel, pass_ms: Pass) -> None:
    kernel.submit()
    workspaces.pause(kernel.platform, kernel.id, "by hand")
    since = kernel.field("paused_at")
    pass_ms(3)
    workspaces.pause(kernel.platform, kernel.id, "again")
    assert (kernel.field("paused_at"), kernel.field("paused_reason")) == (since, "again")
    kernel.beat(seq=9, instance="i", sessions=[])
    assert kernel.refused() == "paused", "a heartbeat resumes nothing"
    kernel.platform.clients.control.delete(keys.READY)
    workspaces.resume(kernel.platform, kernel.id)
    assert kernel.platform.clients.control.zcard(keys.READY) == 1
    kernel.claimed()


def test_workspace_put_leaves_a_running_session_alone_while_paused(kernel: Kernel) -> None:
    session = live(kernel)
    workspaces.pause(kernel.platform, kernel.id, "by hand")
    kernel.start(session)
    assert kernel.finish(session) == "completed"
    assert kernel.submit().outcome == "accepted"


def test_workspace_put_never_brings_a_removed_workspace_back(kernel: Kernel) -> None:
    session = live(kernel)
    kernel.bind(session)
    assert kernel.taken().session.id == session.id
    waiting = kernel.submit().turn_id
    schedule = kernel.scheduled()
    workspaces.remove(kernel.platform, kernel.id)
    assert kernel.turn(waiting).state == "canceled"
    assert kernel.due(schedule) is None
    for act in (kernel.beat, kernel.submit, lambda: put(kernel, "register")):
        with pytest.raises(WorkspaceRemoved):
            act()
    with pytest.raises(WorkspaceNotFound):
        kernel.claim()
    assert [order["type"] for order in kernel.start(session)] == ["cancel"]
    assert kernel.release(session) == "canceled", "its turn comes back to no lane"


def test_append_writes_an_event_as_it_was_given_and_changes_no_state(kernel: Kernel) -> None:
    payload = {"type": "agent_log", "empty": [], "deep": {"list": [], "null": None}, "big": 2**60}
    here = (kernel.platform, kernel.id, "ACTIVITY_LOGGED")
    event_id = events.append(*here, payload, "a_mechanism", "trn_1", "ses_1")
    last = kernel.events()[-1]
    assert events.last_id(kernel.platform, kernel.id) == event_id
    assert last == {
        "event": "ACTIVITY_LOGGED",
        "payload": payload,
        "mechanism": "a_mechanism",
        "turn_id": "trn_1",
        "session_id": "ses_1",
    }
    assert kernel.data.hget(kernel.keys["stats"], "ACTIVITY_LOGGED") == "1"
