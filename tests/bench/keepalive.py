"""A keep-alive HTTP connection under gevent that costs little: the load is not what is measured."""

import json
from collections import Counter
from typing import Any, ClassVar

import gevent.socket

from tests.support.wait import let_pass

ATTEMPTS, RETRY_S = 20, 0.5


class Connection:
    """One request after another to one port of this machine, with a token."""

    refused: ClassVar[Counter[str]] = (
        Counter()
    )  # of all connections: the last word of the path -> 503s

    def __init__(
        self, port: int, token: str, timeout_s: float = 60, attempts: int = ATTEMPTS
    ) -> None:
        self._token, self._attempts = token, attempts
        self._socket = gevent.socket.create_connection(("127.0.0.1", port), timeout_s)
        self._reader = self._socket.makefile("rb")

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; AssertionError with status and text when it is not 2xx.

        503 says that nothing was accepted: asked again where there are attempts left, and counted.
        """
        status, text = b"503", b""
        for _ in range(self._attempts):
            self._socket.sendall(self._request(method, path, body))
            status, text = self._answer()
            if status != b"503":
                break
            self.refused[path.rsplit("/", 1)[-1]] += 1
            let_pass(RETRY_S)
        assert status.startswith(b"2"), (method, path, status, text[:300])
        return json.loads(text) if text else None

    def _answer(self) -> tuple[bytes, bytes]:
        status, length = self._reader.readline()[9:12], 0
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line[15:])
        return status, self._reader.read(length)

    def _request(self, method: str, path: str, body: Any) -> bytes:
        text = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        return head.encode() + text
