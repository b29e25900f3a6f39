"""A ``codex exec --json`` that plays recorded-like streams; the prompt's first word says which.

Records its options and prompt in the file named by FAKE_ARGV, one JSON list per start.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

THREAD = "01a1fd50-6449-7081-b508-9b4b122c479d"


def emit(kind: str, **event: Any) -> None:
    print(json.dumps({"type": kind, **event}), flush=True)


def item(kind: str, number: int, form: str, **fields: Any) -> None:
    emit(f"item.{kind}", item={"id": f"item_{number}", "type": form, **fields})


def completed(tokens: int = 100) -> None:
    emit("turn.completed", usage={"input_tokens": tokens, "output_tokens": tokens // 5})


def answer(words: str) -> None:
    item("completed", 0, "error", message="Model metadata not found: a warning")
    item("completed", 1, "agent_message", text="the answer")
    completed()


def echo(words: str) -> None:
    item("completed", 1, "agent_message", text=words)
    completed()


def uses_tools(words: str) -> None:
    item("completed", 0, "reasoning", text="hm")
    item("started", 1, "command_execution", command="ls", status="in_progress")
    item("completed", 1, "command_execution", command="ls", exit_code=0)
    item("completed", 2, "file_change", changes=[{"path": "a", "kind": "add"}])
    item("started", 3, "mcp_tool_call", server="a2a", tool="recall_memory")
    item("completed", 3, "mcp_tool_call", server="a2a", tool="recall_memory")
    item("completed", 4, "agent_message", text="first words")
    item("completed", 5, "agent_message", text="last words")
    completed()
    while not Path(words.split()[1]).exists():
        threading.Event().wait(0.01)


def failed(words: str) -> None:
    emit("error", message="the model says no")
    emit("turn.failed", error={"message": "the model says no"})
    sys.exit(1)


def mended(words: str) -> None:
    emit("error", message="Reconnecting... 1/5")
    answer(words)


def error_only(words: str) -> None:
    emit("error", message="stream disconnected")
    sys.exit(1)


def interrupted(words: str) -> None:
    signal.signal(signal.SIGINT, lambda *_: os._exit(1))
    item("started", 1, "command_execution", command="sleep 60")
    while True:
        signal.pause()


def wraps_up(words: str) -> None:
    item("started", 1, "command_execution", command="work")
    while not Path(os.environ["TURNKEEPER_CONTROL_FILE"]).exists():
        threading.Event().wait(0.01)
    item("completed", 1, "agent_message", text="half done")
    completed()


def malformed(words: str) -> None:
    for line in (b"Reading additional input\n", b"\xff\n", b"null\n"):
        os.write(1, line)
    emit("item.completed", item="text")
    emit("item.completed", item={"type": "agent_message", "text": {"not": "text"}})
    emit("turn.completed", usage="none")


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments[-1].endswith("-"):
        words = arguments[-1]
        assert sys.stdin.read() == "", "an open stdin hangs the real one"
    else:
        words = sys.stdin.read()
    with Path(os.environ["FAKE_ARGV"]).open("a") as file:
        file.write(json.dumps([*arguments, words]) + "\n")
    if "resume" in arguments and "gone" in words:
        print("Error: no rollout found for thread id", file=sys.stderr)
        sys.exit(1)
    emit("thread.started", thread_id=THREAD)
    emit("turn.started")
    if "resume" in arguments:
        completed(300)
        return
    globals()[words.split()[0]](words)


if __name__ == "__main__":
    main()
