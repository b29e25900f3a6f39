"""A program with the official library of MCP; prints what it was told, as JSON.

``client_mcp.py http|stdio auto|legacy URL COMMAND…``: the token, and all that the shim needs, are
in the environment.
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

TOKEN = os.environ["TURNKEEPER_TOKEN"]


async def told_by(transport, mode: str):
    """Every tool once, and two that cannot be called."""
    async with Client(transport, mode=mode) as client:
        listed = await client.list_tools()
        told = {"version": client.protocol_version, "tools": [one.name for one in listed.tools]}
        told["instructions"] = bool(client.instructions)
        calls = [
            ("commit_memory", {"content": f"from {mode}"}),
            ("recall_memory", {"query": mode}),
            ("get_policy", {}),
            ("report_progress", {"text": "half", "percent": 50}),
            ("checkpoint", {"summary": "half", "next_step": "the rest"}),
            ("send_message_to_user", {"text": "hello"}),
            ("report_progress", {"percent": "x"}),
        ]
        told["answers"] = []
        for name, given in calls:
            found = await client.call_tool(name, given)
            parts = [one.text for one in found.content]
            told["answers"].append([name, found.is_error, found.structured_content, parts])
        try:
            await client.call_tool("rm_rf", {})
        except MCPError as error:
            told["unknown"] = error.code
    return told


async def main(kind: str, mode: str, url: str, *command: str) -> None:
    if kind == "stdio":
        server = StdioServerParameters(command=command[0], args=list(command[1:]), env=os.environ)
        print(json.dumps(await told_by(stdio_client(server), mode)))
        return
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
        print(json.dumps(await told_by(streamable_http_client(url, http_client=http), mode)))


asyncio.run(main(*sys.argv[1:]))
