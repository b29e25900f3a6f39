"""Tokens, the browser's cookie, the headers of every answer, and where no secret may appear."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog

from app.core import keys, tokens
from app.core.telemetry import configure_logs
from tests.support.wait import wait_until
from tests.unit.api.web import ADMIN, Web, fake_clients, web


@pytest.fixture
def site() -> Iterator[Web]:
    """A web process whose polls do not wait."""
    with web(fake_clients(), poll_wait_max_s=0.001) as made:
        made.workspace("w1")
        made.workspace("w2")
        yield made


def test_a_list_shows_only_what_the_token_reaches(site: Web) -> None:
    token = site.token("read", workspaces=("w2",))
    site.schedule("w1")
    rows = site.ok("GET", "/workspaces", token=token)["workspaces"]
    assert [row["id"] for row in rows] == ["w2"]
    assert site.ok("GET", "/admin/schedules/health", token=token)["schedules"] == []


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


def test_an_agents_token_ends_with_that_of_who_registered_it(site: Web) -> None:
    body = {"name": "t", "scopes": ["runtime", "operate"], "expires_in_s": 60}
    maker = site.ok("POST", "/admin/tokens", body)
    text = site.ok("POST", "/registry/register", {"id": "w9"}, token=maker["token"])["auth_token"]
    rows = {row["name"]: row for row in site.ok("GET", "/admin/tokens")["tokens"]}
    child = rows["runtime of w9"]
    assert (child["made_by"], child["expires_at"]) == (maker["id"], maker["expires_at"])
    new = site.ok("POST", f"/admin/tokens/{maker['id']}/rotate", {"grace_s": 0})
    beat = ("POST", "/workspaces/w9/heartbeat", {})
    assert site.ask(*beat, token=text).status_code == 200, "rotated, not revoked"
    site.ok("DELETE", f"/admin/tokens/{new['id']}")
    assert site.ask(*beat, token=text).status_code == 401


def test_the_newest_tokens_of_an_agent_are_kept_and_others_of_the_name_too(site: Web) -> None:
    body = {"name": "runtime of w9", "scopes": ["runtime"], "workspaces": ["w9"]}
    own = site.ok("POST", "/admin/tokens", body)["token"]
    texts = [site.ok("POST", "/registry/register", {"id": "w9"})["auth_token"] for _ in range(7)]
    given = [
        site.ask("POST", "/workspaces/w9/heartbeat", {}, token=text).status_code
        for text in (own, *texts)
    ]
    assert given == [200, 401, 401, 200, 200, 200, 200, 200]


@pytest.mark.parametrize(
    ("scope", "body"),
    [
        ("read", {"workspace_id": "w2"}),  # not an agent's token
        ("runtime", {"workspace_id": "w2"}),  # not its workspace
        ("runtime", {"workspace_id": 7}),  # no heartbeat
    ],
)
def test_a_heartbeat_that_is_refused_is_counted(scope: str, body: dict[str, Any]) -> None:
    with web(fake_clients(), agent_rate_limit_per_min=20) as small:
        small.workspace("w1")
        small.workspace("w2")
        token = small.token(scope, workspaces=("w1",))
        given = [
            small.ask("POST", "/registry/heartbeat", body, token=token).status_code
            for _ in range(40)
        ]
        assert given[0] in (403, 422) and 429 in given


def poll_while(site: Web, token: str, happens: Callable[[], object]) -> Any:
    """The answer to a poll that waits already when this happens and then a turn is laid out."""
    hub = site.app.extensions["turnkeeper"].hub
    path, before = "/workspaces/w1/turns/next?wait_s=20&instance=i", hub.waiting_count
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(site.ask, "GET", path, None, token)
        wait_until(lambda: hub.waiting_count > before, 10)
        happens()
        site.send("w1", "for its agent alone")
        site.bound("w1")
        return answer.result(30)


@pytest.mark.parametrize("is_revoked", [True, False])
def test_an_open_poll_of_a_revoked_token_gets_no_turn(is_revoked: bool) -> None:
    with web(fake_clients(), poll_wait_max_s=20) as waiting:
        waiting.workspace("w1")
        body = {"name": "t", "scopes": ["runtime"], "workspaces": ["w1"]}
        made = waiting.ok("POST", "/admin/tokens", body)

        def revoke() -> None:
            if is_revoked:
                waiting.ok("DELETE", f"/admin/tokens/{made['id']}")

        answer = poll_while(waiting, made["token"], revoke)
        assert answer.status_code == (401 if is_revoked else 200)
        assert ("for its agent alone" in answer.text) != is_revoked


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


def test_a_cookie_reads_nothing_for_another_page_of_this_host(site: Web) -> None:
    cookie = cookie_of(site)
    for path in ("/workspaces/w1", "/workspaces", "/w/w1", "/", "/workspaces/w1/events/stream"):
        for other in ("same-site", "cross-site"):
            assert with_cookie(site, "GET", path, cookie, Sec_Fetch_Site=other) == 401, path
        for own in ("same-origin", "none"):
            assert with_cookie(site, "GET", path, cookie, Sec_Fetch_Site=own) == 200, path


def test_a_link_leads_to_a_page_and_to_nothing_else(site: Web) -> None:
    cookie = cookie_of(site)
    step = {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "navigate"}
    document, frame = {**step, "Sec_Fetch_Dest": "document"}, {**step, "Sec_Fetch_Dest": "iframe"}
    for path in ("/", "/w/w1"):
        assert with_cookie(site, "GET", path, cookie, **document) == 200
        assert with_cookie(site, "GET", path, cookie, **frame) == 401
    assert with_cookie(site, "GET", "/workspaces/w1", cookie, **document) == 401


def test_a_cookie_takes_no_turn(site: Web) -> None:
    path = "/workspaces/w1/turns/next?instance=i&wait_s=0"
    cookie = cookie_of(site)
    text = cookie.partition("=")[2]
    assert with_cookie(site, "GET", path, cookie, Sec_Fetch_Site="same-origin") == 401
    assert with_cookie(site, "GET", path, cookie) == 401
    assert site.ask("GET", path, token=text).status_code == 200


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


@pytest.mark.parametrize("is_root", [False, True])
def test_the_logins_of_a_token_share_its_rate_and_its_places(is_root: bool) -> None:
    with web(fake_clients(), rate_limit_per_min=600, streams_per_token_max=2) as small:
        small.workspace("w1")
        parent = ADMIN if is_root else small.token("read")
        first, *others = (cookie_of(small, parent).partition("=")[2] for _ in range(4))
        others.append(cookie_of(small, first).partition("=")[2])  # the login of a login
        open_ = [
            small.ask("GET", "/workspaces/w1/events/stream", token=text, buffered=False)
            for text in (parent, *others)
        ]
        assert [answer.status_code for answer in open_] == [200, 200, 503, 503, 503]
        for answer in open_:
            answer.close()
        other = small.token("read")
        given = [
            small.ask(
                "GET", "/workspaces/w1", token=(parent, first, *others)[number % 6]
            ).status_code
            for number in range(1500)
        ]
        assert 590 <= given.count(200) <= 1200 and given.count(429) >= 300
        assert small.ask("GET", "/workspaces/w1", token=other).status_code == 200


def test_of_the_logins_of_one_token_the_newest_are_kept() -> None:
    with web(fake_clients(), logins_per_token_max=3) as small:
        small.workspace("w1")
        one, other = small.token("read"), small.token("read")
        kept = cookie_of(small, other)
        cookies = [cookie_of(small, one) for _ in range(3)]
        cookies += [cookie_of(small, cookies[-1].partition("=")[2]) for _ in range(2)]
        given = [with_cookie(small, "GET", "/w/w1", cookie) for cookie in cookies]
        assert given == [401, 401, 200, 200, 200]
        assert with_cookie(small, "GET", "/w/w1", kept) == 200, "of another token"


def test_a_login_looks_at_its_own_parent_and_not_at_every_token(site: Web) -> None:
    code = code_of(site, site.token("read"))
    control = site.platform.clients.control
    control.hset(keys.TOKENS, "of-another", "no record")  # whoever reads them all, stumbles
    assert site.ask("GET", code, token=None).status_code == 302


def test_logging_out_ends_this_login_alone(site: Web) -> None:
    cookie, other = cookie_of(site), cookie_of(site)
    assert 'action="/logout"' in site.ask("GET", "/", token=None, headers={"Cookie": cookie}).text
    assert with_cookie(site, "POST", "/logout", cookie, Sec_Fetch_Site="cross-site") == 401
    assert with_cookie(site, "GET", "/w/w1", cookie) == 200
    answer = site.ask("POST", "/logout", token=None, headers={"Cookie": cookie})
    assert answer.status_code == 303 and "Max-Age=0" in answer.headers["Set-Cookie"]
    assert with_cookie(site, "GET", "/w/w1", cookie) == 401
    assert with_cookie(site, "GET", "/w/w1", other) == 200
    kept = site.token("read")
    assert with_cookie(site, "POST", "/logout", f"{tokens.COOKIE}={kept}") == 303
    assert site.ask("GET", "/workspaces/w1", token=kept).status_code == 200, "no login"


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
