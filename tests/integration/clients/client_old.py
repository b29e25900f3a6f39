"""A program with a2a-sdk 0.3.26 in its default configuration; prints what it was told, as JSON."""

import asyncio
import json
import sys

from a2a.client import ClientFactory
from a2a.types import Message, Part, Role, TaskQueryParams, TextPart


def message(name: str, text: str, task_id: str | None) -> Message:
    parts = [Part(root=TextPart(text=text))]
    return Message(message_id=name, role=Role.user, parts=parts, task_id=task_id)


async def stream(client, name: str, task_id: str | None = None):
    """The states a stream told, its task's id, and the texts of its artifacts."""
    states, texts, found = [], [], task_id
    async for task, update in client.send_message(message(name, "hello", task_id)):
        found = task.id
        if update is None or update.kind == "status-update":
            states.append(task.status.state.value)
        else:
            texts += [part.root.text for part in update.artifact.parts]
    return {"states": states, "texts": texts, "task_id": found}


async def main(url: str) -> None:
    client = await ClientFactory.connect(url)
    told = {"silent": await stream(client, "silent-sdk-2")}
    told["words"] = await stream(client, "words-sdk-2")
    asked = await stream(client, "ask-sdk-2")
    told["asked"] = asked
    told["answered"] = await stream(client, "complete-sdk-2", asked["task_id"])
    task = await client.get_task(TaskQueryParams(id=asked["task_id"]))
    told["final"] = task.status.state.value
    told["history"] = [one.message_id for one in task.history]
    print(json.dumps(told))


asyncio.run(main(sys.argv[1]))
