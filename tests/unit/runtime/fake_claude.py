"""A ``claude -p`` that plays recorded-like event streams; the prompt's first word says which.

As a command: ``python fake_claude.py OPTIONS``; it records its options in the file named by
FAKE_ARGV, one JSON list per start.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

SESSION = "6759c58f-beca-408a-900f-48c13eec3073"
USAGE = {"input_tokens": 100, "output_tokens": 20, "service_tier": "standard"}


def emit(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def init() -> None:
    emit(type="system", subtype="init", session_id=SESSION, tools=["Bash"])


def block(kind: str, role: str = "assistant", **fields: Any) -> None:
    message = {"role": role, "content": [{"type": kind, **fields}]}
    emit(type=role, message=message, parent_tool_use_id=None, session_id=SESSION)


def tool(number: int = 1, content: str = "hello") -> None:
    block("tool_use", id=f"toolu_{number}", name="Bash", input={"command": "echo hello"})
    block("tool_result", "user", tool_use_id=f"toolu_{number}", content=content)


def result(text: str | None = "the answer", **fields: Any) -> None:
    base = {"subtype": "success", "is_error": False, "result": text, "num_turns": 1}
    emit(type="result", **{**base, "total_cost_usd": 0.001, "usage": USAGE, **fields})


def wait_for_the_end_of_stdin() -> None:
    while sys.stdin.readline():
        pass


def wait_for_control() -> None:
    while not Path(os.environ["TURNKEEPER_CONTROL_FILE"]).exists():
        threading.Event().wait(0.01)


def answer(words: str) -> None:
    block("text", text="the answer")
    result()


def echo(words: str) -> None:
    block("text", text=words)
    result(words)


def uses_tools(words: str) -> None:
    block("thinking", thinking="hm")
    tool()
    block("text", text="the tool said hello")
    result("the tool said hello", num_turns=2)


def api_error(words: str) -> None:
    block("text", text="API Error: 400 no")
    result("API Error: 400 no", is_error=True, api_error_status=400)
    sys.exit(1)


def max_turns(words: str) -> None:
    result(None, subtype="error_max_turns", is_error=True, errors=["Reached 3 turns"])
    sys.exit(1)


def interrupted(words: str) -> None:
    def stop(*_: object) -> None:
        result(None, subtype="error_during_execution", is_error=True)
        sys.exit(0)

    signal.signal(signal.SIGINT, stop)
    tool()
    while True:
        signal.pause()


def deaf_to_sigint(words: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    tool()
    while True:
        signal.pause()


def exits_143(words: str) -> None:
    tool()
    sys.stdout.flush()
    os._exit(143)


def never_exits(words: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    result()
    while True:
        signal.pause()


def long_line(words: str) -> None:
    tool(content="x" * 2_000_000)
    answer(words)


def long_result(words: str) -> None:
    block("text", text="short words")
    result("y" * 1_500_000)


def long_error(words: str) -> None:
    result("y" * 1_500_000, is_error=True)


def long_text(words: str) -> None:
    block("text", text="w" * 20_000)
    result("w" * 20_000)


def split(words: str) -> None:
    text = "grüße 漢字 🎏"
    line = json.dumps({"type": "result", "is_error": False, "result": text}, ensure_ascii=False)
    for byte in (line + "\n").encode():
        os.write(1, bytes([byte]))


def malformed(words: str) -> None:
    for line in (
        b"npm warn\n",
        b"[1, 2]\n",
        b"\xff\xfe\n",
        b'{"type": 3}\n',
        b"[" * 90_000 + b"\n",
    ):
        os.write(1, line)
    for strange in ({"type": "assistant"}, {"type": "user", "message": {"content": "text"}}):
        emit(**strange)
    emit(type="assistant", message={"content": [None, {"type": "tool_use"}, {"type": "text"}]})
    emit(type="result", is_error=False, result={"not": "text"}, usage=[1])


def orphan(words: str) -> None:
    child = subprocess.Popen(["setsid", "sleep", "60"], start_new_session=True)
    block("text", text=str(child.pid))
    result(str(child.pid))


def no_result(words: str) -> None:
    block("text", text="nearly")
    os._exit(0)


def crash(words: str) -> None:
    print("out of memory", file=sys.stderr, flush=True)
    os._exit(9)


def until_wrap_up(words: str) -> None:
    tool()
    line = json.loads(sys.stdin.readline())
    tool(2)
    text = line["message"]["content"][0]["text"]
    block("text", text=f"saved; told: {text}")
    result(f"saved; told: {text}")


def late_wrap_up(words: str) -> None:
    block("text", text="the answer")
    wait_for_control()
    result()
    init()
    block("text", text="it was done already")
    result("it was done already")


def stopped_by_the_hook(words: str) -> None:
    block("text", text="working")
    wait_for_control()
    result("", terminal_reason="hook_stopped")
    if "answers" in words:
        init()
        block("text", text="half done")
        result("half done")


def main() -> None:
    arguments = sys.argv[1:]
    with Path(os.environ["FAKE_ARGV"]).open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    words = json.loads(sys.stdin.readline())["message"]["content"][0]["text"]
    if "--resume" in arguments and "gone" in words:
        print("No conversation found with session ID", file=sys.stderr)
        emit(type="result", subtype="error_during_execution", is_error=True, num_turns=0)
        sys.exit(1)
    init()
    globals()[words.split()[0]](words)
    wait_for_the_end_of_stdin()


if __name__ == "__main__":
    main()
