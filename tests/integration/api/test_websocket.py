"""Events by WebSocket: the same as by SSE, with the same bounds, to any client of the protocol."""

import json
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from app.core import events, keys
from tests.integration.api.conftest import Make
from tests.integration.api.streaming import reading
from tests.support.served import serving
from tests.support.wait import wait_until
from tests.unit.api.web import ADMIN, Web

BEARER = {"Authorization": f"Bearer {ADMIN}"}


@contextmanager
def opened(
    site: Web, query: str = "workspace=w1", headers: Any = None, **more: Any
) -> Iterator[ClientConnection]:
    """A connected client over a real socket; the server is stopped on leaving."""
    with serving(site.app) as port:
        with client(port, query, headers, **more) as connection:
            yield connection
        site.app.extensions["turnkeeper"].stop()


def client(
    port: int, query: str = "workspace=w1", headers: Any = None, **more: Any
) -> ClientConnection:
    given = BEARER if headers is None else headers
    url = f"ws://127.0.0.1:{port}/ws?{query}"
    return connect(url, additional_headers=given, proxy=None, compression=None, **more)


def refused(port: int, *given: Any, **more: Any) -> Any:
    with pytest.raises(InvalidStatus) as caught:
        client(port, *given, **more)
    return caught.value.response


def told(connection: ClientConnection, timeout_s: float = 15) -> Any:
    return json.loads(connection.recv(timeout=timeout_s))


def named(connection: ClientConnection, name: str, timeout_s: float = 15) -> Any:
    while (found := told(connection, timeout_s))["event"] != name:
        pass
    return found


def ending(connection: ClientConnection) -> Any:
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            connection.recv(timeout=15)
    return caught.value.rcvd


def say(site: Web, text: str, workspace_id: str = "w1") -> str:
    return events.append(site.platform, workspace_id, "AGENT_MESSAGE", {"text": text})


def test_a_snapshot_comes_first_and_then_events_in_their_envelope(site: Web) -> None:
    before = say(site, "before")
    with opened(site) as connection:
        snapshot = told(connection)
        assert (snapshot["event"], snapshot["id"]) == ("snapshot", before)
        assert snapshot["workspace_id"] == "w1" and snapshot["timestamp"].endswith("Z")
        assert snapshot["payload"]["workspace"]["id"] == "w1"
        ids = [say(site, f"né {number}") for number in range(20)]
        seen = [told(connection) for _ in ids]
        assert [one["id"] for one in seen] == ids
        assert seen == site.ok("GET", f"/workspaces/w1/events?since={before}")["events"]
        site.ok("POST", "/workspaces/w1/heartbeat", {"active_tasks": 0})
        beat = named(connection, "WORKSPACE_HEARTBEAT")
        assert beat["id"] == "" and beat["payload"]["active_tasks"] == 0


def test_it_tells_what_server_sent_events_tell(site: Web) -> None:
    first = say(site, "first")
    say(site, "missed")
    with serving(site.app) as port, reading(site, last_id=first) as reader:
        with client(port, f"workspace=w1&since={first}") as connection:
            say(site, "live")
            reader.wait_for("AGENT_MESSAGE", 2)
            snapshot, missed, live = (told(connection) for _ in range(3))
        assert snapshot["payload"].keys() == reader.frames[0].data.keys()
        assert snapshot["id"] == reader.frames[0].id == "", "missed events come first"
        assert [missed, live] == [frame.data for frame in reader.events()]


def test_a_client_that_comes_back_misses_nothing(site: Web) -> None:
    with serving(site.app) as port:
        last, seen, sent = say(site, "start"), [], []
        for _ in range(5):
            sent += [say(site, "away") for _ in range(3)]
            with client(port, f"workspace=w1&since={last}") as connection:
                told(connection)
                sent.append(say(site, "here"))
                seen += [told(connection)["id"] for _ in range(4)]
            last = seen[-1]
        assert seen == sent
        with client(port, "workspace=w1&since=10m") as connection:
            told(connection)
            assert [told(connection)["id"] for _ in range(len(sent))][-1:] != []
        site.app.extensions["turnkeeper"].stop()


