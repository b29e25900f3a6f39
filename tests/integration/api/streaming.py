"""Reads an event stream of a test client in a thread."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.wait import wait_until
from tests.unit.api.web import ADMIN, Web


@dataclass(frozen=True)
class Frame:
    """One SSE event; a comment has the name ``:``."""

    name: str
    data: Any
    id: str


def parse(text: str) -> list[Frame]:
    """The frames of a text."""
    frames = []
    for block in filter(None, text.split("\n\n")):
        if block.startswith(":"):
            frames.append(Frame(":", None, ""))
            continue
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        frames.append(Frame(fields["event"], json.loads(fields["data"]), fields.get("id", "")))
    return frames


@dataclass
class Reader:
    """What a stream has said so far."""

    frames: list[Frame] = field(default_factory=list)

    def events(self) -> list[Frame]:
        """Without snapshots, comments and heartbeats."""
        other = ("snapshot", ":", "WORKSPACE_HEARTBEAT", "bye", "gap")
        return [frame for frame in self.frames if frame.name not in other]

    def named(self, name: str) -> list[Frame]:
        """The frames of one name."""
        return [frame for frame in self.frames if frame.name == name]

    def wait_for(self, name: str, count: int = 1, timeout_s: float = 15) -> Frame:
        """The ``count``-th frame of this name."""
        wait_until(lambda: len(self.named(name)) >= count, timeout_s)
        return self.named(name)[count - 1]


def stream_of(site: Web, path: str, last_id: str = "", token: str = ADMIN) -> Any:
    """A stream's response; it is read as it comes."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    response = site.ask("GET", path, token=token, headers=headers)
    assert response.status_code == 200, response.text
    assert response.mimetype == "text/event-stream"
    return response


def chunks(response: Any) -> Iterator[str]:
    """The text as it comes."""
    for chunk in response.response:
        yield chunk.decode() if isinstance(chunk, bytes) else chunk


@contextmanager
def reading(
    site: Web, path: str = "/workspaces/w1/events/stream", last_id: str = "", token: str = ADMIN
) -> Iterator[Reader]:
    """Read a stream from its snapshot on, until the application is stopped on leaving."""
    reader = Reader()
    response = stream_of(site, path, last_id, token)

    def read() -> None:
        for text in chunks(response):
            reader.frames += parse(text)
        response.close()

    thread = threading.Thread(target=read, name="reader")
    thread.start()
    try:
        reader.wait_for("snapshot")
        yield reader
    finally:
        site.app.extensions["turnkeeper"].stop()
        thread.join(15)
        assert not thread.is_alive(), "the stream did not end"
