"""``turnkeeper mcp``: the platform's MCP route for clients that start a server of their own.

One JSON-RPC message a line on standard input, the answers on standard output in the same order,
and nothing else there. Holds no state: what the headers of 2026-07-28 say is read from each
message. That the platform is away is an answer, not an end; the end of standard input is the end.
"""

import base64
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import httpx

from runtime.client import LOOPBACK_NAMES
from runtime.settings import process_environ

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 5.0, 60.0
LINE_MAX_BYTES = 1_048_576
PARSE_ERROR, INVALID_REQUEST, AWAY, REFUSED = -32700, -32600, -32000, -32001
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
NEEDED = ("TURNKEEPER_URL", "TURNKEEPER_TOKEN", "TURNKEEPER_WORKSPACE")


@dataclass(frozen=True)
class Options:
    """Where the route is, and for whom it is called."""

    url: str
    token: str = field(repr=False)
    session_id: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Options":
        """Raises: ValueError naming what is not set."""
        missing = [name for name in NEEDED if not environ.get(name)]
        if missing:
            raise ValueError(f"not set: {', '.join(missing)}")
        base, workspace_id = environ["TURNKEEPER_URL"].rstrip("/"), environ["TURNKEEPER_WORKSPACE"]
        return cls(
            f"{base}/workspaces/{quote(workspace_id, safe='')}/mcp",
            environ["TURNKEEPER_TOKEN"],
            environ.get("TURNKEEPER_SESSION_ID", ""),
        )


def main() -> int:
    """Forward until standard input ends; 2 when the environment does not say where to."""
    try:
        options = Options.from_env(process_environ())
    except ValueError as error:
        print(f"turnkeeper mcp: {error}", file=sys.stderr)
        return 2
    is_loopback = urlsplit(options.url).hostname in LOOPBACK_NAMES
    timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with httpx.Client(trust_env=not is_loopback, timeout=timeout) as http:
            serve(sys.stdin.buffer, sys.stdout.buffer, http, options)
    except (BrokenPipeError, KeyboardInterrupt):
        return 0  # the client has gone
    return 0


def serve(source: BinaryIO, sink: BinaryIO, http: httpx.Client, options: Options) -> None:
    """Answer each line in its turn. Raises: BrokenPipeError."""
    while line := source.readline(LINE_MAX_BYTES + 1):
        measured_bytes = len(line)
        while len(line) > LINE_MAX_BYTES and not line.endswith(b"\n"):
            line = source.readline(LINE_MAX_BYTES + 1)
            measured_bytes += len(line)
            if not line:
                break
        if measured_bytes > LINE_MAX_BYTES:
            answer: Any = _too_long(measured_bytes)
        elif not line.strip():
            continue
        else:
            answer = forward(line, http, options)
        if answer is not None:
            sink.write(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            sink.flush()


def forward(line: bytes, http: httpx.Client, options: Options) -> Any:
    """The answer to one message; None for one that gets none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return failure(None, PARSE_ERROR, "not JSON")
    is_answered = not isinstance(message, dict) or ("id" in message and "method" in message)
    call_id = message.get("id") if isinstance(message, dict) else None
    try:
        response = http.post(options.url, content=line, headers=headers_of(message, options))
    except (httpx.HTTPError, OSError) as error:
        print(f"turnkeeper mcp: {type(error).__name__}: {error}", file=sys.stderr)
        why = f"the platform cannot be reached ({type(error).__name__}); try again later"
        return failure(call_id, AWAY, why) if is_answered else None
    if not is_answered:
        return None
    return told(response, call_id)


def headers_of(message: Any, options: Options) -> dict[str, str]:
    """The token, and what 2026-07-28 wants to see of the message without opening it."""
    headers = {
        "Authorization": f"Bearer {options.token}",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    if options.session_id:
        headers["Turnkeeper-Session"] = options.session_id
    params = message.get("params") if isinstance(message, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    if isinstance(version, str) and isinstance(params, dict):
        headers["MCP-Protocol-Version"] = encoded(version)
        headers["Mcp-Method"] = encoded(str(message.get("method")))
        if isinstance(params.get("name"), str):
            headers["Mcp-Name"] = encoded(params["name"])
    return headers


def encoded(text: str) -> str:
    """As it fits a header: ``=?base64?…?=`` where it is not plain."""
    if text.isascii() and text.isprintable() and text == text.strip():
        return text
    raw = base64.b64encode(text.encode("utf-8", "replace"))
    return f"=?base64?{raw.decode()}?="


def told(response: httpx.Response, call_id: Any) -> Any:
    """The platform's answer, under the message's own id; a refusal that is no JSON-RPC as one."""
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if isinstance(answer, dict) and ("result" in answer or "error" in answer):
        return {**answer, "id": call_id}
    problem = answer if isinstance(answer, dict) else {}
    why = str(problem.get("detail") or problem.get("title") or response.reason_phrase)
    if response.status_code == 401:
        why = "the session has ended, or its token is not good"
    code = AWAY if response.status_code >= 500 or response.status_code == 429 else REFUSED
    facts = {"status": response.status_code, "code": problem.get("code")}
    return failure(call_id, code, why, facts)


def failure(call_id: Any, code: int, message: str, data: Any = None) -> dict[str, Any]:
    """A JSON-RPC error."""
    error = {"code": code, "message": message} | ({"data": data} if data else {})
    return {"jsonrpc": "2.0", "id": call_id, "error": error}


def _too_long(measured_bytes: int) -> dict[str, Any]:
    facts = {
        "mechanism": "mcp_line",
        "limit_bytes": LINE_MAX_BYTES,
        "measured_bytes": measured_bytes,
        "setting": "LINE_MAX_BYTES",
    }
    return failure(None, INVALID_REQUEST, f"a line of over {LINE_MAX_BYTES} bytes", facts)


if __name__ == "__main__":
    from runtime.__main__ import skip_terminal_libraries

    skip_terminal_libraries()
    sys.exit(main())
