"""Run by the interpreter of a virtual environment with `llama-index-tools-mcp`: drive the server, print what came back."""

import asyncio
import json
import sys

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec


async def main(command: list[str], environment: dict[str, str], url: str) -> None:
    said = {}
    stdio = BasicMCPClient(command[0], args=command[1:], env=environment)
    for name, client in (("stdio", stdio), ("http", BasicMCPClient(url))):
        tools = {tool.metadata.name: tool for tool in await McpToolSpec(client=client).to_tool_list_async()}
        await tools["remember"].acall(content=f"The kettle is in the cellar, says {name}", tags={"topic": "tea"})
        found = await tools["recall"].acall(query="where is the kettle?", limit=3)
        wrong = await tools["recall"].acall(query="")
        said[name] = {"tools": sorted(tools), "found": str(found.content), "wrong": str(wrong.content)}
    print(json.dumps(said))


asyncio.run(main(*json.loads(sys.argv[1])))
