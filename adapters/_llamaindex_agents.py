"""LlamaIndex's memory of agents: a block of what is remembered beyond the window."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field as ModelField
from llama_index.core.memory.memory import BaseMemoryBlock

from cmc_mcp import limits
from cmc_mcp.memory import Memory

_CHARS_A_TOKEN: Final = 4


class CMCMemoryBlock(BaseMemoryBlock[str]):
    """What an agent remembers beyond its window: messages become turns of a memory, and the best of it comes back.

    Recall is the full pipeline of `Memory.recall`, over all that the memory holds, or with `session_only` over the turns
    of the session that asks.
    """

    name: str = "CMCMemory"
    memory: Memory = ModelField(exclude=True)
    budget_tokens: int = 1_000
    limit: int = 10
    context_messages: int = 3
    session_only: bool = False

    async def aput(
        self, messages: list[ChatMessage], from_short_term_memory: bool = False, session_id: str | None = None
    ) -> None:
        """Remember messages as turns of a session; the messages stay as they are."""
        if messages and (self.accept_short_term_memory or not from_short_term_memory):
            await asyncio.to_thread(self._remember, messages, session_id)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        await self.aput(messages)

    def _remember(self, messages: Sequence[ChatMessage], session: str | None) -> None:
        said = [(message.role.value, message.content or "") for message in messages]
        said = [(role, text) for role, text in said if text.strip()]
        if said:
            self.memory.remember_many([{"content": text, "speaker": role, "session": session} for role, text in said])

    async def _aget(
        self, messages: list[ChatMessage] | None = None, session_id: str | None = None, **block_kwargs: Any
    ) -> str:
        """Recall what the latest messages ask for, one memory a line."""
        said = [message.content or "" for message in messages or ()]
        query = "\n".join(text for text in said[-self.context_messages :] if text.strip())[-limits.QUERY_CHARS_MAX :]
        if not query.strip():
            return ""
        source = f"session:{session_id}" if self.session_only and session_id is not None else None
        return await asyncio.to_thread(self._recalled, query, source, frozenset(said))

    def _recalled(self, query: str, source: str | None, known: frozenset[str]) -> str:
        answer = self.memory.recall(query, budget_tokens=self.budget_tokens, limit=self.limit, source=source)
        return "\n".join(
            f"{item.speaker}: {item.text}" if item.speaker else item.text
            for item in answer.items
            if item.text not in known
        )

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Leave out the lines that matter least, the last ones, until as many tokens are gone (four letters each)."""
        lines, gone = content.split("\n"), 0
        while lines and gone < tokens_to_truncate * _CHARS_A_TOKEN:
            gone += len(lines.pop()) + 1
        return "\n".join(lines) or None
