"""Opening: what every adapter stands on, a collection of a file that it opens or of a memory that is open."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, Self

from cmc_mcp import limits
from cmc_mcp.collection import Collection
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.errors import InvalidInput
from cmc_mcp.memory import Memory


def is_none(k: object) -> bool:
    """Return whether a number of results is 0: none are asked for, and none come."""
    return type(k) is int and k == 0


def checked_model_id(model_id: object, refusal: type[InvalidInput]) -> str:
    """Return a name for a model that a caller gave.

    Raises:
        InvalidInput: as `refusal`; it is not text, is blank or too long.
    """
    if not isinstance(model_id, str) or not model_id.strip() or len(model_id) > limits.MODEL_ID_CHARS_MAX:
        raise refusal.at(
            "model_id",
            f"{model_id!r:.40} is not a name of a model; pass text of at most {limits.MODEL_ID_CHARS_MAX} letters",
        )
    return model_id


class Opening(NamedTuple):
    """A file to open, or an open memory, which has its workspace, principal and key."""

    path: str | Path | None
    memory: Memory | None
    workspace: str
    principal: str | None
    key: bytes | None

    def checked(self, refusal: type[InvalidInput]) -> Self:
        """Return this opening when a constructor's arguments make one.

        Raises:
            InvalidInput: as `refusal`, the adapter's own; both or neither of path and memory are given, or a memory and
                what it has already.
        """
        if (self.path is None) == (self.memory is None):
            raise refusal.at("path", "pass a path to a file, or an open memory")
        if self.memory is not None and (self.workspace, self.principal, self.key) != ("default", None, None):
            raise refusal.at(
                "memory", "has its workspace, principal and key: use memory.as_principal(principal, workspace)"
            )
        return self

    @property
    def owned(self) -> bool:
        """Whether the memory is opened here, and so to be closed here."""
        return self.memory is None

    def open(
        self, collection: str, given: Embedder | None, otherwise: Embedder | Literal["bundled"] | None
    ) -> tuple[Memory, Collection]:
        """Open the memory and a collection of it.

        `given` makes the vectors. Without it `otherwise` makes those of a file; an open memory keeps its own model, or,
        where `otherwise` is None too, is seen without one.

        Raises:
            StoreError: the file cannot be opened.
        """
        memory = self.memory
        if memory is None:
            assert self.path is not None
            memory = Memory.open(
                self.path,
                workspace=self.workspace,
                principal=self.principal,
                embedder=given or otherwise,
                key=self.key,
            )
        elif given is not None or otherwise is None:
            memory = memory.with_embedder(given)
        try:
            return memory, memory.collection(collection)
        except BaseException:
            if self.owned:
                memory.close()
            raise
