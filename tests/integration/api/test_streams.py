"""Event streams: a snapshot, then every event once and in order, whatever happens between."""

import threading
from collections.abc import Callable
from itertools import islice

import pytest

from app.core import events, keys
from tests.integration.api.conftest import PATIENT, Make, over
from tests.integration.api.streaming import Frame, chunks, parse, reading, stream_of
from tests.support import servers
from tests.support.wait import wait_until
from tests.unit.api.web import Web

STREAM = "/workspaces/w1/events/stream"
KEPT = 100_000  # more than a writer that never pauses appends meanwhile


def say(site: Web, text: str, workspace_id: str = "w1") -> str:
    return events.append(site.platform, workspace_id, "AGENT_MESSAGE", {"text": text})


def stored_ids(site: Web) -> list[str]:
    return [event.id for event in events.after(site.platform, "w1", "0-0", KEPT)]


def test_a_snapshot_comes_first_and_then_events_in_order(site: Web) -> None:
    before = say(site, "before")
    with reading(site) as reader:
        ids = [say(site, str(number)) for number in range(20)]
        reader.wait_for("AGENT_MESSAGE", 20)
        assert [frame.name for frame in reader.frames][0] == "snapshot"
        assert reader.frames[0].id == before
        assert reader.frames[0].data["workspace"]["id"] == "w1"
        assert [frame.id for frame in reader.events()] == ids
        assert [frame.data["payload"]["text"] for frame in reader.events()] == [
            str(number) for number in range(20)
        ]
        assert {frame.data["id"] for frame in reader.events()} == set(ids)


