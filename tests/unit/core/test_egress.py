"""The way out: what it reaches, what it refuses, and how it is cut off."""

import gzip
import ipaddress
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import httpx
import pytest

from app.core import egress
from app.core.addresses import Address
from app.core.egress import Bounds
from tests.support import receiver as receivers
from tests.support.receiver import receiver, status

LOOPBACK = "127.0.0.0/8"
CALM = Bounds(body_max_bytes=1000)  # where time is not what is tested
QUICK = Bounds(connect_s=1, total_s=0.6)


class Names:
    """A resolver that answers in turn; the last answer stays."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, host: str, port: int) -> Sequence[Address]:
        text = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [ipaddress.ip_address(part) for part in text.split()]


def port_of(url: str) -> int:
    return httpx.URL(url).port or 80


def test_an_allowed_address_answers_and_the_name_stays_in_the_request() -> None:
    with (
        receiver(status(200, b"hello")) as hook,
        egress.client(LOOPBACK, resolve=Names("127.0.0.1")) as client,
    ):
        answer = client.post(f"http://hooks.example:{port_of(hook.url)}/a?b=c", content=b"x")
        assert (answer.status_code, answer.text) == (200, "hello")
        assert hook.got[0].headers["host"] == f"hooks.example:{port_of(hook.url)}"
        assert hook.got[0].path == "/a?b=c"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f000001", "127.1", "0.0.0.0"]  # noqa: S104 - to be refused
    + ["[::1]", "[::ffff:127.0.0.1]", "[::]", "[::ffff:7f00:1]"],
)
def test_loopback_is_refused_in_every_spelling(host: str) -> None:
    """By the system's own resolver, which turns the spellings into addresses."""
    with receiver() as hook, egress.client("", CALM) as client:
        with pytest.raises((egress.AddressRefused, egress.HostUnresolved, httpx.InvalidURL)):
            client.get(f"http://{host}:{port_of(hook.url)}/")
        assert hook.got == []


def test_an_address_with_a_zone_is_refused() -> None:
    with (
        egress.client("", CALM, resolve=Names("fe80::1%lo")) as client,
        pytest.raises(egress.AddressRefused),
    ):
        client.get("http://zone.example/")


def test_the_refusal_names_mechanism_and_setting() -> None:
    with (
        egress.client("", CALM, resolve=Names("169.254.169.254")) as client,
        pytest.raises(egress.AddressRefused) as caught,
    ):
        client.get("http://metadata.example/latest?key=hidden")
    assert caught.value.fields["mechanism"] == "egress_address"
    assert caught.value.fields["setting"] == "TURNKEEPER_EGRESS_ALLOW"
    assert "hidden" not in f"{caught.value} {caught.value.fields}"


def test_a_name_that_changes_its_mind_is_not_asked_again() -> None:
    """DNS rebinding: public when it is checked, loopback when it is connected to."""
    names = Names("192.0.2.7", "127.0.0.1")
    bounds = Bounds(connect_s=2)
    with receiver() as hook, egress.client("192.0.2.0/24", bounds, resolve=names) as client:
        with pytest.raises((httpx.TransportError, egress.AnswerTooSlow)):
            client.get(f"http://rebind.example:{port_of(hook.url)}/")
        assert (names.asked, hook.got) == (1, [])
        with pytest.raises(egress.AddressRefused):  # the next connection is checked anew
            client.get(f"http://rebind.example:{port_of(hook.url)}/")
        assert hook.got == []


def test_control_a_client_that_resolves_for_itself_is_rebound() -> None:
    """What the checked client is for: here the check and the connection are two questions."""
    names = Names("192.0.2.7", "127.0.0.1")
    with receiver() as hook:
        checked = names("rebind.example", 80)
        connected = names("rebind.example", 80)
        assert str(checked[0]) == "192.0.2.7"
        httpx.get(f"http://{connected[0]}:{port_of(hook.url)}/")
        assert len(hook.got) == 1


def test_one_private_address_among_public_ones_refuses_the_host() -> None:
    with (
        egress.client("", CALM, resolve=Names("8.8.8.8 10.0.0.1")) as client,
        pytest.raises(egress.AddressRefused),
    ):
        client.get("http://mixed.example/")


def test_the_second_address_is_tried_where_the_first_does_not_answer() -> None:
    with (
        receiver() as hook,
        egress.client(LOOPBACK, resolve=Names("127.0.0.2 127.0.0.1")) as client,
    ):
        assert client.get(f"http://two.example:{port_of(hook.url)}/").status_code == 200


