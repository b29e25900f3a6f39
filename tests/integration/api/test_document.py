"""The OpenAPI document against the application: what is made up from the document is answered as
the document says, and never with a fault of ours."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.unit.api.web import ADMIN, Web, fake_clients, web

EXAMPLES = 10
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# Their answers have no end; the tests of streams read them.
ENDLESS = ("/events/stream", ":subscribe", "message:stream")
WORKSPACE = "w1"


def site_of() -> Any:
    return web(fake_clients(), poll_wait_max_s=0.001, rate_limit_per_min=0)


@lru_cache(maxsize=1)
def names() -> list[str]:
    """Every operation of the document whose answer ends."""
    with site_of() as made:
        told = made.ok("GET", "/openapi.json", token=None)["paths"]
    return [
        f"{method.upper()} {path}"
        for path, methods in sorted(told.items())
        for method in methods
        if not path.endswith(ENDLESS)
    ]


@pytest.fixture
def site() -> Iterator[Web]:
    with site_of() as made:
        yield made


def fuzz(site: Web, name: str, examples: int = EXAMPLES) -> list[int]:
    """Asks what is made up from the document, of a workspace there is; returns the statuses."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", site.app)
    method, _, path = name.partition(" ")
    operation = schema[path][method]
    seen = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), known=st.booleans())
    def ask(case: Any, known: bool) -> None:
        if site.ask("GET", f"/workspaces/{WORKSPACE}").status_code != 200:
            site.platform.clients.data.flushall()
            site.workspace(WORKSPACE)
        if known and "workspace_id" in (case.path_parameters or {}):
            case.path_parameters["workspace_id"] = WORKSPACE
        response = case.call_and_validate(
            headers={"Authorization": f"Bearer {ADMIN}"}, checks=CHECKS
        )
        seen.append(response.status_code)

    ask()
    return seen


@pytest.mark.parametrize("name", names())
def test_an_operation_answers_as_the_document_says(name: str, site: Web) -> None:
    assert fuzz(site, name)


def test_control_an_answer_that_the_document_does_not_tell_of_is_found(site: Web) -> None:
    endpoint = "health.readyz"
    declared: Any = site.app.view_functions[endpoint]

    def broken() -> Any:
        return {"status": 7}, 418

    broken.scope = "public"  # type: ignore[attr-defined]
    with pytest.raises((FailureGroup, AssertionError)):
        for name in ("replies", "problems", "media_type"):
            setattr(broken, name, getattr(declared, name))
        site.app.view_functions[endpoint] = broken
        fuzz(site, "GET /readyz", 1)


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
NAMES = st.sampled_from(
    ["Authorization", "Cookie", "Origin", "Sec-Fetch-Site", "Last-Event-ID", "Idempotency-Key"]
    + ["A2A-Version", "Content-Type", "Content-Length", "X-Forwarded-Proto", "Host", "Accept"]
)
IDS = st.text(max_size=200)
SOME = settings(max_examples=150, deadline=None, database=None, derandomize=True)


def refused_at_most(site: Web, method: str, path: str, body: Any = None, **more: Any) -> None:
    response = site.ask(method, path, body, **more)
    response.close()
    assert response.status_code < 500, (method, path, more, response.text)


def test_no_header_makes_a_fault(site: Web) -> None:
    site.workspace(WORKSPACE)

    @SOME
    @given(headers=st.dictionaries(NAMES, TEXT, max_size=4), is_admin=st.booleans())
    def ask(headers: dict[str, str], is_admin: bool) -> None:
        known = {"Authorization": f"Bearer {ADMIN}"} if is_admin else {}
        for method, path in (("GET", f"/workspaces/{WORKSPACE}/turns"), ("POST", "/workspaces")):
            refused_at_most(site, method, path, token=None, headers={**headers, **known})

    ask()


def test_no_id_and_no_cron_expression_makes_a_fault(site: Web) -> None:
    site.workspace(WORKSPACE)

    @SOME
    @given(one=IDS, expression=st.text(st.sampled_from("0123456789*/-,LW# @abc"), max_size=40))
    def ask(one: str, expression: str) -> None:
        refused_at_most(site, "POST", "/workspaces", {"id": one})
        refused_at_most(site, "POST", "/registry/heartbeat", {"workspace_id": one})
        body = {"name": "t", "prompt": "go", "cron_expr": expression, "timezone": one or "UTC"}
        refused_at_most(site, "POST", f"/workspaces/{WORKSPACE}/schedules", body)

    ask()


def test_no_json_rpc_makes_a_fault(site: Web) -> None:
    site.workspace(WORKSPACE)
    value = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["message", "parts", "text", "id", "x"]), inner)
        ),
        max_leaves=8,
    )
    methods = ["message/send", "SendMessage", "tasks/get", "GetTask", "tasks/list", "ListTasks"]
    call = st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": st.just("2.0") | value,
            "id": value,
            "method": st.sampled_from([*methods, "tasks/cancel", "CancelTask"]) | value,
            "params": value,
        },
    )

    @SOME
    @given(body=call | value)
    def ask(body: Any) -> None:
        refused_at_most(site, "POST", f"/workspaces/{WORKSPACE}/a2a", body)

    ask()
