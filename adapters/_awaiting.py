"""Awaiting: what an embedding with methods of its own for an event loop makes, beside a collection that is called in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from cmc_mcp.collection import Collection
from cmc_mcp.embed.external import unit_rows
from cmc_mcp.errors import CmcError, EmbedderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Rows = Sequence[Sequence[float]]
Texts = Callable[[list[str]], Awaitable[Rows]]
T = TypeVar("T")


async def awaited(made: Awaitable[T]) -> T:
    """Await an embedding.

    Raises:
        EmbedderError: it failed.
    """
    try:
        return await made
    except CmcError:
        raise
    except Exception as error:
        raise EmbedderError(f"the embedding could not embed: {type(error).__name__}: {error}") from error


async def rows_of(texts: list[str], embed: Texts) -> Rows:
    """Return one vector for each text.

    Raises:
        EmbedderError: the embedding failed, or gave another number of vectors.
    """
    rows = await awaited(embed(texts)) if texts else []
    if len(rows) != len(texts):
        raise EmbedderError(f"the embedding gave {len(rows)} vectors for {len(texts)} texts")
    return rows


async def tried(collection: Collection, embed: Texts, size: int = 0) -> None:
    """Try an embedding on stored texts before it is used for a collection, as `Collection.trying` says.

    Raises:
        DimensionMismatch: the collection is of another model.
    """
    if await asyncio.to_thread(lambda: collection.untried) is None:
        return
    steps = collection.trying(size)
    answer: npt.NDArray[np.float32] | None = None
    while True:
        texts = await asyncio.to_thread(_step, steps.send, answer)
        if texts is None:
            return
        try:
            rows = await rows_of(texts, embed)
            answer = unit_rows(rows, len(rows[0]))
        except EmbedderError:
            answer = None


def _step(send: Callable[[Any], list[str]], answer: npt.NDArray[np.float32] | None) -> list[str] | None:
    try:
        return send(answer)
    except StopIteration:
        return None