def test_a_redirect_to_the_metadata_service_is_refused() -> None:
    to_metadata = receivers.redirect("http://169.254.169.254/latest/meta-data/")
    with receiver(to_metadata) as hook, egress.client(LOOPBACK, CALM) as client:
        with pytest.raises(egress.RedirectRefused) as caught:
            client.get(hook.url, follow_redirects=True)
        assert caught.value.fields["mechanism"] == "egress_redirect"
        assert len(hook.got) == 1


@pytest.mark.parametrize("answer", [receivers.drip, receivers.drip_head])
def test_an_answer_that_drips_is_cut_off_at_the_whole_time(answer: receivers.Answer) -> None:
    roomy = Bounds(total_s=0.6, body_max_bytes=None)
    with receiver(answer) as hook, egress.client(LOOPBACK, roomy) as client:
        began = time.monotonic()
        with pytest.raises(egress.AnswerTooSlow) as caught:
            client.get(hook.url)
        assert time.monotonic() - began < 8, "without it: for ever"
        assert caught.value.fields["limit_s"] == 0.6


def test_control_without_a_whole_time_the_drip_goes_on() -> None:
    endless = Bounds(total_s=None, body_max_bytes=200)
    with (
        receiver(receivers.drip) as hook,
        egress.client(LOOPBACK, endless) as client,
        pytest.raises(egress.AnswerTooLarge),
    ):  # 200 bytes at 50 a second
        client.get(hook.url)


def test_a_silent_answer_ends_with_the_read_time() -> None:
    patient = Bounds(read_s=0.2, total_s=30)
    with (
        receiver(receivers.hang) as hook,
        egress.client(LOOPBACK, patient) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.get(hook.url)


def test_a_body_is_read_up_to_its_bound() -> None:
    with receiver(receivers.flood) as hook, egress.client(LOOPBACK, CALM) as client:
        with pytest.raises(egress.AnswerTooLarge) as caught:
            client.get(hook.url)
        assert caught.value.fields["limit_bytes"] == 1000
        assert caught.value.fields["measured_bytes"] < 1_000_000


def test_a_compressed_answer_is_refused_before_it_is_blown_up() -> None:
    bomb = status(200, gzip.compress(b"0" * 900_000), content_encoding="gzip")
    with receiver(bomb) as hook, egress.client(LOOPBACK, CALM) as client:
        with pytest.raises(egress.AnswerEncoded):
            client.get(hook.url)
        assert hook.got[0].headers["accept-encoding"] == "identity"


def test_a_connection_that_dies_is_told_without_what_was_sent() -> None:
    with (
        receiver(receivers.die) as hook,
        egress.client(LOOPBACK, CALM) as client,
        pytest.raises(httpx.TransportError) as caught,
    ):
        client.post(hook.url, content=b"secret", headers={"authorization": "Bearer secret"})
    code, text = egress.told(caught.value)
    assert code == "not_http"
    assert "secret" not in f"{text} {caught.value}"


def test_a_resolver_that_hangs_is_given_up() -> None:
    over = threading.Event()

    def slow(host: str, port: int) -> Sequence[Address]:
        over.wait(30)
        return []

    with egress.client("", QUICK, resolve=slow) as client:
        began = time.monotonic()
        with pytest.raises((egress.HostUnresolved, egress.AnswerTooSlow)):
            client.get("http://slow.example/")
        assert time.monotonic() - began < 15
    over.set()


def test_connections_are_kept_and_the_time_is_that_of_each_exchange() -> None:
    """A pooled connection must not inherit the deadline of the exchange that opened it."""
    bounds, names = Bounds(total_s=2), Names("127.0.0.1")
    with receiver() as hook, egress.client(LOOPBACK, bounds, resolve=names) as client:
        url = f"http://kept.example:{port_of(hook.url)}/"
        assert client.get(url).status_code == 200
        threading.Event().wait(2.1)
        assert client.get(url).status_code == 200
        assert names.asked == 1, "one connection for both"


def test_environment_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with receiver() as hook, egress.client(LOOPBACK, CALM) as client:
        assert client.get(hook.url).status_code == 200


@pytest.mark.parametrize(
    "url",
    ["ftp://a/", "file:///etc/passwd", "http://", "//a", "http://u:p@a/", "http://u@a/", ""]
    + ["http://a b/", "http://a/\n", "http://[::1", "http://a:0/", "http://a:99999/", "gopher://a"]
    + ["http://a/" + "x" * 3000],
)
def test_a_url_that_may_not_be_called(url: str) -> None:
    with pytest.raises(egress.UrlRefused) as caught:
        egress.check_url(url)
    assert "u:p" not in str(caught.value)


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    shown = egress.shown("https://user:pass@hooks.example:8443/services/T0/secret?key=k")
    assert shown == "https://hooks.example:8443"


def test_the_core_does_not_import_httpx() -> None:
    script = "import app.core.egress, sys; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
