"""The official library of MCP, over HTTP and through the shim, in both eras."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from tests.integration.clients.test_clients import HERE, python_with
from tests.unit.api.mcp.calls import Agent, running
from tests.unit.api.mcp.test_protocol import TOOLS
from tests.unit.api.web import fake_clients, web

SDK = "mcp==2.3.0"
VERSIONS = {"auto": "2026-07-28", "legacy": "2025-11-25"}


@contextmanager
def served() -> Iterator[tuple[Agent, str]]:
    """A running session, and where its platform listens."""
    with web(fake_clients()) as site:
        agent = running(site, context_id="c")
        server = make_server("127.0.0.1", 0, site.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield agent, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def told_by(agent: Agent, url: str, kind: str, mode: str, folder: Path) -> Any:
    env = {
        **os.environ,
        "TURNKEEPER_URL": url,
        "TURNKEEPER_TOKEN": agent.token,
        "TURNKEEPER_WORKSPACE": "w1",
    }
    shim = [str(Path(sys.executable).with_name("turnkeeper")), "mcp"]
    words = [python_with(SDK), str(HERE / "client_mcp.py"), kind, mode, f"{url}/workspaces/w1/mcp"]
    done = subprocess.run(
        [*words, *shim], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", ["http", "stdio"])
@pytest.mark.parametrize("mode", VERSIONS)
def test_the_official_library_finds_and_calls_every_tool(
    kind: str, mode: str, tmp_path: Path
) -> None:
    with served() as (agent, url):
        told = told_by(agent, url, kind, mode, tmp_path)
    assert (told["version"], told["tools"]) == (VERSIONS[mode], TOOLS)
    assert told["instructions"]
    assert told["unknown"] == -32602
    assert [row[:2] for row in told["answers"]] == [
        ["commit_memory", False],
        ["recall_memory", False],
        ["get_policy", False],
        ["report_progress", False],
        ["checkpoint", False],
        ["send_message_to_user", False],
        ["report_progress", True],
    ]
    assert told["answers"][1][2]["memories"][0]["content"] == f"from {mode}"
    for _, _, structured, parts in told["answers"]:
        assert structured["policy_version"] == "local1.global0"
        assert json.loads(parts[0]) == structured
        assert "policy_version: local1.global0" in parts[1]
