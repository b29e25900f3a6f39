"""A child that no signal ends."""

import threading
from pathlib import Path
from typing import Any

import psutil

from runtime.agents.base import Command
from runtime.agents.plain import PlainAgent
from runtime.chats import Chats
from runtime.children import Children
from runtime.client import Platform, Token
from runtime.guard import Guard
from runtime.killer import Killer
from runtime.session import Host, Session
from runtime.settings import RuntimeSettings
from runtime.spool import Spool
from runtime.wire import Directive, parse_turn

from .conftest import WORKSPACE
from .fake_platform import FakePlatform, wait_until


class GivesUp(Killer):
    """As if the child ran as another user: no signal reaches it."""

    def start(self, rungs: Any, why: str) -> None:
        self.left = (f"{self._target.pid} sleep",)

    def clean_up(self) -> None:
        return


def test_a_session_whose_child_would_not_die_ends_and_says_what_is_left(
    platform: FakePlatform, settings: RuntimeSettings, tmp_path: Path
) -> None:
    client = Platform(platform.url, WORKSPACE, Token("t"), "i")
    children = Children()
    left: list[str] = []
    guard = Guard(children)
    host = Host(
        workspace_id=WORKSPACE,
        settings=settings,
        command=Command(("sleep", "30")),
        make_agent=PlainAgent,
        chats=Chats(tmp_path, WORKSPACE, "plain", resumes_chat=False),
        platform=client,
        spool=Spool(tmp_path, WORKSPACE, 2**20),
        children=children,
        guard=guard,
        find_strays=list,
        groups_in=None,
        on_directives=lambda orders: None,
        on_left=left.extend,
        make_killer=GivesUp,
    )
    turn = parse_turn({"session_id": "ses_s", "turn_id": "trn_s", "fence": 1, "prompt": ""})
    session = Session(turn, host)
    work = threading.Thread(target=session.run)
    work.start()
    pids = wait_until(lambda: [c.pid for c in psutil.Process().children() if c.name() == "sleep"])
    session.direct(Directive("cancel", "ses_s", 1, reason="no longer wanted"))
    work.join(5)
    is_stuck = work.is_alive()
    for pid in pids:
        psutil.Process(pid).kill()
    work.join(5)
    guard.close()
    client.close()
    assert not is_stuck
    assert platform.finish_of("ses_s")["outcome"] == "canceled"
    assert left == [f"{pids[0]} sleep"]
