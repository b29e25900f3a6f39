"""A model server on loopback, just enough for real CLI agents to run without the network.

Speaks the streaming forms of Anthropic's Messages API and of OpenAI's Responses API. What it
answers is told by the prompt itself:

    [answer]             one text
    [tool CMD]           one shell call of CMD, then a text with what it printed
    [mcp NAME {...}]     one call of the MCP server a2a's tool, then a text with what it answered
    [loop CMD]           up to 100 shell calls of CMD, until the conversation says WRAP-UP
    [error]              an API error that is not retried
    [slow]               the beginning of a stream, then nothing for a minute
"""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
SLOW_S = 60.0
CALLS_MAX = 100


class FakeModels:
    """Started by the constructor; ``requests`` are the bodies of all model calls, in order."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.models = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop; slow answers end too."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    models: FakeModels
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_HEAD(self) -> None:
        self._reply(200, {})

    def do_GET(self) -> None:
        self._reply(404, {"error": {"type": "not_found_error", "message": "not here"}})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body: Json = json.loads(self.rfile.read(length) or b"{}")
        path = self.path.partition("?")[0]
        if path.endswith("/v1/messages"):
            self._model(body, said(body.get("messages", [])), anthropic)
        elif path.endswith("/v1/responses"):
            self._model(body, said(body.get("input", [])), openai)
        elif path.endswith("/count_tokens"):
            self._reply(200, {"input_tokens": 10})
        else:
            self._reply(404, {"error": {"type": "not_found_error", "message": path}})

    def _model(self, body: Json, texts: tuple[str, list[str]], dialect: Any) -> None:
        self.server.models.requests.append(body)
        words, results = texts
        if "[error]" in words:
            error = {"type": "invalid_request_error", "message": "the model says no"}
            self._reply(400, {"type": "error", "error": error})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        events = dialect(body, decide(words, results))
        if "[slow]" in words:
            self._send([next(events)])
            self.server.models.closing.wait(SLOW_S)
            return
        self._send(events)

    def _send(self, events: Any) -> None:
        for event in events:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()

    def _reply(self, status: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def said(messages: Any) -> tuple[str, list[str]]:
    """What users wrote, and what each tool printed, of a conversation in either dialect."""
    if isinstance(messages, str):
        return messages, []
    words, results = [], []
    for message in messages:
        if message.get("type") in ("function_call_output", "custom_tool_call_output"):
            results.append(json.dumps(message.get("output")))
        elif message.get("role") in ("user", "system", "developer"):
            content = message.get("content")
            blocks = [{"text": content}] if isinstance(content, str) else content or []
            words += [block["text"] for block in blocks if "text" in block]
            results += [json.dumps(b["content"]) for b in blocks if b.get("type") == "tool_result"]
    return "\n".join(words), results


def decide(words: str, results: list[str]) -> tuple[str, str]:
    """("text", what to say), ("tool", the shell command) or ("mcp", tool and arguments)."""
    mcp = re.search(r"\[mcp (\w+ ?(?:\{[^}]*\})?)\]", words)
    if mcp and not results:
        return "mcp", mcp[1]
    if mcp:
        return "text", f"the tool said: {results[-1]}"
    loop, tool = re.search(r"\[loop ([^\]]+)\]", words), re.search(r"\[tool ([^\]]+)\]", words)
    if loop and "WRAP-UP" not in words + "".join(results) and len(results) < CALLS_MAX:
        return "tool", loop[1]
    if loop:
        return "text", f"wrapped up after {len(results)} calls"
    if tool and not results:
        return "tool", tool[1]
    if tool:
        return "text", f"the tool said: {results[-1]}"
    return "text", "the answer"


def anthropic(body: Json, choice: tuple[str, str]) -> Iterator[Json]:
    """https://docs.anthropic.com/en/api/messages-streaming"""
    kind, text = choice
    usage = {"input_tokens": 100, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    message |= {"model": body.get("model"), "stop_reason": None, "usage": usage}
    yield {"type": "message_start", "message": message}
    if kind in ("tool", "mcp"):
        name, arguments = "Bash", json.dumps({"command": text, "description": "as told"})
        if kind == "mcp":
            name, _, arguments = f"mcp__a2a__{text}".partition(" ")
        call = {"type": "tool_use", "id": f"toolu_{id(body)}", "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": arguments or "{}"}
        reason = "tool_use"
    else:
        call, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": text}
        reason = "end_turn"
    yield {"type": "content_block_start", "index": 0, "content_block": call}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    end = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": 20}}
    yield {"type": "message_stop"}


def openai(body: Json, choice: tuple[str, str]) -> Iterator[Json]:
    """https://platform.openai.com/docs/api-reference/responses-streaming"""
    kind, text = choice
    yield {"type": "response.created", "response": {"id": "resp_1"}}
    if kind == "tool":
        name, arguments = shell_call([t.get("name", "") for t in body.get("tools", [])], text)
        item = {"type": "function_call", "call_id": f"call_{id(body)}", "name": name}
        item["arguments"] = json.dumps(arguments)
    elif kind == "mcp":
        name, _, said_arguments = text.partition(" ")
        item = {"type": "function_call", "call_id": f"call_{id(body)}", "name": name}
        item |= {"namespace": "mcp__a2a", "arguments": said_arguments or "{}"}
    else:
        content = [{"type": "output_text", "text": text}]
        item = {"type": "message", "role": "assistant", "id": "msg_1", "content": content}  # type: ignore[dict-item]
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    usage = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    usage |= {"input_tokens_details": {"cached_tokens": 5}}  # type: ignore[dict-item]
    yield {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}}


def shell_call(tools: list[str], command: str) -> tuple[str, Json]:
    """The shell tool by the name this client offers it under, and its arguments."""
    if "exec_command" in tools:
        return "exec_command", {"cmd": command}
    if "shell_command" in tools:
        return "shell_command", {"command": command}
    return "shell", {"command": ["bash", "-lc", command]}
