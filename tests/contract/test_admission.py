"""admit, token_swap and the bound on how often refusals are told."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from app.core import admission, events, keys, scripts, tokens
from app.core.admission import Pace
from app.core.errors import (
    NotFound,
    QueueFull,
    RateLimited,
    StaleFence,
    TokenChanged,
)
from app.core.platform import Platform
from app.core.tokens import Token
from tests.contract.conftest import PAUSE_MS, Pass
from tests.contract.refusals import RECIPES, live
from tests.support.kernel import Kernel
from workers.sweep import sweep

# One request of 600 a minute is given back every 100 ms.
RATE = {"rate_limit_per_min": 600, "agent_rate_limit_per_min": 600}


def made(kernel: Kernel, **fields: Any) -> tuple[str, Token]:
    return tokens.create(kernel.platform, "t", ["read", "runtime"], **fields)


def ask(
    kernel: Kernel, text: str, pace: Pace = Pace.REQUEST, there: str | None = None
) -> Token | None:
    return admission.admit(kernel.platform, text, pace, there)


def use_up(kernel: Kernel, text: str, pace: Pace = Pace.REQUEST, there: str | None = None) -> None:
    """A minute's worth at once; on a real server some of it is given back meanwhile."""
    with pytest.raises(RateLimited):
        for _ in range(2000):
            ask(kernel, text, pace, there)


def test_admit_finds_the_token_and_counts_up_to_its_rate(kernel: Kernel, pass_ms: Pass) -> None:
    small, (text, token) = kernel.tuned(rate_limit_per_min=3), made(kernel)
    assert [ask(small, text) for _ in range(3)] == [token] * 3
    with pytest.raises(RateLimited) as caught:
        ask(small, text)
    told = caught.value.fields
    assert (told["mechanism"], told["setting"]) == ("rate_limit", "TURNKEEPER_RATE_LIMIT_PER_MIN")
    assert told["measured_per_min"] == 4 > told["limit_per_min"] == 3
    assert 0 < told["retry_after_s"] <= 20
    assert kernel.platform.clients.control.hgetall(keys.LIMITED) == {"request": "1"}


def test_control_without_the_comparison_any_number_is_admitted(kernel: Kernel) -> None:
    text, token = made(kernel)
    open_ = kernel.tuned(rate_limit_per_min=3).altered("admit", "if free_at - now_us >", "if 0 >")
    assert [ask(open_, text) for _ in range(10)] == [token] * 10


def test_admit_gives_back_one_with_each_interval(kernel: Kernel, pass_ms: Pass) -> None:
    small, (text, token) = kernel.tuned(**RATE), made(kernel)
    use_up(small, text)
    pass_ms(PAUSE_MS)
    assert ask(small, text) == token


def test_a_clock_that_was_set_back_costs_a_minute_at_most(kernel: Kernel, pass_ms: Pass) -> None:
    small, (text, token) = kernel.tuned(**RATE), made(kernel)
    control = kernel.platform.clients.control
    ask(small, text)
    (pace,) = control.keys("tk:pace:*")
    control.set(pace, int(control.get(pace)) + 300_000_000)
    with pytest.raises(RateLimited) as caught:
        ask(small, text)
    assert caught.value.fields["retry_after_s"] <= 1
    pass_ms(PAUSE_MS)
    assert ask(small, text) == token


def test_admit_counts_each_pace_and_each_token_apart(kernel: Kernel) -> None:
    small, (text, token), (other, _) = kernel.tuned(**RATE), made(kernel), made(kernel)
    use_up(small, text)
    for pace in (Pace.STREAM, Pace.AGENT, Pace.TOOL, Pace.LATER):
        assert ask(small, text, pace, "w1") == token
    assert ask(small, other) is not None


def known_there(kernel: Kernel, *names: str) -> None:
    """The control side knows of these workspaces."""
    kernel.platform.clients.control.zadd(keys.WORKSPACES, dict.fromkeys(names, 1))


@pytest.mark.parametrize("pace", [Pace.AGENT, Pace.TOOL])
def test_admit_counts_an_agent_in_each_workspace_that_its_token_reaches(
    kernel: Kernel, pace: Pace
) -> None:
    known_there(kernel, "w1", "w2", "w3")
    small, (text, _), (own, _) = kernel.tuned(**RATE), made(kernel), made(kernel, workspaces=["w1"])
    use_up(small, text, pace, "w1")
    assert ask(small, text, pace, "w2") is not None
    use_up(small, own, pace, "w2")  # not its own: no count of its own
    with pytest.raises(RateLimited):
        for _ in range(100):  # what a machine that stood still gave back; a count has 600
            ask(small, own, pace, "w3")
    assert ask(small, own, pace, "w1") is not None


