"""Everything out as one document and in again: the same twice, ids kept, all checked before."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from app.api import backup as routes
from app.core import backup
from app.core.platform import Platform
from tests.unit.api.test_routes import asked
from tests.unit.api.web import Web, fake_clients, web

CARD = {"name": "SEO", "skills": [{"id": "x"}]}


@pytest.fixture
def other() -> Iterator[Web]:
    """Another, empty platform."""
    with web(fake_clients()) as made:
        yield made


def filled(site: Web) -> None:
    fields = {"name": "SEO", "ceiling_s": 90.5, "max_concurrent": 2, "team": "growth"}
    asked(site, "POST", "/workspaces", {"id": "w1", **fields})
    asked(site, "POST", "/workspaces", {"id": "w2"})
    asked(site, "POST", "/workspaces", {"id": "gone"})
    body = {"id": "w2", "url": "https://me:s3cret@agent:8000/x?y=1", "agent_card": CARD}
    asked(site, "POST", "/registry/register", body)
    asked(site, "DELETE", "/workspaces/gone")
    site.schedule("w1", overlap_policy="skip", ttl_s=60, notes="n", timezone="Europe/Berlin")
    paused = site.schedule("w2", name="tock")
    asked(site, "POST", f"/workspaces/w2/schedules/{paused}/pause", {"reason": "night"})
    asked(site, "POST", "/workspaces/w2/pause", {"reason": "holiday"})
    site.send("w1", "a secret talk")


def exported(site: Web) -> Any:
    return asked(site, "GET", "/admin/export")


def taken(site: Web, document: Any, is_dry: bool = False) -> list[tuple[str, str, str]]:
    answer = asked(site, "POST", f"/admin/import?dry_run={str(is_dry).lower()}", document)
    assert answer["dry_run"] is is_dry
    return [(row["kind"], row["id"], row["outcome"]) for row in answer["items"]]


def stored(site: Web) -> dict[str, Any]:
    data = site.platform.clients.data
    keys = sorted(data.scan_iter(match="tk:{*}:*"))
    return {
        key: data.hgetall(key) if data.type(key) == "hash" else data.type(key)
        for key in keys
        if key.rsplit(":", 1)[1] in ("workspace", "schedules", "due")
    }


def test_an_export_says_everything_but_turns_tokens_and_passwords(site: Web) -> None:
    filled(site)
    document = exported(site)
    assert (document["format"], document["version"]) == ("turnkeeper-backup", 1)
    assert [item["id"] for item in document["workspaces"]] == ["w1", "w2"]
    first, second = document["workspaces"]
    assert (first["ceiling_s"], first["max_concurrent"], first["stall_after_s"]) == (90.5, 2, None)
    assert (second["agent_url"], second["agent_card"]) == ("https://agent:8000/x?y=1", CARD)
    assert (second["is_paused"], second["paused_reason"]) == (True, "holiday")
    assert [item["name"] for item in document["schedules"]] == ["tick", "tock"]
    text = json.dumps(document)
    assert "s3cret" not in text and "secret talk" not in text


def test_what_was_exported_makes_the_same_platform_elsewhere(site: Web, other: Web) -> None:
    filled(site)
    document = exported(site)
    dry = taken(other, document, is_dry=True)
    assert {row[2] for row in dry} == {"created"}
    assert stored(other) == {}
    assert taken(other, document) == dry
    again = exported(other)
    assert {**again, "exported_at": ""} == {**document, "exported_at": ""}
    before = stored(other)
    assert {row[2] for row in taken(other, document)} == {"unchanged"}
    assert stored(other) == before, "twice changes nothing, not even a time"


def test_an_import_over_what_is_there_changes_only_what_differs(site: Web) -> None:
    filled(site)
    document = exported(site)
    tick = document["schedules"][0]
    path = f"/workspaces/w1/schedules/{tick['id']}"
    asked(site, "PATCH", path, {"prompt": "newer", "ttl_s": None})
    asked(site, "PATCH", "/workspaces/w1", {"name": None})
    asked(site, "POST", "/workspaces/w2/resume")
    answer = asked(site, "POST", "/admin/import", document)["items"]
    assert [(row["outcome"], row["changed"]) for row in answer] == [
        ("updated", ["name"]),
        ("updated", ["is_paused", "paused_reason"]),
        ("updated", ["prompt", "ttl_s"]),
        ("unchanged", []),
    ]
    assert asked(site, "GET", path)["prompt"] == "go"
    assert asked(site, "GET", "/workspaces/w2")["paused_reason"] == "holiday"
    url = site.platform.clients.data.hget("tk:{w2}:workspace", "agent_url")
    assert url == "https://me:s3cret@agent:8000/x?y=1", "a password that is there stays"


def test_a_field_that_is_not_named_stays(fake: Web) -> None:
    filled(fake)
    document = {"format": "turnkeeper-backup", "version": 1, "workspaces": [{"id": "w1"}]}
    assert taken(fake, document) == [("workspace", "w1", "unchanged")]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"version": 2, "novel": {}}, "version 2 is not known: this release reads up to 1"),
        ({"version": True}, "version true is not known"),
        ({"version": None}, "version null is not known"),
        ({"format": "crontab"}, 'this is no turnkeeper-backup: its format is "crontab"'),
    ],
)
def test_an_unknown_format_is_refused_by_name(
    fake: Web, change: dict[str, Any], detail: str
) -> None:
    filled(fake)
    answer = fake.ask("POST", "/admin/import", exported(fake) | change)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "unknown_format")
    assert detail in answer.get_json()["detail"]


BAD = [
    ("schedules", {"cron_expr": "61 * * * *"}, "cron_expr"),
    ("schedules", {"timezone": "Mars"}, "timezone"),
    ("schedules", {"overlap_policy": "no"}, "overlap_policy"),
    ("schedules", {"id": "a:b"}, "id"),
    ("schedules", {"novel": 1}, "novel"),
    ("workspaces", {"id": "no/slash"}, "id"),
    ("workspaces", {"ceiling_s": -1}, "ceiling_s"),
]


@pytest.mark.parametrize(("kind", "change", "field"), BAD)
def test_one_broken_rule_and_nothing_is_applied(
    site: Web, other: Web, kind: str, change: dict[str, Any], field: str
) -> None:
    filled(site)
    document = exported(site)
    document[kind][1] |= change
    answer = other.ask("POST", "/admin/import", document)
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == f"{kind}.1.{field}"
    assert stored(other) == {}


def test_an_id_that_stands_twice_is_refused(fake: Web) -> None:
    filled(fake)
    document = exported(fake)
    document["workspaces"] *= 2
    answer = fake.ask("POST", "/admin/import", document)
    assert "stands twice" in answer.get_json()["detail"]


def test_what_cannot_be_applied_is_refused_alone_with_its_reason(site: Web) -> None:
    filled(site)
    document = exported(site)
    lost = {**document["schedules"][0], "id": "sch_lost", "workspace_id": "nowhere"}
    document["workspaces"].append({"id": "gone"})
    document["schedules"].append(lost)
    document["memories"] = [{"id": "mem_1", "scope": "GLOBAL", "content": "x"}]
    for is_dry in ("true", "false"):
        rows = asked(site, "POST", f"/admin/import?dry_run={is_dry}", document)["items"]
        told = {row["id"]: row["reason"] for row in rows if row["outcome"] == "refused"}
        assert told == {
            "gone": "the workspace was removed; its id is not given again",
            "sch_lost": "No workspace has this id.",
            "mem_1": "memories: this release keeps no memories",
        }


def test_a_document_with_too_many_items_names_the_limit() -> None:
    with web(fake_clients(), import_max_count=2) as small:
        filled(small)
        answer = small.ask("POST", "/admin/import", exported(small)).get_json()
        assert (answer["mechanism"], answer["measured_count"]) == ("import_max", 4)


class Kept:
    """Memories in a dict, as any store of them is put to use."""

    def __init__(self) -> None:
        self.rows: dict[str, Mapping[str, Any]] = {}

    def records(self, platform: Platform, workspace_ids: Sequence[str]) -> Iterator[backup.Item]:
        assert list(workspace_ids) == ["w1", "w2"]
        return iter([dict(row) for row in self.rows.values()])

    def put(self, platform: Platform, record: Mapping[str, Any], is_dry: bool) -> str:
        known = self.rows.get(record["id"])
        if not is_dry:
            self.rows[record["id"]] = record
        return "unchanged" if known == record else "updated" if known else "created"


def test_memories_go_out_and_in_with_their_ids(fake: Web) -> None:
    filled(fake)
    kept, empty = Kept(), Kept()
    for scope, owner in (("LOCAL", {"workspace_id": "w1"}), ("TEAM", {"team": "growth"})):
        record = {"id": f"mem_{scope}", "scope": scope, "content": "x", "namespace": "n", **owner}
        kept.rows[str(record["id"])] = record
    out = list(backup.items(fake.platform, kept))
    document = {kind: [item for name, item in out if name == kind] for kind in routes.KINDS}
    backup.check(document)
    for outcome in ("created", "unchanged"):
        rows = backup.take(fake.platform, document, empty, is_dry=False)
        assert [row.outcome for row in rows if row.kind == "memory"] == [outcome] * 2
    assert empty.rows == kept.rows


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, None),
        ("", None),
        ("http://a", "http://a"),
        ("http://u:p@a:1/x", "http://a:1/x"),
        ("http://u:p@b@a/", "http://a/"),
        ("http://[bad", None),
    ],
)
def test_an_address_loses_its_password(url: str | None, shown: str | None) -> None:
    assert backup.without_password(url) == shown
