"""``GET /fleet`` and ``GET /admin/checkup``; where a login link leads."""

from collections.abc import Iterator

import pytest

from tests.unit.api.web import Web, fake_clients, web


@pytest.fixture
def site() -> Iterator[Web]:
    with web(fake_clients(), poll_wait_max_s=0.001) as made:
        for name in ("calm", "late", "other"):
            made.workspace(name)
        made.send("late", "first")
        yield made


def test_the_longest_wait_stands_first_with_what_is_wrong(site: Web) -> None:
    site.schedule("calm", name="tick")
    found = site.ok("GET", "/fleet")
    assert [row["id"] for row in found["workspaces"]] == ["late", "calm", "other"]
    assert found["total"] == 3
    late, calm, _ = found["workspaces"]
    assert (late["waiting"], late["waiting_fires"], late["heartbeat_age_s"]) == (1, 0, None)
    assert late["oldest_wait_s"] >= 0
    assert calm["next_fire_at"] is not None
    platform = [item for item in found["attention"] if item["workspace_id"] is None]
    assert {"scheduler_silent", "reaper_silent"} <= {item["mechanism"] for item in platform}


def test_a_session_is_told_with_its_clocks_and_its_ceiling(site: Web) -> None:
    claim = site.bound("late")
    (row,) = [row for row in site.ok("GET", "/fleet")["workspaces"] if row["id"] == "late"]
    (session,) = row["sessions"]
    assert session["id"] == claim.session.id
    assert session["ceiling_s"] == 1800
    assert 0 <= session["heartbeat_age_s"] <= session["age_s"] + 1


def test_a_token_sees_its_own_and_nothing_of_the_platform(site: Web) -> None:
    token = site.token("read", workspaces=("calm",))
    found = site.ok("GET", "/fleet", token=token)
    assert [row["id"] for row in found["workspaces"]] == ["calm"]
    assert (found["total"], found["attention"]) == (1, [])


def test_more_rows_than_wanted_are_counted(site: Web) -> None:
    found = site.ok("GET", "/fleet?limit=1")
    assert (len(found["workspaces"]), found["total"]) == (1, 3)


def test_the_checkup_tells_the_worst_and_what_to_do_next(site: Web) -> None:
    found = site.ok("GET", "/admin/checkup")
    assert found["status"] == "fail"
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["redis"]["status"] == "ok"
    assert checks["scheduler"]["status"] == "fail"
    assert "start the scheduler" in checks["scheduler"]["next"]


def test_the_checkup_is_for_an_admin(site: Web) -> None:
    token = site.token("operate")
    assert site.ask("GET", "/admin/checkup", token=token).status_code == 403


def test_a_login_link_is_whole_as_asked_for_or_as_configured(site: Web) -> None:
    link = site.ok("POST", "/admin/login-links")
    assert link["absolute_url"] == "http://localhost" + link["url"]
    for host in ("evil.example", "localhost.evil.example", "localhost@evil.example"):
        link = site.ok("POST", "/admin/login-links", headers={"Host": host})
        assert link["absolute_url"] == link["url"]
    with web(fake_clients(), public_url="https://tk.example/") as public:
        link = public.ok("POST", "/admin/login-links")
        assert link["absolute_url"] == "https://tk.example" + link["url"]
