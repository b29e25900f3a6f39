"""Recall: ranked or newest first, complete or with the place where it goes on."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core import memories, memory_index
from app.core.errors import InvalidInput, SearchUnavailable
from app.core.memories import Draft, Memory
from app.core.memory_index import Indexes, match_of
from app.core.platform import Platform
from app.core.recall import Question, Recalled, recall
from tests.support.world import new_workspace, virtual_platform

WS = "ws"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with virtual_platform(NOON) as here:
        new_workspace(here, WS, team="red")
        yield here


@pytest.fixture
def indexes() -> Iterator[Indexes]:
    made = Indexes()
    yield made
    made.close()


def write(platform: Platform, text: str, **fields: Any) -> Memory:
    platform.clock.wait(platform.stopping, 1)
    return memories.commit(platform, WS, Draft(text, **fields))[0]


def texts(found: Recalled) -> list[str]:
    return [one.text for one in found.memories]


def walk(platform: Platform, indexes: Indexes, **asked: Any) -> list[list[str]]:
    """Every page of an answer."""
    pages, cursor = [], ""
    while True:
        found = recall(platform, indexes, WS, Question(cursor=cursor, **asked))
        pages.append(texts(found))
        if found.next is None:
            return pages
        cursor = found.next


def test_without_a_query_all_three_stores_come_as_one_list_newest_first(
    platform: Platform, indexes: Indexes
) -> None:
    for at, scope in enumerate(["LOCAL", "TEAM", "GLOBAL", "LOCAL", "GLOBAL", "TEAM"]):
        write(platform, f"m{at}", scope=scope)
    found = recall(platform, indexes, WS, Question())
    assert texts(found) == ["m5", "m4", "m3", "m2", "m1", "m0"]
    assert (found.total, found.is_complete, found.next) == (6, True, None)
    assert texts(recall(platform, indexes, WS, Question(scopes=("TEAM",)))) == ["m5", "m1"]
    assert walk(platform, indexes, limit=4) == [["m5", "m4", "m3", "m2"], ["m1", "m0"]]


@pytest.mark.parametrize("asked", [{}, {"namespace": "n"}, {"query": "note"}])
@pytest.mark.parametrize("count", [0, 1, 10, 20, 51, 130])
def test_pages_hold_every_memory_once(
    platform: Platform, indexes: Indexes, count: int, asked: dict[str, str]
) -> None:
    for at in range(count):
        scope = random.Random(at).choice(["LOCAL", "TEAM", "GLOBAL"])
        memories.commit(platform, WS, Draft(f"note {at}", scope, "n"))
    pages = walk(platform, indexes, limit=20, **asked)
    assert sorted(text for page in pages for text in page) == sorted(
        f"note {at}" for at in range(count)
    )
    assert [len(page) for page in pages[:-1]] == [20] * (len(pages) - 1)
    assert recall(platform, indexes, WS, Question(limit=20, **asked)).total == count


def test_writes_between_two_pages_move_no_page(platform: Platform, indexes: Indexes) -> None:
    for asked in ({}, {"namespace": ""}):
        made = [write(platform, f"m{at}") for at in range(6)]
        first = recall(platform, indexes, WS, Question(limit=3, **asked))
        write(platform, "later")
        memories.delete(platform, WS, made[2].id)
        rest = recall(platform, indexes, WS, Question(limit=2, cursor=first.next or "", **asked))
        assert (texts(first), texts(rest)) == (["m5", "m4", "m3"], ["m1", "m0"])


def test_a_query_is_answered_by_rank_and_of_equals_the_newest_is_first(
    platform: Platform, indexes: Indexes
) -> None:
    write(platform, "prices change on Monday")
    write(platform, "the cat sleeps")
    write(platform, "prices prices prices")
    write(platform, "a long story in which prices are named once among a great many other words")
    write(platform, "prices change on Monday")
    found = recall(platform, indexes, WS, Question("price"))
    assert texts(found)[0] == "prices prices prices"
    same = [one for one in found.memories if one.text == "prices change on Monday"]
    assert [one.seq for one in same] == [5, 1]
    assert (found.total, len(found.memories)) == (4, 4)


def test_an_answer_holds_every_write_and_removal_before_the_question(
    platform: Platform, indexes: Indexes
) -> None:
    def ask(query: str) -> list[str]:
        return texts(recall(platform, indexes, WS, Question(query)))

    first = write(platform, "red apples", key="fruit")
    assert ask("apples") == ["red apples"]
    write(platform, "green pears", key="fruit")
    assert (ask("apples"), ask("pears")) == ([], ["green pears"])
    memories.delete(platform, WS, first.id)
    assert ask("pears") == []
    write(platform, "blue plums", key="fruit")
    assert ask("plums pears apples") == ["blue plums"]


def test_a_second_process_and_one_that_was_away_answer_alike(platform: Platform) -> None:
    near, away = Indexes(), Indexes()
    for at in range(30):
        write(platform, f"word{at % 3} number {at}")
    assert recall(platform, away, WS, Question("word1")).total == 10
    made = [write(platform, f"word1 later {at}", key=str(at)) for at in range(40)]
    for memory in made[::2]:
        memories.delete(platform, WS, memory.id)
    for _ in range(3):
        found = [recall(platform, one, WS, Question("word1")) for one in (near, away, Indexes())]
        assert found[0] == found[1] == found[2]
        write(platform, "word1 again", key="0")
    near.close()
    away.close()


def test_an_index_far_behind_is_built_anew(
    platform: Platform, indexes: Indexes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_index, "CHANGES_MAX", 5)
    made = [write(platform, f"word {at}") for at in range(3)]
    assert recall(platform, indexes, WS, Question("word")).total == 3
    for memory in made:
        memories.delete(platform, WS, memory.id)
    for at in range(9):
        write(platform, f"word {at}")
    assert recall(platform, indexes, WS, Question("word")).total == 9


ODD = [
    *('"', '""', "'", "a OR", "AND", "NOT x", "NEAR(a b)", "a*", "*", "(", ")", "a:b", "content:x"),
    *("^a", "-a", "+", "{}", "\x00", "a\x00b", "\\", "日本語", "🔥", "ß", "  ", "a" * 1000),
    "; DROP TABLE memory",
]


@pytest.mark.parametrize("query", ODD)
def test_no_text_is_an_operator_or_an_error(
    platform: Platform, indexes: Indexes, query: str
) -> None:
    write(platform, f"about {query} itself")
    write(platform, "something else")
    found = recall(platform, indexes, WS, Question(query))
    assert found.total in (0, 1, 2)
    if query.strip("\"'()*+-{}\\^\x00🔥 "):
        assert texts(found)[0].startswith("about"), "found by its own words"


def test_a_word_of_a_script_without_spaces_finds_the_longer_one(
    platform: Platform, indexes: Indexes
) -> None:
    write(platform, "日本語で書く")
    assert recall(platform, indexes, WS, Question("日本")).total == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(query=st.text(max_size=60))
def test_any_text_is_a_question(platform: Platform, indexes: Indexes, query: str) -> None:
    recall(platform, indexes, WS, Question(query))


def test_control_a_text_taken_as_it_is_breaks_the_search() -> None:
    import sqlite3

    with sqlite3.connect(":memory:") as connection:
        connection.executescript(memory_index.TABLES)
        for query in ('"', "NEAR(", "a OR"):
            with pytest.raises(sqlite3.OperationalError):
                connection.execute(memory_index.RANKED, (query, None)).fetchall()
            connection.execute(memory_index.RANKED, (match_of(query) or '"x"', None)).fetchall()
    connection.close()


@pytest.mark.parametrize("cursor", ["x", "e30=", "WzFd", "//", "ä", "bnVsbA=="])
def test_a_cursor_of_nothing_is_refused(platform: Platform, indexes: Indexes, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        recall(platform, indexes, WS, Question(cursor=cursor))


def test_a_cursor_of_another_question_is_refused(platform: Platform, indexes: Indexes) -> None:
    for at in range(3):
        write(platform, f"m{at}")
    cursor = recall(platform, indexes, WS, Question(limit=1)).next or ""
    with pytest.raises(InvalidInput):
        recall(platform, indexes, WS, Question("m1", cursor=cursor))


def test_a_page_is_bounded_in_bytes_and_says_where_it_goes_on(
    platform: Platform, indexes: Indexes
) -> None:
    for at in range(40):
        write(platform, f"word {at} " + "x" * 30_000)
    for asked in ({}, {"query": "word"}, {"namespace": ""}):
        pages = walk(platform, indexes, limit=1000, **asked)
        assert len(pages) == 2 and sum(map(len, pages)) == 40


def test_the_indexes_of_a_process_are_bounded(platform: Platform) -> None:
    from app.core.memory_stores import Store

    made = Indexes()
    first = made.of(Store("LOCAL", "w0"))
    for at in range(memory_index.INDEXES_KEPT + 1):
        made.of(Store("LOCAL", f"w{at}"))
    assert made.of(Store("LOCAL", "w0")) is not first
    made.close()


def test_where_sqlite_cannot_search_it_is_said_plainly_and_lists_still_work(
    platform: Platform, indexes: Indexes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory_index.fault() == ""
    write(platform, "listed")
    missing = memory_index.TABLES.replace("fts5", "no_such_module")
    monkeypatch.setattr(memory_index, "TABLES", missing)
    assert "no such module" in memory_index.fault()
    with pytest.raises(SearchUnavailable):
        recall(platform, indexes, WS, Question("listed"))
    assert texts(recall(platform, indexes, WS, Question())) == ["listed"]
