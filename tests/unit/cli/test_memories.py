import json

from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_api import FakeApi

PATH = "/workspaces/seo/memories"
ROW = {"id": "mem_1", "scope": "TEAM", "namespace": "", "key": None, "version": 1, "seq": 1,
       "at": "2026-03-01T12:00:00.000Z", "author": "me", "content": "be \x1b[31mkind",
       "redactions": {}}  # fmt: skip
PAGE = {"memories": [ROW], "total": 3, "returned": 1, "is_complete": False, "next": "abc"}


def test_a_list_says_how_much_is_left_and_how_to_go_on(api: FakeApi, run: Run) -> None:
    api.on("GET", PATH, (200, PAGE))
    result = run("memories", "ls", "seo", "--scope", "team", "--limit", "1")
    assert api.last().query == {"scope": ["TEAM"], "limit": ["1"]}
    assert "mem_1" in result.stdout and "\x1b" not in result.stdout
    assert "1 of 3 shown" in result.stderr and "--cursor abc" in result.stderr
    assert json.loads(run("-o", "json", "memories", "ls", "seo").stdout) == [ROW]


def test_recall_sends_its_words(api: FakeApi, run: Run) -> None:
    api.on("GET", PATH, (200, {**PAGE, "memories": [], "next": None}))
    result = run("memories", "recall", "seo", "what about prices?", "--namespace", "n")
    assert api.last().query["query"] == ["what about prices?"]
    assert "no memories" in result.stderr


def test_commit_reads_stdin_and_names_the_secrets_taken_out(api: FakeApi, run: Run) -> None:
    api.on("POST", PATH, (201, {**ROW, "redactions": {"jwt": 2}}))
    result = run("memories", "commit", "seo", "-", "--key", "rule", stdin="be kind")
    assert api.last().body == {"content": "be kind", "key": "rule"}
    assert result.stdout.strip() == "mem_1 version 1 (TEAM); secrets taken out: 2 jwt"
    assert run("memories", "commit", "seo", " ").exit_code == 2


def test_rm_removes_by_id(api: FakeApi, run: Run) -> None:
    api.on("DELETE", f"{PATH}/mem_1", (200, {"status": "ok", "id": "mem_1", "seq": 2}))
    assert run("memories", "rm", "seo", "mem_1").exit_code == 0
    assert run("memories", "rm", "seo", "mem_2").exit_code == 3


def test_a_workspace_says_in_a_line_how_far_its_session_is_behind(api: FakeApi, run: Run) -> None:
    policy = {"running_prompt_version": 7, "current_prompt_version": 8, "unseen_memories": 2,
              "stale_for_s": 7800.0, "session_id": "ses_1"}  # fmt: skip
    api.on("GET", "/workspaces/seo", (200, {"id": "seo", "policy": policy}))
    line = "session ses_1 is behind for 2 h 10 min: prompt 7 → 8, memories unseen: 2"
    assert line in run("workspaces", "show", "seo").stdout
    assert json.loads(run("-o", "json", "workspaces", "show", "seo").stdout)["policy"] == policy
    api.on("GET", "/workspaces/seo", (200, {"id": "seo", "policy": {**policy, "stale_for_s": None,
           "unseen_memories": 0, "current_prompt_version": 7}}))  # fmt: skip
    assert "is up to date" in run("workspaces", "show", "seo").stdout