def names_many(kernel: Kernel, text: str, scope: str, known: Token | None = None) -> bool:
    """Whether one who names another workspace with each request is refused in the end."""
    small = kernel.tuned(agent_rate_limit_per_min=60).platform
    try:
        for number in range(200):
            admission.admit(small, text, Pace.AGENT, f"made-up-{number}", known, scope)
    except RateLimited:
        return True
    return False


@pytest.mark.parametrize("fields", [{}, {"workspaces": ["w1"]}, {"teams": ["blue"]}])
def test_names_that_are_made_up_give_no_new_count(kernel: Kernel, fields: dict[str, Any]) -> None:
    text, _ = made(kernel, **fields)
    assert names_many(kernel, text, "runtime")
    assert len(list(kernel.data.scan_iter(match=keys.PACES + "*:agent:?*"))) == 0


def test_control_without_the_look_for_the_workspace_each_name_has_a_count(kernel: Kernel) -> None:
    text, _ = made(kernel)
    open_ = kernel.altered("admit", "or not redis.call('ZSCORE', K.workspaces, A.there)", "")
    assert not names_many(open_, text, "runtime")


def test_a_token_that_is_not_stored_gets_no_new_count_either(kernel: Kernel) -> None:
    token = Token("tok_ses_1", "session", "", ("session",), ("w1",), 0)
    assert names_many(kernel, "tks.x", "runtime or session", token)


def test_a_scope_that_is_missing_gives_no_count_in_a_workspace(kernel: Kernel) -> None:
    known_there(kernel, *(f"made-up-{number}" for number in range(200)))
    reader, _ = tokens.create(kernel.platform, "t", ["read"])
    assert names_many(kernel, reader, "runtime")
    agent, _ = made(kernel)
    assert not names_many(kernel, agent, "runtime"), "one token beats for many workspaces"


def test_a_teams_token_is_counted_in_each_workspace_of_the_team(kernel: Kernel) -> None:
    text, _ = made(kernel, teams=["blue"])
    known_there(kernel, *(f"made-up-{number}" for number in range(200)))
    for number in range(200):
        where = keys.of(f"made-up-{number}")["workspace"]
        kernel.data.hset(where, "team", "blue" if number < 100 else "red")
    small = kernel.tuned(agent_rate_limit_per_min=60).platform
    for number in range(100):
        assert admission.admit(small, text, Pace.AGENT, f"made-up-{number}", None, "runtime")
    with pytest.raises(RateLimited):
        for number in range(100, 200):
            admission.admit(small, text, Pace.AGENT, f"made-up-{number}", None, "runtime")


def test_admit_of_an_unknown_token_leaves_nothing(kernel: Kernel) -> None:
    assert ask(kernel, "nobody") is None
    assert not list(kernel.data.scan_iter(match=keys.PACES + "*"))


def test_a_rate_of_nought_counts_nothing(kernel: Kernel) -> None:
    text, token = made(kernel)
    assert ask(kernel.tuned(rate_limit_per_min=0), text) == token
    assert not list(kernel.data.scan_iter(match=keys.PACES + "*"))


def test_an_expired_token_is_not_admitted(kernel: Kernel, pass_ms: Pass) -> None:
    text, _ = made(kernel, expires_in_s=PAUSE_MS / 1000)
    assert ask(kernel, text) is not None
    pass_ms(PAUSE_MS + 1)
    assert ask(kernel, text) is None
    assert tokens.find(kernel.platform, text) is None


# ---- Rotation and purging


def test_rotate_gives_one_that_may_do_the_same_and_ends_the_old_one(
    kernel: Kernel, pass_ms: Pass
) -> None:
    old_text, old = made(kernel, workspaces=["w1"], teams=["blue"])
    new_text, new = tokens.rotate(kernel.platform, old.id, PAUSE_MS / 1000)
    assert (new.scopes, new.workspaces, new.teams) == (old.scopes, old.workspaces, old.teams)
    assert new.id != old.id and new.expires_at is None
    assert ask(kernel, old_text) is not None and ask(kernel, new_text) == new
    pass_ms(PAUSE_MS + 1)
    assert ask(kernel, old_text) is None and ask(kernel, new_text) == new
    with pytest.raises(NotFound):
        tokens.rotate(kernel.platform, old.id, 60)


