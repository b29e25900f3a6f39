"""The Model Context Protocol as far as a server of tools needs it. Pure: no request, no store.

Two eras on one URL. 2026-07-28 has no handshake: every request says its version in ``_meta`` and
in headers (https://modelcontextprotocol.io/specification/2026-07-28). Clients of 2024-11-05 to
2025-11-25 ask ``initialize`` first; here it leaves nothing behind.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STATELESS = ("2026-07-28",)
HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
SUPPORTED = STATELESS + HANDSHAKE
UNSAID = "2025-03-26"  # a request of the handshake's time without a version header

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
INTERNAL_ERROR, HEADER_MISMATCH, UNSUPPORTED_VERSION = -32603, -32020, -32022
STATUS = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    METHOD_NOT_FOUND: 404,
    INVALID_PARAMS: 400,
    INTERNAL_ERROR: 500,
    HEADER_MISMATCH: 400,
    UNSUPPORTED_VERSION: 400,
}
# What the handshake's time answers with 200: its clients take a 404 for an ended session.
OLD_STATUS = STATUS | {METHOD_NOT_FOUND: 200, INVALID_PARAMS: 200}

META = "io.modelcontextprotocol/"
VERSION_KEY, CAPABILITIES_KEY = META + "protocolVersion", META + "clientCapabilities"
SERVER_KEY = META + "serverInfo"
_ENCODED = re.compile(r"=\?base64\?(?P<text>[A-Za-z0-9+/=]*)\?=")


class RpcError(Exception):
    """A request that is answered with a JSON-RPC error.

    ``status`` is what the stateless era answers with; ``is_stateless``: whether it is that era.
    """

    def __init__(self, code: int, message: str, data: Any = None, is_stateless: bool = True):
        super().__init__(message)
        self.code, self.message, self.data = code, message, data
        self.is_stateless = is_stateless

    @property
    def status(self) -> int:
        """The HTTP status that goes with it."""
        return (STATUS if self.is_stateless else OLD_STATUS)[self.code]

    def told(self) -> dict[str, Any]:
        """The ``error`` member."""
        told = {"code": self.code, "message": self.message}
        return told if self.data is None else told | {"data": self.data}


@dataclass(frozen=True)
class Call:
    """A request to be answered, in the words of its era's ``version``."""

    id: str | int
    method: str
    version: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_stateless(self) -> bool:
        """Whether its client knows no handshake."""
        return self.version in STATELESS


def id_of(body: Any) -> str | int | None:
    """The id to answer under; None where there is none that could be."""
    given = body.get("id") if isinstance(body, dict) else None
    return given if isinstance(given, str | int) and not isinstance(given, bool) else None


def read(body: Any, headers: Mapping[str, str]) -> Call | None:
    """The request in a body; None for what is only to be acknowledged: a notification, an answer.

    Args:
        headers: by their names in small letters.

    Raises:
        RpcError.
    """
    if not isinstance(body, dict):
        raise RpcError(INVALID_REQUEST, "one JSON-RPC message; batches are not supported")
    if body.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'jsonrpc: exactly "2.0"')
    is_answer = "method" not in body and ("result" in body) != ("error" in body)
    if is_answer and "id" in body and not _is_stateless(body, headers):
        return None
    method = body.get("method")
    if not isinstance(method, str) or not method:
        raise RpcError(INVALID_REQUEST, "method: a text is required")
    if "id" not in body:
        _check_version(headers)
        return None
    if id_of(body) is None:
        raise RpcError(INVALID_REQUEST, "id: a text or a whole number")
    if _is_stateless(body, headers):
        return _stateless(body, headers)
    params = body.get("params", {})
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params: an object", is_stateless=False)
    if method != "initialize":  # that one negotiates in its body
        _check_version(headers)
    version = headers.get("mcp-protocol-version", UNSAID)
    return Call(body["id"], method, HANDSHAKE[0] if method == "initialize" else version, params)


def negotiated(params: Mapping[str, Any]) -> str:
    """The version that ``initialize`` is answered with: the asked one, else our newest of its era.

    Raises:
        RpcError.
    """
    asked = params.get("protocolVersion")
    if not isinstance(asked, str):
        raise RpcError(INVALID_PARAMS, "protocolVersion: a text is required", is_stateless=False)
    return asked if asked in HANDSHAKE else HANDSHAKE[0]


def _check_version(headers: Mapping[str, str]) -> None:
    named = headers.get("mcp-protocol-version")
    if named is not None and named not in SUPPORTED:
        raise _unsupported(named)


def _unsupported(asked: str) -> RpcError:
    data = {"supported": list(SUPPORTED), "requested": asked[:100]}
    return RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def _meta(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    params = body.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else None


def _is_stateless(body: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """The new era speaks where anything of it is said: the header, the envelope, its own method."""
    is_said = VERSION_KEY in (_meta(body) or {}) or body.get("method") == "server/discover"
    return is_said or headers.get("mcp-protocol-version") in STATELESS


def _stateless(body: Mapping[str, Any], headers: Mapping[str, str]) -> Call:
    """The specification's order: the envelope, then the headers against it, then the version."""
    meta, method = _meta(body), body["method"]
    missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in (meta or {})]
    if meta is None or missing:
        raise RpcError(INVALID_PARAMS, f"params._meta: {' and '.join(missing)} are required")
    version = meta[VERSION_KEY]
    if headers.get("mcp-protocol-version") != version:
        raise RpcError(HEADER_MISMATCH, "MCP-Protocol-Version is not what params._meta says")
    if headers.get("mcp-method") != method:
        raise RpcError(HEADER_MISMATCH, "Mcp-Method is not the method of the body")
    name = body["params"].get("name")
    if method == "tools/call" and name is not None and _decoded(headers.get("mcp-name")) != name:
        raise RpcError(HEADER_MISMATCH, "Mcp-Name is not the name of the body")
    if version not in STATELESS:
        raise _unsupported(version)
    return Call(body["id"], method, version, body["params"])


def _decoded(value: str | None) -> str | None:
    """A header's text; one that does not fit a header comes as ``=?base64?…?=``."""
    found = _ENCODED.fullmatch(value) if value is not None else None
    if found is None:
        return value
    try:
        return base64.b64decode(found["text"], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
