"""A store in which something is planted and erased, and everything that could still tell of it."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.embed.tokens import UpperBound
from cmc_mcp.errors import NotFound, SourceIncomplete
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import ForgetResult
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.sqlite.connection import Location, connect
from cmc_mcp.store.sqlite.store import SqliteStore
from cmc_mcp.write.erase import finish_erasures
from tests.erase.plants import INLINE_BYTES
from tests.support import reach
from tests.support.memories import START_US, over

DIMENSION = 16
SEED = bytes(range(32))


class HashEmbedder:
    """Gives each text a direction of its own, so that a cosine of 1 means the same text; remembers what it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity("hashes", "cd" * 32, "float32", DIMENSION, 0)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.texts += texts
        rows = [np.frombuffer(hashlib.sha512(text.encode()).digest(), np.uint8)[:DIMENSION] for text in texts]
        made = np.array(rows, np.float32).reshape(-1, DIMENSION) - 127.5
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def close(self) -> None:
        """Nothing to give back."""


def world(folder: Path, embedder: HashEmbedder | None = None, *, vfs: str | None = None) -> Memory:
    """Open a store that keeps what is over a kilobyte as objects, through a VFS of the test's own if one is given."""
    path, clock = folder / "memory.db", FixedClock(START_US, step_us=1_000_000)
    store, objects = (
        SqliteStore.open(Location(path, vfs=vfs), clock=clock, registry=REGISTRY),
        FileObjects(Path(f"{path}.objects")),
    )
    finish_erasures(store, objects)
    settings = Settings(inline_bytes=INLINE_BYTES)
    made = over(store, objects, embedder=embedder or HashEmbedder(), clock=clock, settings=settings)
    reach.kept(made).tokens = UpperBound()  # the exact counter takes longer to load than all the rest of a test
    return made


def fill(memory: Memory, count: int) -> None:
    """Put something around it, so that it does not stand alone on its pages."""
    notes = [{"content": f"filler note {n} about topic {n % 7}", "tags": {"n": str(n)}} for n in range(count)]
    memory.remember_many(notes)  # type: ignore[arg-type]


def erase(memory: Memory, ids: Sequence[str]) -> ForgetResult:
    """Erase as anybody must: a dry run first, then its digest."""
    plan = memory.forget(list(ids), erase=True, dry_run=True)
    return memory.forget(list(ids), erase=True, digest=plan.digest, reason="asked to")


def answers(memory: Memory, ids: Sequence[str], words: Sequence[str], *, points: Sequence[int]) -> Iterator[str]:
    """Yield all that the verbs answer about some memories, at some points of the ledger."""
    for word in words:
        for point in points:
            yield memory.recall(word, as_of=point, budget_tokens=10_000, around=1, explain=True).model_dump_json()
    head = memory.snapshot().transaction
    yield memory.history(from_=0, to=head).model_dump_json()
    yield memory.history(limit=200).model_dump_json()
    for id in ids:
        yield memory.history(id).model_dump_json()
        yield str(memory.verify(id=id).model_dump_json()) if id == ids[0] else ""
    for source in memory.sources():
        yield source
        yield memory.history(source=source).model_dump_json()
        yield memory.history(source=source, place="").model_dump_json() if ":" not in source else ""
        for point in points:
            try:
                yield memory.read_source(source, point).decode("latin-1")
            except (NotFound, SourceIncomplete) as error:
                yield error.message
    things = memory.collection("things")
    for point in points:
        yield repr(things.entries(as_of=point))
        yield repr(things.metadata(as_of=point))
    yield repr(memory.quarantine())
    yield repr(memory.status())


def vectors(path: Path) -> npt.NDArray[np.float32]:
    """Give every vector that a store keeps, of texts and of sections."""
    raw = connect(Location(path, read_only=True))
    rows = raw.execute("SELECT vector FROM vectors UNION ALL SELECT vector FROM node_vectors").fetchall()
    raw.close()
    return np.frombuffer(b"".join(row[0] for row in rows), np.float32).reshape(-1, DIMENSION)


def held(root: object, word: str) -> list[str]:
    """Return what a living object still holds of a word: every text and bytes that can be reached from it."""
    raw, seen, stack, out = word.encode(), {id(root)}, [root], list[str]()
    while stack:
        found = stack.pop()
        if isinstance(found, str | bytes):
            if (raw if isinstance(found, bytes) else word) in found:
                out.append(repr(found[:80]))
            continue
        for part in gc.get_referents(found):
            if id(part) not in seen and not isinstance(part, type) and not hasattr(part, "__path__") and _ours(part):
                seen.add(id(part))
                stack.append(part)
    return out


def _ours(part: object) -> bool:
    """Leave modules and functions out: through their globals everything could be reached, tests included."""
    return type(part).__name__ not in ("module", "function", "builtin_function_or_method", "frame", "HashEmbedder")