def test_rotate_ends_the_logins_of_the_old_token_too(kernel: Kernel, pass_ms: Pass) -> None:
    _, old = made(kernel)
    first, second = (tokens.login_code(kernel.platform, old) for _ in range(2))
    cookie = tokens.redeem(kernel.platform, first)
    assert cookie is not None
    tokens.rotate(kernel.platform, old.id, PAUSE_MS / 1000)
    late = tokens.redeem(kernel.platform, second)
    pass_ms(PAUSE_MS + 1)
    for text in (cookie, late or ""):
        assert ask(kernel, text) is None


def test_a_rotation_and_a_login_are_of_the_same_principal(kernel: Kernel) -> None:
    _, old = made(kernel)
    assert old.principal == old.id
    _, new = tokens.rotate(kernel.platform, old.id, 60)
    text, newest = tokens.rotate(kernel.platform, new.id, 60)
    assert tokens.find(kernel.platform, text) == newest and newest.principal == old.id
    cookie = tokens.redeem(kernel.platform, tokens.login_code(kernel.platform, newest)) or ""
    login = tokens.find(kernel.platform, cookie)
    assert login is not None and login.principal == old.id != login.id
    of_root = tokens.redeem(kernel.platform, tokens.login_code(kernel.platform, tokens.ROOT)) or ""
    found = tokens.find(kernel.platform, of_root)
    assert found is not None and found.principal == tokens.ROOT.principal
    assert made(kernel)[1].principal != old.principal


def test_a_token_stored_without_a_principal_is_its_own(kernel: Kernel) -> None:
    text, token = made(kernel)
    stored = kernel.data.hget(keys.TOKENS, tokens.digest(text))
    assert "principal" not in json.loads(stored)
    found = tokens.find(kernel.platform, text)
    assert found is not None and found.principal == token.id


def test_login_keeps_the_newest_of_one_token(kernel: Kernel) -> None:
    small, (_, parent) = kernel.tuned(logins_per_token_max=2), made(kernel)
    codes = [tokens.login_code(kernel.platform, parent) for _ in range(3)]
    cookies = [tokens.redeem(small.platform, code) or "" for code in codes]
    assert [ask(kernel, text) is not None for text in cookies] == [False, True, True]


def test_login_makes_none_for_a_parent_revoked_since_it_was_read(kernel: Kernel) -> None:
    _, parent = made(kernel)
    code = tokens.login_code(kernel.platform, parent)
    control = Meanwhile(kernel.data, lambda: tokens.revoke(kernel.platform, parent.id), "hget")
    clients = replace(kernel.platform.clients, control=control)
    assert tokens.redeem(Platform(kernel.platform.settings, clients), code) is None
    assert tokens.listing(kernel.platform) == []


class Meanwhile:
    """A client on which something happens once, after the tokens were read."""

    def __init__(self, client: Any, happens: Any, read: str = "hgetall") -> None:
        self._client, self._happens, self._read = client, happens, read

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return partial(self._reads, found) if name == self._read else found

    def _reads(self, read: Any, *args: Any) -> Any:
        found = read(*args)
        happens, self._happens = self._happens, lambda: None
        happens()
        return found


def test_token_swap_does_not_revive_what_was_revoked_meanwhile(kernel: Kernel) -> None:
    text, old = made(kernel)
    control = Meanwhile(kernel.data, lambda: tokens.revoke(kernel.platform, old.id))
    clients = replace(kernel.platform.clients, control=control)
    with pytest.raises(TokenChanged):
        tokens.rotate(Platform(kernel.platform.settings, clients), old.id, 60)
    assert tokens.listing(kernel.platform) == [] and ask(kernel, text) is None


def test_purge_forgets_what_expired_long_ago_and_nothing_else(
    kernel: Kernel, pass_ms: Pass
) -> None:
    made(kernel, expires_in_s=PAUSE_MS / 1000)
    kept = [made(kernel)[1].id, made(kernel, expires_in_s=60)[1].id]
    pass_ms(PAUSE_MS + 2)
    assert tokens.purge(kernel.platform) == 0, "still in the list"
    assert tokens.purge(kernel.tuned(token_retention_s=0).platform) == 1
    assert sorted(token.id for token in tokens.listing(kernel.platform)) == sorted(kept)


