"""``turnkeeper webhooks`` against a stand-in for the API."""

from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_api import FakeApi


def test_a_webhook_is_created_with_its_secret_alone_on_stdout(api: FakeApi, run: Run) -> None:
    api.on("POST", "/admin/webhooks", (201, {"id": "wh_1", "secret": "whsec_x"}))
    result = run("webhooks", "create", "https://h/x", "--event", "AGENT_MESSAGE")
    assert result.stdout == "whsec_x\n"
    assert api.last().body == {"url": "https://h/x", "events": ["AGENT_MESSAGE"]}


def test_deliveries_are_asked_for_by_outcome_and_replayed(api: FakeApi, run: Run) -> None:
    api.on("GET", "/admin/webhooks/wh_1/deliveries", (200, {"deliveries": []}))
    assert "no deliveries" in run("webhooks", "deliveries", "wh_1", "--outcome", "dead").stderr
    assert api.last().query == {"outcome": ["dead"], "limit": ["50"]}
    api.on("POST", "/admin/webhooks/wh_1/replay", (202, {"replayed": 3, "not_kept": 1}))
    result = run("webhooks", "replay", "wh_1", "--since", "2h")
    assert result.stdout == "3 will be delivered again; 1 are not kept any more\n"
    assert api.last().body == {"since_s": 7200.0}


def test_a_webhook_is_listed_changed_tested_rotated_and_removed(api: FakeApi, run: Run) -> None:
    row = {"id": "wh_1", "url": "https://h", "enabled": False}
    api.on("GET", "/admin/webhooks", (200, {"webhooks": [row]}))
    assert "wh_1" in run("webhooks", "ls").stdout
    api.on("PATCH", "/admin/webhooks/wh_1", (200, row))
    run("webhooks", "change", "wh_1", "--enable", "--to", "https://new")
    assert api.last().body == {"url": "https://new", "enabled": True}
    assert run("webhooks", "change", "wh_1").exit_code == 2
    api.on("POST", "/admin/webhooks/wh_1/test", (200, {"outcome": "acked", "status": 200}))
    assert "acked" in run("webhooks", "test", "wh_1").stdout
    api.on("POST", "/admin/webhooks/wh_1/rotate", (200, {"id": "wh_1", "secret": "whsec_y"}))
    assert run("webhooks", "rotate", "wh_1").stdout == "whsec_y\n"
    api.on("DELETE", "/admin/webhooks/wh_1", (200, {"status": "ok"}))
    assert run("webhooks", "rm", "wh_1").stdout == "removed wh_1\n"
