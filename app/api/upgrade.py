"""The opening handshake of a WebSocket (RFC 6455, section 4), and the token that comes with it."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from flask import Request
from wsproto.utilities import generate_accept_token

from app.core.errors import InvalidInput, TurnkeeperError

VERSION = "13"
# Offered beside the token itself, and the one that is accepted: a browser has no other way.
BEARER = "bearer"
KEY_BYTES = 16


class UpgradeRequired(TurnkeeperError):
    """This address speaks WebSocket only."""

    code = "upgrade_required"


@dataclass(frozen=True)
class Asked:
    """A handshake that may be accepted; ``socket`` is the connection it came by."""

    key: bytes
    subprotocol: str
    socket: Any

    def accepted(self) -> bytes:
        """The answer after which both sides speak frames."""
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + generate_accept_token(self.key),
        ]
        if self.subprotocol:
            lines.append(b"Sec-WebSocket-Protocol: " + self.subprotocol.encode())
        return b"\r\n".join([*lines, b"", b""])


def is_asked(request: Request) -> bool:
    """Whether a request wants to become a WebSocket."""
    words = [word.strip() for word in request.headers.get("Connection", "").lower().split(",")]
    return "upgrade" in words and request.headers.get("Upgrade", "").lower() == "websocket"


def asked(request: Request) -> Asked:
    """The handshake of this request.

    Raises:
        UpgradeRequired: it is none, or of another version.
        InvalidInput: its key is none.
    """
    if not is_asked(request) or request.headers.get("Sec-WebSocket-Version") != VERSION:
        raise UpgradeRequired(f"a WebSocket handshake of version {VERSION}")
    environ = request.environ
    socket = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if socket is None:
        raise UpgradeRequired("this server cannot hand a connection over")
    key = request.headers.get("Sec-WebSocket-Key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        raise InvalidInput("Sec-WebSocket-Key", f"{KEY_BYTES} bytes as base64")
    return Asked(key.encode(), BEARER if token(request) else "", socket)


def token(request: Request) -> str | None:
    """The token that is offered as a subprotocol, after ``bearer``."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    kind, text = (offered[0].strip(), offered[1].strip()) if len(offered) == 2 else ("", "")
    return text if kind.lower() == BEARER and text else None