def test_the_sweep_purges(kernel: Kernel, pass_ms: Pass) -> None:
    made(kernel, expires_in_s=PAUSE_MS / 1000)
    pass_ms(PAUSE_MS + 2)
    sweep(kernel.tuned(token_retention_s=0).platform)
    assert tokens.listing(kernel.platform) == []


# ---- Refusals in the stream


def overfill(kernel: Kernel) -> None:
    with pytest.raises(QueueFull):
        kernel.submit()


def told(kernel: Kernel, mechanism: str) -> list[Any]:
    return [row for row in kernel.events() if row.get("mechanism") == mechanism]


def test_refusals_are_told_so_often_a_minute_and_the_rest_is_counted(
    kernel: Kernel, pass_ms: Pass
) -> None:
    tight = kernel.tuned(refusals_told_per_min=3, queue_depth_max=1)
    tight.submit()
    begun = int(kernel.platform.now_ms() / 60_000)
    for _ in range(50):
        overfill(tight)
    if int(kernel.platform.now_ms() / 60_000) != begun:
        pytest.skip("the server's minute ended in between")
    assert len(told(kernel, "queue_depth")) == 3
    (cut,) = told(kernel, "refusals_told")
    assert (cut["event"], cut["payload"]["refusal"]) == ("LIMIT_HIT", "queue_depth")
    assert cut["payload"]["setting"] == "TURNKEEPER_REFUSALS_TOLD_PER_MIN"
    assert cut["payload"]["measured_count"] == 4 > cut["payload"]["limit_count"] == 3
    counted = int(kernel.data.hget(kernel.keys["stats"], "LIMIT_HIT"))
    assert counted == 50 + 1


@pytest.mark.parametrize(
    "recipe", [("memory_put", "memories_full"), ("push_put", "too_many_push_configs")]
)
def test_each_refusal_that_a_caller_can_repeat_is_bound(
    recipe: tuple[str, str], kernel: Kernel
) -> None:
    silent = kernel.tuned(refusals_told_per_min=1)
    for name in ("queue_depth", "memories_count", "push_configs"):  # this minute's are used up
        minute = kernel.platform.now_ms() // 60_000
        kernel.data.hset(kernel.keys["refusals"], name, f"{minute} 2 0")
    with pytest.raises(scripts.REFUSALS[recipe[1]]):
        RECIPES[recipe](silent)
    assert not kernel.events("LIMIT_HIT")


def test_control_without_the_bound_refusals_fill_the_stream(kernel: Kernel) -> None:
    tight = kernel.tuned(refusals_told_per_min=3, queue_depth_max=1)
    tight.submit()
    loose = tight.altered("submit", "if told < limit then", "if true then")
    for _ in range(50):
        overfill(loose)
    assert len(told(kernel, "queue_depth")) == 50


def test_the_next_minutes_first_refusal_says_how_many_were_left_out(kernel: Kernel) -> None:
    tight = kernel.tuned(refusals_told_per_min=3, queue_depth_max=1)
    tight.submit()
    kernel.data.hset(kernel.keys["refusals"], "queue_depth", "1 4 17")  # the minute of long ago
    overfill(tight)
    overfill(tight)
    found = [row["payload"].get("untold_count") for row in told(kernel, "queue_depth")]
    assert found == [17, None]


def test_a_flood_of_one_kind_does_not_hide_another(kernel: Kernel) -> None:
    tight = kernel.tuned(refusals_told_per_min=1, queue_depth_max=1)
    session = live(kernel)
    for _ in range(5):
        with pytest.raises(StaleFence):
            tight.progress(replace(session, fence=session.fence + 7))
        with pytest.raises(StaleFence):
            tight.say(replace(session, fence=session.fence + 7))
    with pytest.raises(StaleFence):
        tight.finish(replace(session, fence=session.fence + 7))
    writing = [row["payload"]["writing"] for row in kernel.events("WRITE_FENCED")]
    assert writing == ["progress", "finish completed"]


def test_the_stream_keeps_what_matters_through_a_flood_of_refusals(kernel: Kernel) -> None:
    tight = kernel.tuned(queue_depth_max=1, events_kept=100)
    first = tight.submit().turn_id
    for _ in range(400):
        overfill(tight)
    kept = [event.turn_id for event in events.latest(kernel.platform, kernel.id, 500)]
    assert first in kept
