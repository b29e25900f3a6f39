"""An agent made with the protocol's own library; runs in an environment of its own.

``sdk_agent.py PORT LOG [no-stream] [blocking] [old] [push]``. What it does is said by the last word
of its message: ``work-2.5`` works for so long, ``message`` answers without a task, ``ask`` asks
first, ``fail`` fails, ``deaf-9`` works on when canceled. Each message it gets is a line of LOG.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import a2a_pb2 as pb
from starlette.applications import Starlette

PORT, LOG, WORDS = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
IS_OLD = "old" in WORDS


def log(what: str, **facts: Any) -> None:
    with LOG.open("a") as out:
        out.write(json.dumps({"what": what, **facts}) + "\n")


class Agent(AgentExecutor):
    """Does as it is told."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        word = text.split()[-1]
        log("message", id=context.message.message_id, text=text, task=context.message.task_id)
        told = TaskUpdater(event_queue, context.task_id, context.context_id)
        if word == "message":
            await event_queue.enqueue_event(self.words("a bare answer"))
            return
        if context.current_task is None:
            status = pb.TaskStatus(state=pb.TASK_STATE_SUBMITTED)
            await event_queue.enqueue_event(
                pb.Task(
                    id=context.task_id,
                    context_id=context.context_id,
                    status=status,
                    history=[context.message],
                )
            )
        await told.start_work(self.words("at work", told))
        kind, _, seconds = word.partition("-")
        if kind in ("work", "deaf"):
            await self.work(float(seconds or 0), kind == "deaf")
        if word == "ask":
            await told.requires_input(self.words("which one?", told))
        elif word == "fail":
            await told.failed(self.words("it broke", told))
        else:
            await told.add_artifact([pb.Part(text=f"done: {word}")], name="result")
            await told.complete()

    async def work(self, seconds: float, is_deaf: bool) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            try:
                await asyncio.sleep(min(0.2, max(0.0, end - loop.time())))
            except asyncio.CancelledError:
                log("canceled")
                if not is_deaf:
                    raise

    def words(self, text: str, told: TaskUpdater | None = None) -> pb.Message:
        parts = [pb.Part(text=text)]
        if told is not None:
            return told.new_agent_message(parts)
        return pb.Message(message_id="answer", role=pb.ROLE_AGENT, parts=parts)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        log("cancel", task=context.task_id)
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


class Blocking(DefaultRequestHandler):
    """Holds every answer until the work is over, whatever it is asked."""

    async def on_message_send(self, params: Any, context: Any) -> Any:
        params.configuration.return_immediately = False
        return await super().on_message_send(params, context)


def card() -> pb.AgentCard:
    version = "0.3" if IS_OLD else "1.0"
    url = f"http://127.0.0.1:{PORT}/rpc"
    interface = pb.AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version)
    return pb.AgentCard(
        name="sdk",
        description="an agent of the tests",
        version="1",
        supported_interfaces=[interface],
        capabilities=pb.AgentCapabilities(
            streaming="no-stream" not in WORDS, push_notifications="push" in WORDS
        ),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="s", name="s", description="s", tags=["s"])],
    )


def main() -> None:
    kind = Blocking if "blocking" in WORDS else DefaultRequestHandler
    known = InMemoryPushNotificationConfigStore()
    sender = BasePushNotificationSender(httpx.AsyncClient(trust_env=False), known)
    pushes = {"push_config_store": known, "push_sender": sender} if "push" in WORDS else {}
    handler = kind(
        agent_executor=Agent(), task_store=InMemoryTaskStore(), agent_card=card(), **pushes
    )
    routes = create_agent_card_routes(card())
    routes += create_jsonrpc_routes(handler, "/rpc", enable_v0_3_compat=IS_OLD)
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=PORT, log_level="warning")


if __name__ == "__main__":
    main()