def test_without_a_workspace_it_tells_of_all_that_the_token_reaches(make: Make) -> None:
    site = make()
    for name in ("w1", "w2", "w3"):
        site.workspace(name)
    text = site.token("read", workspaces=("w1", "w2"))
    with opened(site, "", {"Authorization": f"Bearer {text}"}) as connection:
        assert {told(connection)["workspace_id"] for _ in range(2)} == {"w1", "w2"}
        say(site, "hidden", "w3")
        say(site, "shown", "w2")
        one = told(connection)
        assert (one["workspace_id"], one["payload"]["text"]) == ("w2", "shown")


def test_a_browser_offers_its_token_as_a_subprotocol(site: Web) -> None:
    text = site.token("read")
    with opened(site, headers={}, subprotocols=["bearer", text]) as connection:
        assert connection.subprotocol == "bearer", "the token is never said back"
        assert told(connection)["event"] == "snapshot"


def test_a_cookie_opens_it_from_our_own_pages_only(site: Web) -> None:
    url = site.ok("POST", "/admin/login-links")["url"]
    cookie = site.ask("GET", url[url.index("/login") :], token=None).headers["Set-Cookie"]
    with serving(site.app) as port:
        own = {"Cookie": cookie.split(";")[0]}
        with client(port, headers=own, origin=f"http://127.0.0.1:{port}") as connection:
            assert told(connection)["event"] == "snapshot"
        for origin in ("http://evil.example", f"http://127.0.0.1:{port + 1}", None):
            assert refused(port, headers=own, origin=origin).status_code == 401
        site.app.extensions["turnkeeper"].stop()


def test_refusals_come_before_the_upgrade_as_problems(make: Make) -> None:
    site = make(streams_max=1)
    for name in ("w1", "w2"):
        site.workspace(name)
    reader, writer = site.token("read", workspaces=("w1",)), site.token("send")
    with serving(site.app) as port:
        for given, status, code in (
            (("workspace=w1", {}), 401, "unauthorized"),
            (("workspace=w2", {"Authorization": f"Bearer {reader}"}), 403, "forbidden"),
            (("workspace=w1", {"Authorization": f"Bearer {writer}"}), 403, "forbidden"),
            ((f"workspace=w1&token={ADMIN}", {}), 401, "unauthorized"),
            (("workspace=none",), 404, "workspace_not_found"),
            (("workspace=w1&since=yesterday",), 422, "invalid_input"),
        ):
            response = refused(port, *given)
            assert (response.status_code, json.loads(response.body)["code"]) == (status, code)
        plain = site.ask("GET", "/ws?workspace=w1")
        assert (plain.status_code, plain.headers["Upgrade"]) == (426, "websocket")
        with client(port) as connection:
            told(connection)
            full = refused(port)
            assert full.status_code == 503 and int(full.headers["Retry-After"]) > 0
            assert json.loads(full.body)["setting"] == "TURNKEEPER_STREAMS_MAX"
            beside = site.ask("GET", "/workspaces/w1/events/stream")
            assert beside.status_code == 503, "one bound for both kinds"
        with client_soon(port) as connection:
            told(connection)
        site.app.extensions["turnkeeper"].stop()


def client_soon(port: int) -> ClientConnection:
    """Once the place of one that has gone is free: at once, not at the next ping, 15 s on."""
    found: list[ClientConnection] = []

    def is_in() -> bool:
        try:
            found.append(client(port))
        except InvalidStatus:
            return False
        return True

    wait_until(is_in, 10)
    return found[0]


def test_a_slow_client_is_told_from_where_to_read_again(make: Make) -> None:
    site = make(stream_buffer_count=10)
    site.workspace("w1")
    with opened(site, max_queue=1) as connection:
        snapshot = told(connection)
        with site.platform.clients.data.pipeline() as pipe:  # more at once than the buffer holds
            for number in range(50):
                fields = {"event": "AGENT_MESSAGE", "payload": json.dumps({"text": str(number)})}
                pipe.xadd(keys.of("w1")["events"], fields)
            pipe.publish(keys.of("w1")["wake"], "1-0")
            pipe.execute()
        gap = named(connection, "gap")["payload"]
        assert (gap["mechanism"], gap["limit_count"]) == ("stream_buffer", 10)
        assert gap["resume_from"] == {"w1": snapshot["id"] or "0-0"}
        after = say(site, "after")
        assert told(connection)["id"] == after, "it goes on"


