"""Speaks MCP with the official SDK: does what standard input says, and prints what came back as JSON."""

import asyncio
import json
import sys

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

WITHIN = 60


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


async def step(client, one, progress):
    async def told(done, of, message):
        progress.append([done, of, message])

    what, name, arguments = one["do"], one.get("name"), one.get("arguments", {})
    try:
        match what:
            case "tools":
                return plain(await client.list_tools())
            case "call":
                return plain(await client.call_tool(name, arguments, progress_callback=told))
            case "prompts":
                return plain(await client.list_prompts())
            case "prompt":
                return plain(await client.get_prompt(name, arguments))
            case "resources":
                return plain(await client.list_resources())
            case "templates":
                return plain(await client.list_resource_templates())
            case "read":
                return plain(await client.read_resource(name))
            case "instructions":
                return {"instructions": client.instructions, "version": client.protocol_version}
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}
    raise ValueError(what)


def server(task):
    if "url" in task:
        http = httpx2.AsyncClient(headers={"authorization": f"Bearer {task['key']}"}, timeout=WITHIN)
        return streamable_http_client(task["url"], http_client=http)
    return StdioServerParameters(
        command=task["command"], args=task["args"], env=task["env"], cwd=task["cwd"]
    )


async def main():
    task = json.load(sys.stdin)
    answers, progress = [], []
    async with Client(server(task), mode=task["mode"], read_timeout_seconds=WITHIN) as client:
        for index in range(len(task["steps"])):
            answer = await step(client, task["steps"][index], progress)
            # A step may refer to what the one before brought: the id of a run, or a cursor.
            answers.append(answer)
            structured = answer.get("structuredContent") or {}
            text = json.dumps(task["steps"])
            for key in ("run_id", "next_cursor"):
                if key in structured:
                    name = task["steps"][index].get("name")
                    text = text.replace(f"<{name}.{key}>", structured[key])
            task["steps"][:] = json.loads(text)
    json.dump({"answers": answers, "progress": progress}, sys.stdout)


asyncio.run(main())
