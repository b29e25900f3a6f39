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

EXAMPLES = 15
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
