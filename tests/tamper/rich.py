"""A store with a row in every table: every verb, two models, three workspaces, erasures, and a way back to an older format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import numpy as np
import numpy.typing as npt

from cmc_mcp.collection import Entry
from cmc_mcp.config import Settings
from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import CheckpointResult
from cmc_mcp.store.codes import SEGMENT_VECTORS
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location
from tests.support.embedders import HashVectors
from tests.support.memories import at, erase

KEY = bytes(range(32))
START_US = 1_780_000_000_000_000
WORKSPACES = ("default", "beta", "bulk")
INLINE_BYTES = 300
GUIDE = (
    "# Guide\n\nHow we work.\n\n## Deploy\n\nWe use Fly.\n\nIt is fast.\n\n## Test\n\nWe run pytest.\n\nAll green.\n"
)
CODE = "def deploy(target: str) -> None:\n    print(target)\n\n\nclass Plan:\n    def run(self) -> int:\n        return 1\n"


class SecondVectors(HashVectors):
    """Another model: the same texts, other vectors."""

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity("second", "cd" * 32, "float32", self.dimension, 0)

    def _noise(self, text: str) -> npt.NDArray[np.float64]:
        return super()._noise(f"second {text}")


MODELS = (HashVectors(), SecondVectors())


@dataclass(frozen=True)
class Rich:
    """Where it is, and what was kept elsewhere."""

    path: Path
    points: dict[str, CheckpointResult]

    @classmethod
    def kept(cls, path: Path, points: dict[str, dict[str, object]]) -> Rich:
        """Return one that was built before."""
        return cls(path, {name: CheckpointResult.model_validate(point) for name, point in points.items()})


@contextmanager
def opened(
    path: Path, workspace: str = "default", *, embedder: HashVectors | None = None, start_us: int = START_US
) -> Iterator[Memory]:
    """Open the store of these tests."""
    settings, model = Settings(inline_bytes=INLINE_BYTES), embedder or MODELS[0]
    with at(path, workspace=workspace, start_us=start_us, step_us=1000, embedder=model, settings=settings) as memory:
        yield memory


def build(path: Path, *, bulk: bool = True) -> Rich:
    """Write it, and sign each workspace's head."""
    points = {}
    for number, workspace in enumerate(WORKSPACES):
        with opened(path, workspace, start_us=START_US + number) as memory:
            if workspace != "bulk":
                _fill(memory, erases=workspace == "default")
            elif bulk:  # as many vectors as make a packed segment
                memory.remember_many([{"content": f"line {n}"} for n in range(SEGMENT_VECTORS + 6)])
            else:
                memory.remember("a line alone")
        if workspace != "bulk":  # another model's vectors, made later
            with opened(path, workspace, embedder=MODELS[1], start_us=START_US + 10**9 + number) as memory:
                memory.embed_pending()
                memory.remember("said under the second model")
    older = 2
    migrate.down(Location(path), older)
    migrate.backup_path(Location(path), migrate.MIGRATIONS[-1].number).unlink()
    for workspace in WORKSPACES:  # and up again
        with opened(path, workspace) as memory:
            points[workspace] = memory.checkpoint(KEY)
    migrate.backup_path(Location(path), older).unlink()
    settle(path)
    return Rich(path, points)


def settle(path: Path) -> None:
    """Leave nothing beside the file, so that a copy of it is the store."""
    raw = apsw.Connection(str(path))
    try:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        raw.close()


def _fill(memory: Memory, *, erases: bool) -> None:
    note = memory.remember(
        "The deploy target is Heroku", tags={"topic": "deploy", "team": "core"}, confidence=0.8,
        claim={"subject": "app", "predicate": "runs on", "object": "Heroku"}, idempotency_key="first",
    ).added[0]  # fmt: skip
    memory.remember("It is cheap", derived_from=[note], idempotency_key="once")
    memory.remember(GUIDE, source="guide.md", tags={"topic": "guide"}, title="The guide")
    memory.remember(GUIDE.replace("Fly", "Render"), source="guide.md", title="The guide")
    memory.remember(CODE, source="deploy.py", modality="code")
    memory.remember("# Long\n\n" + "so many words " * 40 + "\n\nshort\n", source="long.md")
    memory.remember(b"\x89PNG not really", modality="image", media_type="image/png")
    for number, text in enumerate(("hello", "hello again", "did it work in 2021?", "yes")):
        who = ("Ana", "Bo")[number % 2]
        memory.remember(text, session="s", speaker=who, occurred_at=f"2026-05-0{number + 1}")
    memory.remember("and we left it", session="s", speaker="Ana")
    memory.remember("another talk", session="t", speaker="Cyd")
    box = memory.collection("box")
    box.put([Entry("a", "red", {"n": 1}), Entry("b", "blue", {"n": 2})])
    box.put([Entry("a", "crimson", {"n": 3})])
    memory.snapshot("before", note="while all was well")
    eve = memory.as_principal("eve")
    bad = eve.remember("secret thing", tags={"topic": "deploy"}, confidence=0.95).added[0]
    memory.revise(note, content="The deploy target is Fly.io", valid_from="2026-06-01", reason="moved")
    memory.mark([note], "right")
    memory.rollback(since="before", writer="eve")
    memory.rollback("before")
    memory.snapshot("after")
    memory.set_policy("gate.min_confidence", 0.5)
    kept = [memory.remember(text, confidence=0.1).quarantined[0].id for text in ("unsure", "doubtful", "vague")]
    memory.release(kept[0])
    memory.forget(memory.remember("passing thought", source="thoughts.md").added)
    memory.revise(memory.remember("told twice").added[0], tags={"topic": "twice"}, priority=0.9)
    if erases:
        erase(memory, [bad])
        erase(memory, memory.remember("# Gone\n\nvery private\n\nand this\n", source="private.md").added[:2])
    memory.remember("the last word", tags={"topic": "end"})
