"""What the conformance suite expects of a server under test, added to our own application from its own factory.

Run as a program with the folder of a store: serves on a loopback port and prints the address. The names and answers are
those that the scenarios of `@modelcontextprotocol/conformance` prescribe. Nothing of this is shipped.
"""

from __future__ import annotations

import base64
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from pydantic import BaseModel

from cmc_mcp.environment import Configuration
from cmc_mcp.server.session import LocalSession
from cmc_mcp.server.transports import http_app, http_server
from tests.server.rig import serving

warnings.simplefilter("ignore")  # logging and sampling are deprecated, and still asked about

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # one red pixel
)
WAV = base64.b64encode(b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0@\x1f\0\0\1\0\x08\0data\0\0\0\0").decode()
OPTIONS = ["option1", "option2", "option3"]
TITLED = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in ((1, "First"), (2, "Second"), (3, "Third"))]
DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
ENUMS = {
    "untitledSingle": {"type": "string", "enum": OPTIONS},
    "titledSingle": {"type": "string", "oneOf": TITLED},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
}


def text(content: str) -> types.TextContent:
    return types.TextContent(type="text", text=content)


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, content: str, mime_type: str = "text/plain") -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=content)
    return types.EmbeddedResource(type="resource", resource=resource)


async def elicited(ctx: Context, message: str, properties: dict[str, Any], required: list[str]) -> str:
    schema = {"type": "object", "properties": properties, "required": required}
    result = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"action={result.action}, content={json.dumps(result.content)}"


def add_content_tools(server: MCPServer[Any]) -> None:
    @server.tool(description="Gives a text")
    def test_simple_text() -> types.TextContent:
        return text("This is a simple text response for testing.")

    @server.tool(description="Gives an image")
    def test_image_content() -> types.ImageContent:
        return image()

    @server.tool(description="Gives a sound")
    def test_audio_content() -> types.AudioContent:
        return types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")

    @server.tool(description="Gives a resource")
    def test_embedded_resource() -> types.EmbeddedResource:
        return embedded("test://embedded-resource", "This is an embedded resource content.")

    @server.tool(description="Gives three kinds of content")
    def test_multiple_content_types() -> list[types.ContentBlock]:
        data = json.dumps({"test": "data", "value": 123})
        return [
            text("Multiple content types test:"),
            image(),
            embedded("test://mixed-content-resource", data, "application/json"),
        ]

    @server.tool(description="Always fails")
    def test_error_handling() -> str:
        raise ToolError("This tool intentionally returns an error for testing")


def add_talking_tools(server: MCPServer[Any]) -> None:
    @server.tool(description="Logs three times")
    async def test_tool_with_logging(ctx: Context) -> types.TextContent:
        for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(message)
            await anyio.sleep(0.05)
        return text("Logged")

    @server.tool(description="Reports progress three times")
    async def test_tool_with_progress(ctx: Context) -> types.TextContent:
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
            await anyio.sleep(0.05)
        return text("Done")

    @server.tool(description="Asks the client's model")
    async def test_sampling(prompt: str, ctx: Context) -> types.TextContent:
        message = types.SamplingMessage(role="user", content=text(prompt))
        answer = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
        return text(f"LLM response: {answer.content}")

    @server.tool(description="Asks the user")
    async def test_elicitation(message: str, ctx: Context) -> types.TextContent:
        asked = {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        }
        return text(f"User response: {await elicited(ctx, message, asked, ['username', 'email'])}")

    @server.tool(description="Asks the user, with defaults")
    async def test_elicitation_sep1034_defaults(ctx: Context) -> types.TextContent:
        return text(f"Elicitation completed: {await elicited(ctx, 'Please confirm', DEFAULTS, [])}")

    @server.tool(description="Asks the user, with enumerations")
    async def test_elicitation_sep1330_enums(ctx: Context) -> types.TextContent:
        return text(f"Elicitation completed: {await elicited(ctx, 'Please choose', ENUMS, [])}")

    @server.tool(description="Closes its stream in the middle of the call")
    async def test_reconnection(ctx: Context) -> types.TextContent:
        await ctx.close_sse_stream()
        return text("Reconnected")


def add_resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain", description="A text")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png", description="An image")
    def static_binary() -> bytes:
        return base64.b64decode(PNG)

    @server.resource("test://template/{id}/data", mime_type="application/json", description="A template")
    def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource", mime_type="text/plain", description="One to watch")
    def watched() -> str:
        return "Watched"


def add_prompts(server: MCPServer[Any]) -> None:
    @server.prompt(description="A simple prompt")
    def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt(description="A prompt with arguments")
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(description="A prompt with a resource")
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        resource = embedded(resourceUri, "Embedded resource content for testing.")
        return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]

    @server.prompt(description="A prompt with an image")
    def test_prompt_with_image() -> list[UserMessage]:
        return [UserMessage(image()), UserMessage("Please analyze the image above.")]


def add_handlers(server: MCPServer[Any]) -> None:
    """Requests of the handshake era that the SDK's server leaves to who wants them."""

    async def nothing(ctx: object, params: BaseModel) -> types.EmptyResult:
        return types.EmptyResult()

    low = server._lowlevel_server
    low.add_request_handler("logging/setLevel", types.SetLevelRequestParams, nothing)
    low.add_request_handler("resources/subscribe", types.SubscribeRequestParams, nothing)
    low.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, nothing)


def main(folder: str) -> None:
    session = LocalSession(Configuration(str(Path(folder) / "memory.db")), embedder=None)
    server = http_server(session)
    for add in (add_content_tools, add_talking_tools, add_resources, add_prompts, add_handlers):
        add(server)
    with serving(http_app(server)) as url:
        print(f"{url}/mcp", flush=True)
        sys.stdin.read()  # until the test closes the pipe
    session.close()


if __name__ == "__main__":
    main(sys.argv[1])