def limits_hit(logs: list[MutableMapping[str, Any]]) -> list[tuple[str, str]]:
    """Mechanism and setting of each; every one names its limit and what was measured."""
    found = [one for one in logs if one["event"] == "LIMIT_HIT"]
    for one in found:
        (limit,) = [name for name in one if name.startswith("limit_")]
        assert one[limit.replace("limit_", "measured_")] >= one[limit], one
    return [(one["mechanism"], one["setting"]) for one in found]


def test_a_client_that_takes_nothing_is_dropped_and_its_place_is_free(make: Make) -> None:
    site = make(streams_max=1, stream_write_timeout_s=0.3)
    site.workspace("w1")
    with capture_logs() as logs, serving(site.app) as port, stuck(port):
        for _ in range(40):
            say(site, "x" * 200_000)
        with client_soon(port) as connection:
            told(connection)
        site.app.extensions["turnkeeper"].stop()
    assert ("stream_write", "TURNKEEPER_STREAM_WRITE_TIMEOUT_S") in limits_hit(logs)


@contextmanager
def stuck(port: int) -> Iterator[socket.socket]:
    """A client that says its handshake and then reads nothing."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        lines = [
            "GET /ws?workspace=w1 HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {ADMIN}",
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head = connection.recv(129)
        assert b"101" in head and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        yield connection


def test_a_client_that_answers_no_ping_is_dropped(make: Make) -> None:
    """Beside one that answers them: that one was there before, and stays."""
    site = make(streams_max=2, stream_ping_s=0.1, stream_write_timeout_s=2)
    site.workspace("w1")
    with (
        capture_logs() as logs,
        serving(site.app) as port,
        client(port) as connection,
        stuck(port),
        client_soon(port) as third,
    ):
        told(third)
        say(site, "still here")
        assert named(connection, "AGENT_MESSAGE")["payload"]["text"] == "still here"
        site.app.extensions["turnkeeper"].stop()
    silent = ("stream_silent", "TURNKEEPER_STREAM_WRITE_TIMEOUT_S")
    assert limits_hit(logs).count(silent) == 1


def test_what_a_client_sends_is_ignored_up_to_a_bound(make: Make) -> None:
    site = make(body_max_bytes=1024)
    site.workspace("w1")
    with capture_logs() as logs, opened(site) as connection:
        told(connection)
        for _ in range(5):
            connection.send("x" * 1024)
            connection.send(b"x" * 1024)
        assert connection.ping().wait(15)
        say(site, "still here")
        assert told(connection)["payload"]["text"] == "still here"
        connection.send(["x" * 1000, "x" * 1000])
        close = ending(connection)
        assert close.code == 1009
        assert "1024" in close.reason and "TURNKEEPER_BODY_MAX_BYTES" in close.reason
    assert ("body_max", "TURNKEEPER_BODY_MAX_BYTES") in limits_hit(logs)


def test_a_revoked_token_ends_it(make: Make) -> None:
    site = make(stream_ping_s=0.1)
    site.workspace("w1")
    text = site.token("read")
    with opened(site, headers={}, subprotocols=["bearer", text]) as connection:
        told(connection)
        row = site.ok("GET", "/admin/tokens")["tokens"][0]
        site.ok("DELETE", f"/admin/tokens/{row['id']}")
        assert "token" in named(connection, "bye")["payload"]["reason"]
        close = ending(connection)
        assert (close.code, close.reason) == (1008, "the token was revoked or has expired")


def test_a_stopping_server_says_so(site: Web) -> None:
    with opened(site) as connection:
        told(connection)
        site.app.extensions["turnkeeper"].stop()
        assert named(connection, "bye")["payload"] == {}
        close = ending(connection)
        assert (close.code, close.reason) == (1001, "the server stops")
