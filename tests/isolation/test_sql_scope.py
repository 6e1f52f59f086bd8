"""No statement of ours leaves its workspace: each is judged as it runs, and nearly every one in the store does run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from cmc_mcp.config import Settings
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from cmc_mcp.store.sqlite.connection import Location
from tests.isolation.play import Play, Reader
from tests.isolation.scope import COLUMNS, Judge, shift_of
from tests.isolation.seeded import LEAKS
from tests.isolation.tracing import Trace, executing, faults, tracing
from tests.memory.made import CountingEmbedder, opened

NOT_RUN = {
    "store.py": "opening, locks and what follows a disk's failure: tests of the store and of crashes",
    "connection.py": "settings of a connection",
    "migrate.py": "whole files",
    "traits.py": "whole files, for a migration",
}
KEY = bytes(range(32))


@pytest.fixture(scope="module")
def trace() -> Trace:
    """What a broad run executes: every tool and verb, by two workspaces in one store."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder, tracing(patch) as trace:
        reader = Reader()
        for number in range(3):
            play = Play(Path(folder) / str(number), reader, f"trace/{number}", number * 300)
            play.run(40)
        _everything(Path(folder))
        return trace


def _everything(folder: Path) -> None:
    """Do what no tool does, and what tools seldom do, in two workspaces."""
    with opened(folder, "verbs.db", workspace="one", embedder=CountingEmbedder()) as one:
        two = one.as_principal("bo", "two")
        for memory in (one, two):
            _verbs(memory)
        one.recall("kettle")
    exact = Settings(matrix_bytes_max=0)  # the exact path in SQL
    with opened(folder, "verbs.db", workspace="two", embedder=CountingEmbedder(), settings=exact) as two:
        two.recall("kettle", modality="text", writer="bo", tags={"topic": "tea"}, min_confidence=0.1)
        two.collection("cards").search(text="kettle", k=2)


def _verbs(memory: Memory) -> None:
    memory.with_embedder(None).remember("A note without a vector", tags={"topic": "tea"})
    memory.with_embedder(None).remember("# One\n\nA kettle.\n\n## Two\n\nA cup.\n", source="docs/late.md")
    memory.embed_pending()
    ids = [
        memory.remember(f"Bo likes kettle {n}", tags={"topic": "tea"}, confidence=0.5, speaker="Bo", session="s").added[0]
        for n in range(3)
    ]
    memory.remember_many([{"content": f"Many things, {n}"} for n in range(1100)])  # fills a segment of codes
    memory.remember("# One\n\nA kettle, seldom.\n\n## Two\n\nA cup.\n", source="docs/late.md", title="Late")
    memory.remember("# One\n\nA pot.\n", source="docs/late.md", title="Later")
    memory.remember("Tea follows", derived_from=ids[:1], claim={"subject": "tea", "predicate": "is", "object": "hot"})
    memory.remember("Tea follows", claim={"subject": "tea", "predicate": "is", "object": "cold"})
    memory.mark(ids[1:], "right")
    memory.calibration()
    memory.history(source="docs/late.md", place="")
    memory.history(source="docs/late.md")
    memory.recall("what does Bo say of the kettle", around=2, source="docs/late.md")
    memory.recall("what does Bo say of the kettle", around=2, min_confidence=0.1, writer=memory.principal)
    memory.recall_by_vector("kettle", np.full(16, 0.25, np.float32))
    memory.read_source("session:s")
    memory.snapshot("here", force=True)
    cards = memory.collection("cards")
    cards.put([Entry("1", "A kettle", {"room": 1}), Entry("2", "A cup", {"room": 2})])
    cards.put([Entry("1", "A big kettle", {"room": 1})])
    cards.search(text="kettle", k=2)
    cards.wordings("1")
    cards.count()
    memory.rollback(writer=memory.principal, since="here", dry_run=True)
    memory.rollback(tags={"topic": "tea"}, dry_run=True)
    memory.verify(deep=True, id=ids[1])
    memory.checkpoint(KEY)
    once = memory.remember(f"once and {memory.status()['transaction']}", idempotency_key=f"{memory.status()['transaction']}")
    for selection in ({"ids": ids[:1]}, {"source": "docs/late.md"}, {"ids": once.added}):
        plan = memory.forget(**selection, dry_run=True, erase=True)  # type: ignore[arg-type]
        memory.forget(**selection, erase=True, digest=plan.digest)  # type: ignore[arg-type]
    memory.set_policy("gate.min_confidence", 0.9)
    kept = memory.remember("Bo likes kettle 0", confidence=0.1).quarantined[0]
    memory.quarantine()
    memory.release(kept.id)
    memory.set_policy("gate.min_confidence", None)
    cards.clear()
    memory.rollback("here")
    memory.workspaces()
    memory.status()
    memory.inspect()


def test_every_statement_stays_in_the_workspace_of_its_handle(trace: Trace) -> None:
    assert trace.problems == []
    assert trace.executed > 5_000
    touching = [sql for sql in trace.seen if any(table in sql for table in COLUMNS)]
    assert len(touching) > 100, len(touching)


def test_nearly_every_statement_of_the_store_was_run(trace: Trace) -> None:
    silent = [
        f"{name}:{first}"
        for (name, first), last in executing().items()
        if name not in NOT_RUN and not any(file == name and first <= line <= last for file, line in trace.places)
    ]
    assert silent == []


def test_a_statement_of_one_workspace_is_refused_on_a_handle_for_another(trace: Trace) -> None:
    """What was right for one is wrong for the next, to the last statement: nothing was let through unread."""
    let_through = [
        sql
        for sql, by in trace.seen.items()
        for ws, bindings in by.items()
        if ws and bindings and not any(faults(sql, bound, ws + 5) for bound in bindings)
    ]
    touching = [sql for sql in let_through if _touches(sql, trace) and " ".join(sql.split()) not in _allowed()]
    assert touching == []


def _touches(sql: str, trace: Trace) -> bool:
    (bound, *_), *_ = trace.seen[sql].values()
    return bool(Judge(sql, bound, 1).tables)


def _allowed() -> set[str]:
    from tests.isolation.tracing import ALLOWED

    return set(ALLOWED)
