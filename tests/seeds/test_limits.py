"""No limit acts in silence: each is hit here, and says mechanism, limit, setting, measured value.

A new setting fails here until it has a row, or a reason why it is no limit of the work.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.core import schedules, sessions, turns
from app.core.platform import Platform
from app.core.settings import Settings, env_name
from tests.seeds.clocks import EVERY_30_MIN, OPENS, WS, Shift, beside
from tests.seeds.limits_hit import (
    OVERLAPS,
    Told,
    backfill_too_long,
    bad_end,
    big_memory,
    bury,
    fire_expires,
    handovers_used_up,
    late_reader,
    long_exchange,
    long_result,
    memories_bound,
    missed,
    overlaps,
    polls_of_one,
    problem,
    reader_of_last_week,
    receiver_fails,
    slow_reader,
    streams_of_one,
    too_many_beats,
    too_many_logins,
    too_many_memories,
    too_many_memories_says_so,
    too_many_polls,
    too_many_push_configs,
    too_many_refusals,
    too_many_requests,
    too_many_streams,
    whole,
)
from tests.support.world import virtual_platform
from tests.unit.api.web import ADMIN, Web, web

SMALL: dict[str, Any] = {
    "admin_token": ADMIN,
    "message_wait_s": 0,
    "queue_depth_max": 3,
    "body_max_bytes": 4096,
    "prompt_max_bytes": 1024,
    "import_max_count": 3,
    "backfill_max_count": 3,
    "output_max_bytes": 1024,
    "memory_max_bytes": 500,
    "memories_max_count": 3,
    "memories_bind_max_bytes": 500,
    "events_kept": 100,
    "stream_buffer_count": 10,
    "streams_max": 1,
    "waiters_max": 1,
    "push_configs_max": 2,
    "history_max_bytes": 1024,
    "handovers_max": 2,
    "dead_kept": 2,
    "dead_retention_s": 60,
}


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(OPENS, **SMALL) as here:
        yield here


@pytest.fixture
def site(platform: Platform) -> Iterator[Web]:
    """A web process over the same store."""
    with web(beside(platform).clients, **SMALL) as made:
        yield made


@dataclass(frozen=True)
class Row:
    """A limit: who it is, which setting it comes from, how it is hit."""

    mechanism: str
    setting: str
    hit: Callable[[Shift, Web], Told]


# Sessions.


def ends(seconds: float, **workspace: Any) -> Callable[[Shift, Web], Told]:
    """A session is begun, nobody says anything more for so long, and it is ended."""

    def hit(shift: Shift, site: Web) -> Told:
        session_id = shift.begin("cron", **workspace)
        shift.agent.beats = "idle_timeout_s" not in workspace and seconds != 901
        shift.run(seconds)
        return whole(shift.one("SESSION_ENDED", session_id))

    return hit


def asked(name: str, seconds: float) -> Callable[[Shift, Web], Told]:
    def hit(shift: Shift, site: Web) -> Told:
        shift.begin()
        shift.run(seconds)
        return whole(shift.one(name))

    return hit


def stalls(shift: Shift, site: Web) -> Told:
    shift.begin()
    shift.run(601)
    return whole(shift.one("TURN_STALLED"))


def canceled(shift: Shift, site: Web) -> Told:
    session_id = shift.begin()
    turns.cancel(shift.platform, WS, shift.session(session_id).turn_id, "no")
    shift.run(11)
    return whole(shift.one("SESSION_ENDED"))


def never_laid_out(shift: Shift, site: Web) -> Told:
    """The worker died between the claim and the bind."""
    turns.submit(shift.platform, WS, turns.Request(body={"text": "x"}))
    sessions.claim(shift.platform, WS)
    schedules.doorbell.watch(shift.platform, WS, 10)
    shift.run(11)
    return whole(shift.told("SESSION_ENDED")[0])


def never_started(shift: Shift, site: Web) -> Told:
    """Laid out, and no runtime polls."""
    shift.agent.polls = False
    shift.begin()
    shift.run(61)
    return whole(shift.told("SESSION_ENDED")[0])


def lost(shift: Shift, site: Web) -> Told:
    shift.begin()
    shift.agent.running.clear()
    shift.agent.polls = False
    shift.run(61)
    return whole(shift.one("SESSION_ENDED"))


def attempts_used_up(shift: Shift, site: Web) -> Told:
    turn_id = shift.submit()
    for _ in range(5):
        session_id = turns.get(shift.platform, WS, turn_id).session_id
        assert session_id is not None
        shift.agent.running.clear()
        fence = shift.session(session_id).fence
        sessions.release(shift.platform, WS, session_id, fence, "lost", "gone", counts=True)
        shift.run(61)
        shift.serve()
    return whole(shift.one("TURN_DEAD"))


def preempted(shift: Shift, site: Web) -> Told:
    shift.begin("cron", cron_expr="0 0 1 1 *", ceiling_s=0)
    schedules.create(shift.platform, WS, {**EVERY_30_MIN, "preempt_after_s": 30})
    shift.run(1800 + 31)
    return whole(shift.told("SESSION_CHECKPOINT_REQUESTED")[-1])


# The heartbeat.


def silent(name: str, seconds: float) -> Callable[[Shift, Web], Told]:
    def hit(shift: Shift, site: Web) -> Told:
        shift.agent.beats = False
        shift.run(seconds)
        return whole(shift.one(name))

    return hit


# The queue.


def full(shift: Shift, site: Web) -> Told:
    for _ in range(5):
        shift_submit(site)
    return whole(shift.told("LIMIT_HIT")[0])


def shift_submit(site: Web) -> Any:
    body = {"params": {"message": {"parts": [{"text": "x"}]}}}
    return site.ask("POST", f"/workspaces/{WS}/a2a", body)


def full_says_so(shift: Shift, site: Web) -> Told:
    for _ in range(5):
        answer = shift_submit(site)
    return problem(answer, 429)


def fire_finds_it_full(shift: Shift, site: Web) -> Told:
    shift.agent.polls = False
    for _ in range(5):
        shift_submit(site)
    schedule = schedules.create(shift.platform, WS, EVERY_30_MIN)
    schedules.run_now(shift.platform, WS, schedule.id)
    return whole(shift.one("CRON_SKIPPED"))


def expires(shift: Shift, site: Web) -> Told:
    shift.begin()
    shift.submit(expires_in_s=60)
    shift.run(61)
    shift.agent.finish(shift.live()[0])
    shift.run(1)
    return whole(shift.one("TURN_EXPIRED"))


# The web.


def big_body(shift: Shift, site: Web) -> Told:
    path = f"/workspaces/{WS}/pause"
    return problem(site.ask("POST", path, {"reason": "x" * 5000}), 413)


def big_message(shift: Shift, site: Web) -> Told:
    body = {"params": {"message": {"parts": [{"text": "x" * 1025}]}}}
    return problem(site.ask("POST", f"/workspaces/{WS}/a2a", body), 422)


def big_prompt(shift: Shift, site: Web) -> Told:
    body = {"name": "t", "cron_expr": "* * * * *", "prompt": "ä" * 513}
    return problem(site.ask("POST", f"/workspaces/{WS}/schedules", body), 422)


def bigger_prompt(shift: Shift, site: Web) -> Told:
    path = f"/workspaces/{WS}/schedules/{site.schedule(WS)}"
    return problem(site.ask("PATCH", path, {"prompt": "x" * 1025}), 422)


def long_crontab(shift: Shift, site: Web) -> Told:
    body = {"crontab": "@daily go\n" * 4}
    return problem(site.ask("POST", f"/workspaces/{WS}/schedules/import", body), 422)


def too_much_planned(shift: Shift, site: Web) -> Told:
    schedule_id = site.schedule(WS, cron_expr="0 0 1 1 *", ceiling_s=0)
    site.ok("POST", f"/workspaces/{WS}/schedules/{schedule_id}/run")
    shift.run(3600)
    shift.agent.finish(shift.live()[0])
    site.ok("PATCH", f"/workspaces/{WS}/schedules/{schedule_id}", {"cron_expr": "*/30 * * * *"})
    return whole(shift.one("LIMIT_HIT"))


ROWS = {
    "ceiling": Row("ceiling", "TURNKEEPER_CEILING_S", ends(1801)),
    "ceiling of a schedule": Row("ceiling", "schedule.ceiling_s", ends(301, ceiling_s=300)),
    "ceiling comes": Row(
        "ceiling", "TURNKEEPER_CEILING_S", asked("SESSION_CHECKPOINT_REQUESTED", 1741)
    ),
    "ceiling is near": Row(
        "ceiling", "TURNKEEPER_CEILING_S", asked("SESSION_CANCEL_REQUESTED", 1791)
    ),
    "idle": Row("idle_timeout", "TURNKEEPER_IDLE_TIMEOUT_S", ends(901)),
    "idle of a schedule": Row(
        "idle_timeout", "schedule.idle_timeout_s", ends(121, idle_timeout_s=120)
    ),
    "stall": Row("stall", "TURNKEEPER_STALL_AFTER_S", stalls),
    "cancel": Row("cancel", "TURNKEEPER_CANCEL_GRACE_S", canceled),
    "handover": Row("delivery_failed", "TURNKEEPER_HANDOVER_S", never_laid_out),
    "lease": Row("delivery_failed", "TURNKEEPER_LEASE_TTL_S", never_started),
    "lost": Row("lost", "TURNKEEPER_HEARTBEAT_INTERVAL_S", lost),
    "attempts": Row("lost", "TURNKEEPER_MAX_ATTEMPTS", attempts_used_up),
    "handovers": Row("delivery_failed", "TURNKEEPER_HANDOVERS_MAX", handovers_used_up),
    "dead letters": Row("dead_kept", "TURNKEEPER_DEAD_KEPT", lambda shift, _: bury(shift, 3)),
    "old dead letters": Row(
        "dead_retention", "TURNKEEPER_DEAD_RETENTION_S", lambda shift, _: bury(shift, 1, 61)
    ),
    "preempt": Row("preempt", "schedule.preempt_after_s", preempted),
    **{
        f"overlap: {policy}": Row("overlap", "schedule.overlap_policy", overlaps(policy, event))
        for policy, event in OVERLAPS.items()
    },
    "late": Row("heartbeat_late", "TURNKEEPER_HEARTBEAT_LATE_S", silent("WORKSPACE_DEGRADED", 91)),
    "offline": Row("heartbeat_ttl", "TURNKEEPER_HEARTBEAT_TTL_S", silent("WORKSPACE_OFFLINE", 181)),
    "queue": Row("queue_depth", "TURNKEEPER_QUEUE_DEPTH_MAX", full),
    "queue, to the sender": Row("queue_depth", "TURNKEEPER_QUEUE_DEPTH_MAX", full_says_so),
    "queue, a fire": Row("queue_depth", "TURNKEEPER_QUEUE_DEPTH_MAX", fire_finds_it_full),
    "message's life": Row("ttl", "expires_in_seconds", expires),
    "fire's life": Row("ttl", "schedule.ttl_s", fire_expires(ttl_s=60)),
    "fire's life by its window": Row(
        "ttl", "schedule.catchup_window_s", fire_expires(catchup_window_s=60)
    ),
    "catch-up": Row("catchup_window", "TURNKEEPER_CATCHUP_WINDOW_S", missed()),
    "catch-up of a schedule": Row(
        "catchup_window", "schedule.catchup_window_s", missed(catchup_window_s=60)
    ),
    "backfill": Row("backfill_max", "TURNKEEPER_BACKFILL_MAX_COUNT", backfill_too_long),
    "retries": Row("retry", "schedule.retries", bad_end("TURN_RETURNED", retries=1)),
    "pause": Row(
        "pause_on_failure",
        "schedule.pause_on_failure_count",
        bad_end("LIMIT_HIT", pause_on_failure_count=1),
    ),
    "memories": Row("memories_count", "TURNKEEPER_MEMORIES_MAX_COUNT", too_many_memories),
    "memories, to the writer": Row(
        "memories_count", "TURNKEEPER_MEMORIES_MAX_COUNT", too_many_memories_says_so
    ),
    "memory": Row("memory_max", "TURNKEEPER_MEMORY_MAX_BYTES", big_memory),
    "memories bound": Row("memories_bound", "TURNKEEPER_MEMORIES_BIND_MAX_BYTES", memories_bound),
    "body": Row("body_max", "TURNKEEPER_BODY_MAX_BYTES", big_body),
    "message": Row("prompt_max", "TURNKEEPER_PROMPT_MAX_BYTES", big_message),
    "prompt": Row("prompt_max", "TURNKEEPER_PROMPT_MAX_BYTES", big_prompt),
    "prompt changed": Row("prompt_max", "TURNKEEPER_PROMPT_MAX_BYTES", bigger_prompt),
    "result": Row("output_tail", "TURNKEEPER_OUTPUT_MAX_BYTES", long_result),
    "crontab": Row("import_max", "TURNKEEPER_IMPORT_MAX_COUNT", long_crontab),
    "forecast": Row("forecast", "schedule.overlap_policy", too_much_planned),
    "streams": Row("streams_max", "TURNKEEPER_STREAMS_MAX", too_many_streams),
    "streams of one": Row(
        "streams_per_token_max", "TURNKEEPER_STREAMS_PER_TOKEN_MAX", streams_of_one
    ),
    "logins": Row("logins_per_token_max", "TURNKEEPER_LOGINS_PER_TOKEN_MAX", too_many_logins),
    "polls of one": Row("waiters_per_token_max", "TURNKEEPER_WAITERS_PER_TOKEN_MAX", polls_of_one),
    "requests": Row("rate_limit", "TURNKEEPER_RATE_LIMIT_PER_MIN", too_many_requests),
    "beats": Row("rate_limit", "TURNKEEPER_AGENT_RATE_LIMIT_PER_MIN", too_many_beats),
    "refusals": Row("refusals_told", "TURNKEEPER_REFUSALS_TOLD_PER_MIN", too_many_refusals),
    "polls": Row("waiters_max", "TURNKEEPER_WAITERS_MAX", too_many_polls),
    "slow stream": Row("stream_buffer", "TURNKEEPER_STREAM_BUFFER_COUNT", slow_reader),
    "pushes": Row("push_configs", "TURNKEEPER_PUSH_CONFIGS_MAX", too_many_push_configs),
    "exchange": Row("history_max", "TURNKEEPER_HISTORY_MAX_BYTES", long_exchange),
    "late stream": Row("events_kept", "TURNKEEPER_EVENTS_KEPT", late_reader),
    "later": Row("events_kept_age", "TURNKEEPER_EVENTS_KEPT_S", reader_of_last_week),
    "hook": Row("webhook_disabled", "TURNKEEPER_WEBHOOK_ATTEMPTS", receiver_fails),
}

PACE = "how often or how long something is done; nothing is cut by it"
NO_LIMITS = {
    "where something is, or how it is logged": "redis_url control_url redis_tls_verify "
    "redis_ca_cert port host log_level log_format admin_token public_url public_cards "
    "open_loopback",
    PACE: "reap_interval_s sweep_interval_s dispatch_slice_s claims_per_visit stream_ping_s "
    "redeliver_after_s retry_backoff_s retry_backoff_max_s lane_max_wait_s poll_wait_max_s "
    "message_wait_s redis_pool_size invariants_interval_s "
    "webhook_retry_s webhook_retry_max_s webhook_slots a2a_ping_s agent_poll_s agent_poll_max_s "
    "agent_probe_s follow_slots alert_interval_s alert_hold_s alert_repeat_s "
    "scale_ready_per_worker",
    "when a person is told; the condition names limit and measured value": "alert_streak_count "
    "alert_wait_s alert_policy_stale_s",
    "what is told to a scaler or Prometheus at most; the work goes on": "scale_workers_max "
    "metrics_workspaces_max",
    "an agent's answer has no slot, or is late (test_ill_agents.py)": "hold_slots agent_timeout_s",
    "retention of what has ended: a later request for it is told so (404)": "turns_kept "
    "turn_retention_s fires_kept idempotency_ttl_s deliveries_kept token_retention_s",
    "a body that drips: 408, of gunicorn alone (tests/e2e/test_abuse.py)": "body_timeout_s",
    "an address refused, or an attempt cut off: its row says so": "egress_allow webhook_timeout_s",
    "who takes nothing; mechanism=stream_write or stream_silent": "stream_write_timeout_s",
    "the ceiling's first rung; the request names the ceiling": "checkpoint_grace_s",
    "a process that does not stop in time; logged with mechanism=drain": "drain_s",
    "a store that does not answer: 503 store_unavailable": "redis_timeout_s",
    "replicas that do not confirm: 503 not_replicated, LIMIT_HIT in the log": "ack_replicas "
    "ack_timeout_s",
}


@pytest.mark.parametrize("name", ROWS)
def test_a_limit_that_acts_says_so(name: str, platform: Platform, site: Web) -> None:
    row = ROWS[name]
    told = row.hit(Shift.opened(platform), site)
    assert (told["mechanism"], told["setting"]) == (row.mechanism, row.setting)
    (limit,) = [key for key in told if key.startswith("limit_")]
    measured = limit.replace("limit_", "measured_")
    assert told[measured] >= told[limit] > 0, told


def test_every_setting_has_a_row_or_a_reason_why_it_is_no_limit() -> None:
    hit = {row.setting for row in ROWS.values()}
    rest = [name for names in NO_LIMITS.values() for name in names.split()]
    assert len(rest) == len(set(rest))
    with_row = {name for name in Settings.model_fields if env_name(name) in hit}
    assert with_row.isdisjoint(rest)
    assert with_row | set(rest) == set(Settings.model_fields), "a new setting needs either"


def test_control_a_setting_without_a_row_is_found() -> None:
    rest = {name for names in NO_LIMITS.values() for name in names.split()}
    left = {name for name, row in ROWS.items() if row.setting != "TURNKEEPER_CEILING_S"}
    known = {ROWS[name].setting for name in left}
    found = [n for n in Settings.model_fields if n not in rest and env_name(n) not in known]
    assert found == ["ceiling_s"]
