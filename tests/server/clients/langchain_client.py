"""Run by the interpreter of a virtual environment with `langchain-mcp-adapters`: drive the server, print what came back."""

import asyncio
import json
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools


async def main(command: list[str], environment: dict[str, str], url: str) -> None:
    said = {}
    client = MultiServerMCPClient(
        {
            "stdio": {"transport": "stdio", "command": command[0], "args": command[1:], "env": environment},
            "http": {"transport": "streamable_http", "url": url},
        }
    )
    for name in ("stdio", "http"):
        async with client.session(name) as session:
            tools = {tool.name: tool for tool in await load_mcp_tools(session)}
            await tools["remember"].ainvoke({"content": f"The kettle is in the cellar, says {name}"})
            asked = {
                "type": "tool_call",
                "id": "1",
                "name": "recall",
                "args": {"query": "where is the kettle?", "limit": 3},
            }
            found = await tools["recall"].ainvoke(asked)
            try:
                wrong = str(await tools["recall"].ainvoke({"query": ""}))
            except Exception as error:  # some versions raise what the tool answered
                wrong = str(error)
            structured = found.artifact["structured_content"]
            said[name] = {
                "tools": sorted(tools),
                "found": str(found.content),
                "wrong": wrong,
                "items": structured["items"],
            }
    print(json.dumps(said))


asyncio.run(main(*json.loads(sys.argv[1])))
