"""The MCP prompts: one Markdown file each, and the loader.

A file begins with TOML between two lines of `+++` (title, description, arguments); the rest is the prompt, with
`{{name}}` where an argument goes: on a line of its own as lines that each begin with a space, elsewhere as a value.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from importlib import resources
from typing import Any, Final, cast

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import Message, PromptArgument
from mcp_types import INVALID_PARAMS, InputRequiredResult

from cmc_mcp.model.shown import body as body_of
from cmc_mcp.model.shown import flat, value

NAMES: Final = ("recall_context", "session_handoff", "resolve_conflict", "review_changes")
_FENCE: Final = "+++\n"
_PLACE: Final = re.compile(r"(?P<line>^(?=\{\{\w+\}\}$))?\{\{(?P<name>\w+)\}\}", re.MULTILINE)
_CHARS_MAX: Final = 8_192  # of one argument


class StrictPrompt(Prompt):
    """A prompt of ours: what is missing or unknown among its arguments is refused by name."""

    async def render(
        self, arguments: dict[str, Any] | None, context: Context[Any, Any]
    ) -> list[Message] | InputRequiredResult:
        """Write the prompt.

        Raises:
            MCPError: invalid parameters; each is named, with what is right.
        """
        given, known = arguments or {}, self.arguments or []
        names = [argument.name for argument in known]
        wrong = [f"{name} is an unknown argument; use one of {', '.join(names)}" for name in given if name not in names]
        wrong += [
            f"{argument.name} is required: {argument.description}"
            for argument in known
            if argument.required and not str(given.get(argument.name, "")).strip()
        ]
        if wrong:
            raise MCPError(code=INVALID_PARAMS, message=flat(f"{self.name}: {'; '.join(wrong)}"))
        return await super().render(arguments, context)


def load_prompts() -> list[Prompt]:
    """Read the prompts that ship with this package, in a fixed order."""
    folder = resources.files("cmc_mcp.prompts")
    return [parse(name, folder.joinpath(f"{name}.md").read_text(encoding="utf-8")) for name in NAMES]


def parse(name: str, text: str) -> Prompt:
    """Read one prompt file."""
    _, head, body = text.split(_FENCE, 2)
    fields = tomllib.loads(head)
    entries = cast("list[dict[str, str | bool]]", fields.get("arguments", []))
    return StrictPrompt(
        name=name,
        title=str(fields["title"]),
        description=str(fields["description"]),
        arguments=[
            PromptArgument(
                name=str(entry["name"]), description=str(entry["description"]), required=bool(entry["required"])
            )
            for entry in entries
        ],
        fn=_renderer(body.strip(), {str(entry["name"]): str(entry.get("default", "")) for entry in entries}),
        context_kwarg=None,
    )


def _renderer(body: str, defaults: dict[str, str]) -> Callable[..., str]:
    async def render(**given: str) -> str:
        values = {**defaults, **{name: value for name, value in given.items() if value}}

        def shown(place: re.Match[str]) -> str:
            said = values.get(place["name"], "")[:_CHARS_MAX]
            if place["name"] not in given or not given[place["name"]]:
                return said  # our own words
            return body_of(said) if place["line"] is not None else value(said)

        # One pass, so that what an argument holds is never read as a place of its own.
        return _PLACE.sub(shown, body)

    return cast("Callable[..., str]", render)
