"""Our 0.3 held against the protocol's own library, which knows both versions."""

from typing import Any

import pytest
from a2a.compat.v0_3 import conversions, types
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.core.a2a import legacy, shapes

TEXT = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=8)
LEAF = st.none() | st.booleans() | st.integers(0, 99) | TEXT
JSON = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, min_size=1, max_size=2)
    ),
    max_leaves=4,
)
FREE = st.dictionaries(TEXT, LEAF, min_size=1, max_size=2)
OPTIONAL = {"metadata": FREE}
FILE = {"mediaType": TEXT, "filename": TEXT, **OPTIONAL}
PART = (
    st.fixed_dictionaries({"text": TEXT}, optional=OPTIONAL)
    | st.fixed_dictionaries({"data": JSON}, optional=OPTIONAL)
    | st.fixed_dictionaries({"url": TEXT}, optional=FILE)
    | st.fixed_dictionaries({"raw": st.just("dGNr")}, optional=FILE)
)
MESSAGE = st.fixed_dictionaries(
    {
        "messageId": TEXT,
        "taskId": TEXT,
        "contextId": TEXT,
        "role": st.sampled_from(["ROLE_USER", "ROLE_AGENT"]),
        "parts": st.lists(PART, min_size=1, max_size=3),
    },
    optional={"metadata": FREE, "extensions": st.lists(TEXT, min_size=1, max_size=2)},
)
STATUS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(sorted({*shapes.ENDED, *shapes.INTERRUPTED, shapes.WORKING})),
        "timestamp": st.just("2026-11-21T12:00:00.123Z"),
    },
    optional={"message": MESSAGE},
)
ARTIFACT = st.fixed_dictionaries(
    {"artifactId": TEXT, "parts": st.lists(PART, min_size=1, max_size=2)},
    optional={"name": TEXT, "description": TEXT, "metadata": FREE},
)
TASK = st.fixed_dictionaries(
    {"id": TEXT, "contextId": TEXT, "status": STATUS, "metadata": FREE},
    optional={
        "history": st.lists(MESSAGE, min_size=1, max_size=2),
        "artifacts": st.lists(ARTIFACT, min_size=1, max_size=2),
    },
)


def dumped(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def bare(value: Any) -> Any:
    """Without members that are null: the library leaves out even those of free data."""
    if isinstance(value, dict):
        return {key: bare(one) for key, one in value.items() if one is not None}
    return [bare(one) for one in value] if isinstance(value, list) else value


@hypothesis_settings(max_examples=150, deadline=None)
@given(task=TASK)
def test_a_task_is_what_the_library_makes_of_it(task: dict[str, Any]) -> None:
    core = ParseDict(task, pb.Task())
    assert MessageToDict(core) == task, "nothing in it that the protocol does not know"
    assert bare(legacy.task(task)) == bare(dumped(conversions.to_compat_task(core)))


@hypothesis_settings(max_examples=150, deadline=None)
@given(message=MESSAGE)
def test_a_message_comes_back_as_the_library_brings_it_back(message: dict[str, Any]) -> None:
    old = legacy.message(message)
    core = conversions.to_core_message(types.Message.model_validate(old))
    theirs = MessageToDict(core)
    ours = legacy.message_up(old) | {"taskId": old["taskId"], "contextId": old["contextId"]}
    assert ours == theirs == message


@pytest.mark.parametrize(
    "event",
    [
        {"statusUpdate": {"status": {"state": shapes.COMPLETED}}},
        {"statusUpdate": {"status": {"state": shapes.WORKING}}},
        {
            "artifactUpdate": {
                "artifact": {"artifactId": "a", "parts": [{"text": "x"}]},
                "lastChunk": True,
            }
        },
    ],
)
def test_an_update_is_one_that_the_library_reads(event: dict[str, Any]) -> None:
    ((name, inner),) = event.items()
    whole = {name: {"taskId": "t", "contextId": "c", **inner}}
    core = ParseDict(whole, pb.StreamResponse())
    theirs = dumped(conversions.to_compat_stream_response(core, "1").result)
    ours = legacy.streamed(whole, theirs.get("final", False))
    theirs.pop("append", None)  # false, which need not be said
    assert ours == theirs


@pytest.mark.parametrize(
    "parts", [None, "x", [7], [{}], [{"kind": "file", "file": {}}], [{"data": 7}], [{"text": 1}]]
)
def test_what_the_short_form_lets_in_never_breaks_a_history(parts: Any) -> None:
    assert legacy.message_up({"role": 7, "parts": parts, "extensions": [7], "metadata": 7}) == {
        "role": "ROLE_USER",
        "parts": [],
    }
