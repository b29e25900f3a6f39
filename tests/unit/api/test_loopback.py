"""Without a token: only where the setting says so, only a program on this machine, little."""

import pytest

from app.core.errors import SettingsFault
from app.core.settings import Settings
from tests.unit.api.web import fake_clients, web

HERE = {"environ_base": {"REMOTE_ADDR": "127.0.0.1"}}
CARD = "/workspaces/w1/.well-known/agent-card.json"


def test_a_program_on_this_machine_may_read_and_send_and_no_more() -> None:
    with web(fake_clients(), open_loopback=True) as site:
        site.workspace("w1")
        for method, path, status in (
            *(("GET", "/workspaces/w1", 200), ("GET", CARD, 200), ("GET", "/admin/tokens", 403)),
            *(("POST", "/workspaces/w1/pause", 403), ("GET", "/workspaces/w1/turns/next", 403)),
        ):
            assert site.ask(method, path, token=None, **HERE).status_code == status, path
        assert "securitySchemes" not in site.ask("GET", CARD, token=None, **HERE).get_json()
        assert site.ask("GET", CARD, token="nonsense", **HERE).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        *({"X-Forwarded-For": "1.2.3.4"}, {"Forwarded": "for=1.2.3.4"}, {"Via": "1.1 proxy"}),
        *({"Origin": "http://localhost"}, {"Sec-Fetch-Site": "cross-site"}),
        *({"Host": "rebound.example"}, {"Host": "127.0.0.1.evil.example"}),
    ],
)
def test_neither_a_proxy_nor_a_page_is_let_in(headers: dict[str, str]) -> None:
    with web(fake_clients(), open_loopback=True) as site:
        site.workspace("w1")
        path = "/workspaces/w1"
        assert site.ask("GET", path, token=None, headers=headers, **HERE).status_code == 401


def test_another_machine_is_not_let_in() -> None:
    with web(fake_clients(), open_loopback=True) as site:
        site.workspace("w1")
        there = {"environ_base": {"REMOTE_ADDR": "10.0.0.7"}}
        assert site.ask("GET", "/workspaces/w1", token=None, **there).status_code == 401


def test_without_the_setting_nobody_is_let_in() -> None:
    with web(fake_clients()) as site:
        site.workspace("w1")
        assert site.ask("GET", "/workspaces/w1", token=None, **HERE).status_code == 401


def test_the_setting_needs_an_address_that_others_cannot_reach() -> None:
    with pytest.raises(SettingsFault, match="open_loopback"):
        Settings.from_env({"TURNKEEPER_OPEN_LOOPBACK": "true", "TURNKEEPER_HOST": "0.0.0.0"})  # noqa: S104
