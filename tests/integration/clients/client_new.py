"""A program with a2a-sdk 1.x in its default configuration, or with another binding where one is
named; prints what it was told, as JSON."""

import asyncio
import json
import sys

from a2a.client import ClientConfig, create_client
from a2a.types import GetTaskRequest, Message, Part, Role, SendMessageRequest, TaskState


def request(name: str, text: str, task_id: str = "") -> SendMessageRequest:
    message = Message(
        message_id=name, role=Role.ROLE_USER, parts=[Part(text=text)], task_id=task_id
    )
    return SendMessageRequest(message=message)


async def stream(client, name: str, task_id: str = ""):
    """The states a stream told, its task's id, and the texts of its artifacts."""
    states, texts, found = [], [], task_id
    async for event in client.send_message(request(name, "hello", task_id)):
        if event.HasField("task"):
            found = event.task.id
            states.append(TaskState.Name(event.task.status.state))
        elif event.HasField("status_update"):
            states.append(TaskState.Name(event.status_update.status.state))
        elif event.HasField("artifact_update"):
            texts += [part.text for part in event.artifact_update.artifact.parts]
    return {"states": states, "texts": texts, "task_id": found}


async def main(url: str, *bindings: str) -> None:
    client = await create_client(url, ClientConfig(supported_protocol_bindings=[*bindings]))
    told = {"silent": await stream(client, "silent-sdk-1")}
    told["words"] = await stream(client, "words-sdk-1")
    asked = await stream(client, "ask-sdk-1")
    told["asked"] = asked
    told["answered"] = await stream(client, "complete-sdk-1", asked["task_id"])
    task = await client.get_task(GetTaskRequest(id=asked["task_id"]))
    told["final"] = TaskState.Name(task.status.state)
    told["history"] = [message.message_id for message in task.history]
    await client.close()
    print(json.dumps(told))


asyncio.run(main(*sys.argv[1:]))
