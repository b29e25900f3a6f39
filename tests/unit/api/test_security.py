"""Who may do what: every route of the url map, every scope, a foreign workspace, no token."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app.core import keys, tokens
from app.core.telemetry import configure_logs
from tests.unit.api.web import ADMIN, Web, fake_clients, web

SCOPES = tokens.SCOPES
# A page is for a person: its refusals are pages, not problems.
PAGES = {"/", "/login", "/w/<workspace_id>", "/static/<name>"}
# The rule of each route, written a second time on purpose: a new route without one fails here.
PUBLIC = {"/healthz", "/readyz", "/openapi.json", "/login", "/", "/static/<name>"}
ANYWHERE = {
    *("/registry/register", "/registry/heartbeat", "/registry/update-card", "/workspaces:GET"),
    *("/events/stream", "/admin/schedules/health", "/admin/login-links", "/cron/explain"),
}
W = "/workspaces/<workspace_id>"
TASK, CARD = f"{W}/a2a/tasks/<task_id>", ".well-known/agent-card.json"
SCOPE_OF = {
    **dict.fromkeys((f"GET {W}", f"GET {W}/why", f"GET {W}/turns", f"GET {W}/events"), "read"),
    **dict.fromkeys((f"GET {W}/turns/<turn_id>", f"GET {W}/events/stream"), "read"),
    **dict.fromkeys((f"GET {W}/sessions", f"GET {W}/sessions/<session_id>"), "read"),
    **dict.fromkeys((f"GET {W}/activity", f"GET {W}/schedules", "GET /w/<workspace_id>"), "read"),
    **dict.fromkeys((f"GET {W}/schedules/health", f"GET {W}/schedules/<schedule_id>"), "read"),
    **{
        f"GET {W}/schedules/<schedule_id>/{noun}": "read"
        for noun in ("history", "fires", "preview", "backfill")
    },
    **dict.fromkeys(("GET /workspaces", "GET /events/stream", "GET /metrics"), "read"),
    **dict.fromkeys(("GET /admin/schedules/health", "POST /admin/login-links"), "read"),
    **{f"GET {W}/schedules/{noun}": "read" for noun in ("forecast", "export")},
    "GET /cron/explain": "read",
    f"POST {W}/schedules/import": "operate",
    **dict.fromkeys((f"POST {W}/a2a", f"GET {W}/a2a/queue/<queue_id>"), "send"),
    **dict.fromkeys((f"POST {W}/a2a/message:send", f"POST {W}/a2a/message:stream"), "send"),
    **dict.fromkeys((f"GET {W}/a2a/tasks", f"GET {TASK}", f"POST {TASK}:cancel"), "send"),
    **dict.fromkeys((f"GET {TASK}:subscribe", f"POST {TASK}:subscribe"), "send"),
    **{f"{verb} {TASK}/pushNotificationConfigs": "send" for verb in ("GET", "POST")},
    **{f"{verb} {TASK}/pushNotificationConfigs/<config_id>": "send" for verb in ("GET", "DELETE")},
    **dict.fromkeys((f"GET {W}/.well-known/agent-card.json", f"GET {W}/a2a/{CARD}"), "send"),
    f"GET {W}/a2a/extendedAgentCard": "send",
    f"POST {W}/turns/<turn_id>/cancel": "send",
    **{f"POST /registry/{verb}": "runtime" for verb in ("register", "heartbeat", "update-card")},
    **dict.fromkeys((f"POST {W}/heartbeat", f"GET {W}/turns/next"), "runtime"),
    **{
        f"POST {W}/sessions/<session_id>/{verb}": "runtime"
        for verb in ("start", "progress", "finish", "release", "spool")
    },
    **dict.fromkeys((f"POST {W}/activity", f"POST {W}/notify"), "runtime"),
    **dict.fromkeys(("POST /workspaces", f"PATCH {W}", f"DELETE {W}"), "operate"),
    **dict.fromkeys((f"POST {W}/pause", f"POST {W}/resume", f"POST {W}/schedules"), "operate"),
    f"GET {W}/memories": "read or runtime",
    f"POST {W}/mcp": "runtime or session",
    **dict.fromkeys((f"POST {W}/memories", f"DELETE {W}/memories"), "runtime or operate"),
    f"DELETE {W}/memories/<memory_id>": "runtime or operate",
    f"POST {W}/turns/<turn_id>/replay": "operate",
    **{f"POST {W}/sessions/<session_id>/{verb}": "operate" for verb in ("checkpoint", "end")},
    **{f"{verb} {W}/schedules/<schedule_id>": "operate" for verb in ("PATCH", "DELETE")},
    **{
        f"POST {W}/schedules/<schedule_id>/{verb}": "operate"
        for verb in ("run", "pause", "resume", "backfill")
    },
    **dict.fromkeys(("GET /admin/tokens", "POST /admin/tokens", "GET /admin/liveness"), "admin"),
    **dict.fromkeys(("GET /admin/export", "POST /admin/import"), "admin"),
    "DELETE /admin/tokens/<token_id>": "admin",
    **dict.fromkeys(("GET /admin/webhooks", "POST /admin/webhooks"), "admin"),
    **{f"{verb} /admin/webhooks/<webhook_id>": "admin" for verb in ("GET", "PATCH", "DELETE")},
    **{f"POST /admin/webhooks/<webhook_id>/{v}": "admin" for v in ("rotate", "test", "replay")},
    "GET /admin/webhooks/<webhook_id>/deliveries": "admin",
    **dict.fromkeys(
        ("GET /admin/invariants", "POST /admin/invariants/<workspace_id>/run"), "admin"
    ),
}


@pytest.fixture
def site() -> Iterator[Web]:
    """A web process whose polls do not wait."""
    with web(fake_clients(), poll_wait_max_s=0.001) as made:
        made.workspace("w1")
        made.workspace("w2")
        yield made


def rules(site: Web) -> list[tuple[str, str]]:
    return sorted(
        (method, rule.rule)
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


def is_anywhere(method: str, rule: str) -> bool:
    return rule in ANYWHERE or f"{rule}:{method}" in ANYWHERE


def status(site: Web, method: str, rule: str, token: str | None, workspace_id: str = "w1") -> int:
    path = rule.replace("<workspace_id>", workspace_id).replace("<", "").replace(">", "")
    body = {"id": workspace_id, "workspace_id": workspace_id} if "registry" in rule else None
    response = site.ask(method, path, body, token=token)
    response.close()
    return response.status_code


def test_every_route_has_a_rule_and_no_rule_is_left_over(site: Web) -> None:
    found = {f"{method} {rule}" for method, rule in rules(site) if rule not in PUBLIC}
    assert found == SCOPE_OF.keys()


def test_every_view_declares_its_scope(site: Web) -> None:
    for method, rule in rules(site):
        endpoint = next(
            r.endpoint
            for r in site.app.url_map.iter_rules()
            if r.rule == rule and method in (r.methods or ())
        )
        view: Any = site.app.view_functions[endpoint]
        assert view.scope == ("public" if rule in PUBLIC else SCOPE_OF[f"{method} {rule}"])


def test_without_a_good_token_every_route_is_401(site: Web) -> None:
    for method, rule in rules(site):
        if rule not in PUBLIC:
            for token in (None, "nonsense", "ä" * 43, " "):
                assert status(site, method, rule, token) == 401, (method, rule, token)


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_opens_its_own_routes_and_no_others(site: Web, scope: str) -> None:
    token = site.token(scope)
    for method, rule in rules(site):
        if rule in PUBLIC or (method, rule) == ("DELETE", W):
            continue
        allowed = scope in (*SCOPE_OF[f"{method} {rule}"].split(" or "), "admin")
        given = status(site, method, rule, token)
        assert (given not in (401, 403)) == allowed, (method, rule, given)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_of_one_workspace_reaches_no_other(site: Web, scope: str) -> None:
    token = site.token(scope, workspaces=("w1",))
    for method, rule in rules(site):
        if rule in PUBLIC or (method, rule) == ("DELETE", W):
            continue
        has_scope = scope in (*SCOPE_OF[f"{method} {rule}"].split(" or "), "admin")
        names_one = "<workspace_id>" in rule or rule.startswith("/registry")
        if not names_one:
            expected = has_scope and is_anywhere(method, rule)
            assert (status(site, method, rule, token) != 403) == expected, (method, rule)
        else:
            assert (status(site, method, rule, token, "w1") != 403) == has_scope, (method, rule)
            assert status(site, method, rule, token, "w2") == 403, (method, rule)
            assert status(site, method, rule, token, "nobody") == 403, (method, rule)


def test_a_list_shows_only_what_the_token_reaches(site: Web) -> None:
    token = site.token("read", workspaces=("w2",))
    site.schedule("w1")
    rows = site.ok("GET", "/workspaces", token=token)["workspaces"]
    assert [row["id"] for row in rows] == ["w2"]
    assert site.ok("GET", "/admin/schedules/health", token=token)["schedules"] == []


def test_control_a_view_that_declares_no_scope_answers_nobody(site: Web) -> None:
    site.app.view_functions["health.healthz"] = lambda: "open"
    assert site.ask("GET", "/healthz").status_code == 403
    assert site.ask("GET", "/healthz", token=None).status_code == 401


def test_a_token_is_hashed_at_rest(site: Web) -> None:
    text = site.token("read")
    stored = json.dumps(site.platform.clients.control.hgetall(keys.TOKENS))
    assert text not in stored and ADMIN not in stored
    assert text[:8] in stored, "listed by its prefix"
    assert len(text) >= 43, "256 bits"


def test_a_revoked_token_is_unknown_at_once(site: Web) -> None:
    text = site.token("read")
    assert site.ask("GET", "/workspaces", token=text).status_code == 200
    row = site.ok("GET", "/admin/tokens")["tokens"][0]
    site.ok("DELETE", f"/admin/tokens/{row['id']}")
    assert site.ask("GET", "/workspaces", token=text).status_code == 401


def test_an_expired_token_is_unknown(site: Web) -> None:
    body = {"name": "t", "scopes": ["read"], "expires_in_s": 0.001}
    text = site.ok("POST", "/admin/tokens", body)["token"]
    made_at = site.platform.now_ms()
    while site.platform.now_ms() <= made_at + 2:
        pass
    assert site.ask("GET", "/workspaces", token=text).status_code == 401


@pytest.mark.parametrize(
    "fields", [{"scopes": ["root"]}, {"scopes": []}, {"workspaces": []}, {"expires_in_s": 0}]
)
def test_no_odd_token_is_made(site: Web, fields: dict[str, Any]) -> None:
    body = {"name": "t", "scopes": ["read"], **fields}
    assert site.ask("POST", "/admin/tokens", body).status_code == 422


def test_an_operator_that_registers_an_agent_gets_a_token_for_it_alone(site: Web) -> None:
    operator = site.token("runtime", "operate")
    made = site.ok("POST", "/registry/register", {"id": "w9"}, token=operator)
    row = next(
        row for row in site.ok("GET", "/admin/tokens")["tokens"] if row["workspaces"] != ["*"]
    )
    assert (row["scopes"], row["workspaces"]) == (["runtime"], ["w9"])
    text = made["auth_token"]
    assert site.ask("POST", "/workspaces/w9/heartbeat", {}, token=text).status_code == 200
    assert site.ask("POST", "/workspaces/w1/heartbeat", {}, token=text).status_code == 403
    assert site.ask("GET", "/workspaces/w9", token=text).status_code == 403
    mere = site.token("runtime")
    assert site.ok("POST", "/registry/register", {"id": "w8"}, token=mere)["auth_token"] is None


# ---- The browser's cookie


def code_of(site: Web, token: str = ADMIN) -> str:
    url: str = site.ok("POST", "/admin/login-links", token=token)["url"]
    return url


def cookie_of(site: Web, token: str = ADMIN) -> str:
    response = site.ask("GET", code_of(site, token), token=None)
    assert response.status_code == 302
    return response.headers["Set-Cookie"].split(";")[0]


def with_cookie(site: Web, method: str, path: str, cookie: str, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = site.ask(method, path, token=None, headers={"Cookie": cookie, **named})
    response.close()
    return response.status_code


def test_a_login_code_works_once_and_not_for_a_preview(site: Web) -> None:
    url = code_of(site)
    assert site.ask("HEAD", url, token=None).status_code == 401
    assert site.ask("GET", url, token=None).status_code == 302
    assert site.ask("GET", url, token=None).status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Web) -> None:
    response = site.ask("GET", code_of(site), token=None, headers={"X-Forwarded-Proto": "https"})
    cookie = response.headers["Set-Cookie"]
    for attribute in ("HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=43200"):
        assert attribute in cookie


def test_a_cookie_changes_nothing_for_another_site(site: Web) -> None:
    cookie, path = cookie_of(site), "/workspaces/w1/pause"
    own = "http://localhost"
    assert with_cookie(site, "POST", path, cookie) == 401
    assert with_cookie(site, "POST", path, cookie, Origin="https://evil.example") == 401
    assert with_cookie(site, "POST", path, cookie, Origin="null") == 401
    for other in ("cross-site", "same-site", "none"):
        headers = {"Sec_Fetch_Site": other, "Origin": own}
        assert with_cookie(site, "POST", path, cookie, **headers) == 401
    assert with_cookie(site, "POST", path, cookie, Origin=own) == 200
    assert with_cookie(site, "POST", path, cookie, Sec_Fetch_Site="same-origin") == 200
    assert with_cookie(site, "GET", "/w/w1", cookie) == 200


def test_a_login_goes_with_the_token_it_came_from(site: Web) -> None:
    token = site.token("read")
    cookie, unused = cookie_of(site, token), code_of(site, token)
    again = cookie.partition("=")[2]  # a link made by the browser's own token
    second = cookie_of(site, again)
    assert with_cookie(site, "GET", "/w/w1", second) == 200
    row = next(row for row in site.ok("GET", "/admin/tokens")["tokens"] if row["name"] == "t")
    site.ok("DELETE", f"/admin/tokens/{row['id']}")
    assert with_cookie(site, "GET", "/w/w1", cookie) == 401
    assert with_cookie(site, "GET", "/w/w1", second) == 401
    assert site.ask("GET", unused, token=None).status_code == 401


def test_a_login_ends_no_later_than_its_token(site: Web) -> None:
    body = {"name": "t", "scopes": ["read"], "expires_in_s": 60}
    cookie_of(site, site.ok("POST", "/admin/tokens", body)["token"])
    rows = site.ok("GET", "/admin/tokens")["tokens"]
    assert len({row["expires_at"] for row in rows}) == 1


def test_a_login_by_the_admin_token_ends_when_that_is_changed(site: Web) -> None:
    cookie = cookie_of(site)
    assert with_cookie(site, "GET", "/w/w1", cookie) == 200
    with web(site.platform.clients, admin_token="another-admin-token") as changed:
        assert with_cookie(changed, "GET", "/w/w1", cookie) == 401


def test_a_person_without_a_cookie_gets_a_page_and_a_program_a_problem(site: Web) -> None:
    page = site.ask("GET", "/w/w1", token=None)
    assert (page.status_code, page.mimetype) == (401, "text/html")
    assert site.ask("GET", "/w/nobody").mimetype == "text/html"
    assert site.ask("GET", "/workspaces/w1", token=None).mimetype == "application/problem+json"


def test_every_answer_carries_the_headers_that_tie_a_browser_down(site: Web) -> None:
    for path in ("/", "/w/w1", "/healthz", "/nowhere", "/workspaces/w1", "/login?code=x"):
        headers = site.ask("GET", path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"


def test_untrusted_text_is_escaped_on_the_pages(site: Web) -> None:
    evil = "<script>alert(1)</script>"
    site.ok("PATCH", "/workspaces/w1", {"name": evil})
    site.schedule("w1", name=evil)
    for path in ("/w/w1", "/"):
        cookie = cookie_of(site)
        text = site.ask("GET", path, token=None, headers={"Cookie": cookie}).text
        assert evil not in text and "&lt;script&gt;" in text


def test_no_secret_is_ever_logged_or_told(site: Web, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = site.token("read", "runtime")
    url = code_of(site)
    code = url.partition("=")[2]

    def broken() -> None:
        raise RuntimeError("boom")

    broken.scope = "read"  # type: ignore[attr-defined]
    broken.is_anywhere = True  # type: ignore[attr-defined]
    site.app.view_functions["health.healthz"] = broken
    told = [site.ask("GET", "/healthz", token=text).text for text in (secret, ADMIN)]
    told += [site.ask("POST", "/workspaces", b"{", token=text).text for text in (secret, ADMIN)]
    told += [site.ask("GET", f"/nowhere?code={code}", token=secret).text]
    told += [site.ask("GET", url, token=None).text, site.ask("GET", url, token=None).text]
    told += [json.dumps(site.ok("GET", "/admin/tokens"))]
    site.platform.clients.control.close()
    everything = "\n".join([*told, caplog.text, *(str(row.__dict__) for row in caplog.records)])
    for text in (secret, ADMIN, code):
        assert text not in everything


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(site: Web, log_format: str) -> None:
    """structlog can print locals, and those hold tokens and prompts."""
    root, before, level = logging.getLogger(), logging.getLogger().handlers[:], logging.root.level
    try:
        configure_logs(site.platform.settings.model_copy(update={"log_format": log_format}))
        stream = io.StringIO()
        root.handlers[0].stream = stream  # type: ignore[attr-defined]
        held = "a-local-" + "secret"
        try:
            raise RuntimeError(str(len(held)))
        except RuntimeError as error:
            structlog.get_logger("test").error("unhandled", exc_info=error)
        assert "RuntimeError" in stream.getvalue() and "a-local-secret" not in stream.getvalue()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.reset_defaults()