def test_streams_opened_at_any_moment_miss_nothing_and_repeat_nothing(make: Make) -> None:
    """A writer never pauses; each stream is left at a random place and resumed from there."""
    site = make(stream_buffer_count=10_000, events_kept=KEPT)
    site.workspace("w1")
    start, stop = say(site, "start"), threading.Event()

    def write() -> None:
        while not stop.is_set():
            say(site, "x")
            stop.wait(0.0005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen, last = [], start
        for _ in range(25):
            response = stream_of(site, STREAM, last_id=last)
            got: list[str] = []
            for text in chunks(response):
                got += [frame.id for frame in parse(text) if frame.name == "AGENT_MESSAGE"]
                if len(got) > 15:
                    break
            response.close()
            seen += got
            last = seen[-1]
    finally:
        stop.set()
        writer.join()
    whole = stored_ids(site)
    first = whole.index(start) + 1
    assert seen == whole[first : first + len(seen)]


def test_a_stream_without_a_place_is_complete_from_its_snapshot_on(make: Make) -> None:
    site = make(stream_buffer_count=10_000, events_kept=KEPT)
    site.workspace("w1")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            say(site, "x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        runs = []
        for _ in range(25):
            response = stream_of(site, STREAM)
            frames = []
            for text in chunks(response):
                frames += parse(text)
                if len(frames) > 10:
                    break
            response.close()
            runs.append([frame.id for frame in frames if frame.id])
    finally:
        stop.set()
        writer.join()
    whole = stored_ids(site)
    for ids in runs:
        first = whole.index(ids[0])
        assert ids == whole[first : first + len(ids)]


def test_a_heartbeat_arrives_live_and_is_not_stored(site: Web) -> None:
    with reading(site) as reader:
        say(site, "heard")
        reader.wait_for("AGENT_MESSAGE")
        site.ok("POST", "/workspaces/w1/heartbeat", {"active_tasks": 0})
        beat = reader.wait_for("WORKSPACE_HEARTBEAT")
        assert beat.id == "" and beat.data["payload"]["active_tasks"] == 0
        assert beat.data["timestamp"].endswith("Z")
    kept = events.after(site.platform, "w1", "0-0", 100)
    assert "WORKSPACE_HEARTBEAT" not in [event.event for event in kept]


def test_a_slow_reader_is_told_from_where_to_read_again(make: Make) -> None:
    site = make(stream_buffer_count=10)
    site.workspace("w1")
    response = stream_of(site, STREAM)
    frames = chunks(response)
    snapshot = parse(next(frames))[0]
    ids = [say(site, str(number)) for number in range(50)]
    gap = next(frame for text in frames for frame in parse(text) if frame.name == "gap")
    assert gap.data["mechanism"] == "stream_buffer" and gap.data["limit_count"] == 10
    assert gap.data["setting"] == "TURNKEEPER_STREAM_BUFFER_COUNT"
    assert gap.data["resume_from"] == {"w1": snapshot.id}
    after = say(site, "after")
    assert parse(next(frames))[0].id == after, "the stream goes on"
    response.close()
    with reading(site, last_id=gap.data["resume_from"]["w1"]) as reader:
        reader.wait_for("AGENT_MESSAGE", 51)
        assert [frame.id for frame in reader.events()] == [*ids, after]


def test_a_gap_in_one_workspace_costs_another_nothing(make: Make) -> None:
    site = make(stream_buffer_count=10)
    for name in ("w1", "w2"):
        site.workspace(name)
    response = stream_of(site, "/events/stream")
    frames = chunks(response)
    assert [parse(next(frames))[0].name for _ in range(2)] == ["snapshot"] * 2
    quiet = say(site, "quiet", "w1")
    for number in range(50):
        say(site, str(number), "w2")
    seen: list[Frame] = []
    for text in islice(frames, 10):
        seen += parse(text)
        if {"AGENT_MESSAGE", "gap"} <= {frame.name for frame in seen}:
            break
    assert [frame.id for frame in seen if frame.name == "AGENT_MESSAGE"][0] == quiet
    gaps = [frame for frame in seen if frame.name == "gap"]
    assert [list(gap.data["resume_from"]) for gap in gaps] == [["w2"]]
    response.close()


def test_a_place_that_was_trimmed_away_is_told(make: Make) -> None:
    site = make(events_kept=100)
    site.workspace("w1")
    first = say(site, "first")
    for number in range(400):
        say(site, str(number))
    with reading(site, last_id=first) as reader:
        gap = reader.wait_for("gap")
        assert gap.data["mechanism"] == "events_kept"
        oldest = stored_ids(site)[0]
        assert gap.data["resume_from"] == {"w1": oldest}
        wait_until(lambda: len(reader.events()) == len(stored_ids(site)), 15)


def test_more_streams_than_the_bound_are_refused_and_polls_are_not(make: Make) -> None:
    site = make(streams_max=2, waiters_max=1)
    site.workspace("w1")
    open_ones = [stream_of(site, STREAM) for _ in range(2)]
    refused = site.ask("GET", STREAM)
    assert refused.status_code == 503 and int(refused.headers["Retry-After"]) > 0
    told = refused.get_json()
    assert (told["code"], told["setting"]) == ("overloaded", "TURNKEEPER_STREAMS_MAX")
    assert (told["limit_count"], told["measured_count"]) == (2, 2)
    assert site.ok("GET", "/workspaces/w1/turns/next?wait_s=0") == {"turn": None, "directives": []}
    open_ones[0].close()
    stream_of(site, STREAM).close()
    open_ones[1].close()


def test_a_quiet_stream_is_pinged_and_a_stopped_one_says_bye(make: Make) -> None:
    site = make(stream_ping_s=0.1)
    site.workspace("w1")
    with reading(site) as reader:
        reader.wait_for(":", 3)
    assert reader.frames[-1].name == "bye"


def test_a_revoked_token_ends_its_streams(make: Make) -> None:
    site = make(stream_ping_s=0.1)
    site.workspace("w1")
    with reading(site, token=site.token("read")) as reader:
        row = site.ok("GET", "/admin/tokens")["tokens"][0]
        site.ok("DELETE", f"/admin/tokens/{row['id']}")
        assert "token" in reader.wait_for("bye").data["reason"]


def test_a_lost_wake_up_costs_time_and_no_event(make: Make) -> None:
    """Heartbeats, which wake but store nothing, do not put off the look."""
    site = make(stream_ping_s=0.3)
    site.workspace("w1")
    with reading(site) as reader:
        fields = {"event": "AGENT_MESSAGE", "payload": '{"text": "unheard"}'}
        site.platform.clients.data.xadd(keys.of("w1")["events"], fields)

        def beaten() -> list[Frame]:
            site.ok("POST", "/workspaces/w1/heartbeat", {})
            return reader.named("AGENT_MESSAGE")

        (found,) = wait_until(beaten, 10)
        assert found.data["payload"]["text"] == "unheard"


def test_two_instances_hear_each_other(make: Make) -> None:
    one, two = make(), make()
    one.workspace("w1")
    one.send("w1", "work")
    claim = one.bound("w1")
    session = f"/workspaces/w1/sessions/{claim.session.id}"
    fence = {"fence": claim.session.fence}
    with reading(two) as reader:

        def heard() -> list[Frame]:  # a beat is lost on who does not listen yet
            one.ok("POST", "/workspaces/w1/heartbeat", {"active_tasks": 1})
            return reader.named("WORKSPACE_HEARTBEAT")

        wait_until(heard, 10)
        one.ok("POST", f"{session}/start", fence)
        one.ok("POST", f"{session}/finish", fence | {"result": {"text": "done"}})
        assert reader.wait_for("AGENT_MESSAGE").data["payload"]["text"] == "done"


def listeners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "listener"]


def test_nothing_is_left_of_a_stopped_hub(make: Make) -> None:
    site = make()
    site.workspace("w1")

    def listening() -> int:
        rows = site.platform.clients.data.client_list(_type="pubsub")
        return len(rows)

    assert not listeners(), "nothing starts before it is needed"
    with reading(site):
        wait_until(lambda: len(listeners()) == 1 and listening() == 1, 10)
    wait_until(lambda: not listeners() and listening() == 0, 10)
    site.app.extensions["turnkeeper"].stop()  # may be said twice
    late = stream_of(site, STREAM)
    assert [frame.name for text in chunks(late) for frame in parse(text)] == ["snapshot", "bye"]
    late.close()
    assert not listeners()


@pytest.mark.parametrize("way", ["restart", "crash"])
def test_a_stream_goes_on_after_a_restart_of_redis(
    own_redis: servers.RedisServer, way: str
) -> None:
    with over(own_redis, **PATIENT, stream_ping_s=60) as site:
        site.workspace("w1")
        with reading(site) as reader:
            before = say(site, "before")
            reader.wait_for("AGENT_MESSAGE")
            if way == "crash":
                wait_until(lambda: own_redis.client().info("persistence")["aof_enabled"] == 1, 10)
                own_redis.kill9()
                own_redis.start()
            else:
                own_redis.restart()
            after = say(site, "after")
            reader.wait_for("AGENT_MESSAGE", 2, timeout_s=20)
            beats = len(reader.named("WORKSPACE_HEARTBEAT"))
            wait_until(lambda: len(listening_to(site)) == 1, 20)
            site.ok("POST", "/workspaces/w1/heartbeat", {})
            reader.wait_for("WORKSPACE_HEARTBEAT", beats + 1, timeout_s=20)
            said = [frame.id for frame in reader.named("AGENT_MESSAGE")]
            assert said == [before, after]


def listening_to(site: Web) -> list[object]:
    return list(site.platform.clients.data.pubsub_channels("*"))


def test_a_stream_outlives_a_redis_that_stands_still(own_redis: servers.RedisServer) -> None:
    import signal

    with over(own_redis, stream_ping_s=0.2) as site:
        site.workspace("w1")
        with reading(site) as reader:
            own_redis.process.send_signal(signal.SIGSTOP)
            try:
                pings = len(reader.named(":"))
                wait_until(lambda: len(reader.named(":")) > pings, 20)
            finally:
                own_redis.process.send_signal(signal.SIGCONT)
            say(site, "after")
            reader.wait_for("AGENT_MESSAGE", timeout_s=20)


def test_many_readers_of_one_workspace_cost_one_reading(make: Make) -> None:
    site = make()
    site.workspace("w1")
    responses = [stream_of(site, STREAM) for _ in range(20)]
    count: Callable[[], int] = lambda: int(  # noqa: E731
        site.platform.clients.data.info("commandstats").get("cmdstat_xrange", {}).get("calls", 0)
    )
    before = count()
    frames = [chunks(response) for response in responses]
    for text in frames:
        next(text)
    say(site, "once")
    for text in frames:
        assert parse(next(text))[0].data["payload"]["text"] == "once"
    assert count() - before <= 3
    for response in responses:
        response.close()
