"""What a scrape and a scaler read."""

import pytest

from tests.unit.api.test_routes import asked
from tests.unit.api.web import Web


def sample(site: Web, name: str) -> float:
    lines = site.ask("GET", "/metrics").text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def test_a_scrape_tells_waits_sessions_and_what_needs_attention(site: Web) -> None:
    site.workspace()
    site.send("w1", "hello")
    site.bound("w1")
    site.platform.clients.control.hset("tk:ticks", "reap", site.platform.now_ms())
    assert sample(site, 'turnkeeper_turn_wait_seconds_bucket{le="+Inf"}') == 1
    assert sample(site, 'turnkeeper_session_seconds_bucket{le="1"}') == 0
    assert sample(site, "turnkeeper_turn_wait_seconds_count") == 1
    assert sample(site, 'turnkeeper_attention{condition="scheduler_silent"}') == 1
    assert sample(site, 'turnkeeper_attention{condition="reaper_silent"}') == 0
    assert sample(site, "turnkeeper_sessions_live") == 1
    assert sample(site, 'turnkeeper_jobs_waiting{queue="control"}') == 0
    assert "turnkeeper_workspace_" not in site.ask("GET", "/metrics").text


@pytest.mark.parametrize("count", [0, 3])
def test_a_scaler_reads_who_may_have_something_to_claim(site: Web, count: int) -> None:
    for number in range(count):
        site.workspace(f"w{number}")
        site.platform.run_control("ring", workspace_id=f"w{number}")
    assert asked(site, "GET", "/admin/scale") == {
        "runnable": count,
        "running": 0,
        "desired_workers": 1,
    }
    if count:
        site.send("w0")
        site.bound("w0")
        assert asked(site, "GET", "/admin/scale")["running"] == 1


def test_scaling_needs_a_token_that_reads_everywhere(site: Web) -> None:
    site.workspace()
    body = {"name": "one", "scopes": ["read"], "workspaces": ["w1"]}
    token = asked(site, "POST", "/admin/tokens", body)["token"]
    assert site.ask("GET", "/admin/scale", token=token).status_code == 403
    body = {"name": "scaler", "scopes": ["read"]}
    token = asked(site, "POST", "/admin/tokens", body)["token"]
    assert site.ask("GET", "/admin/scale", token=token).status_code == 200
