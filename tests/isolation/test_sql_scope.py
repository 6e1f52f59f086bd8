"""No statement of ours leaves its workspace: each is judged as it runs, and nearly every one in the store does run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from cmc_mcp.config import Settings
from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.errors import DimensionMismatch
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from cmc_mcp.model.filters import Compare
from cmc_mcp.store.sqlite.search import SqliteView
from tests.isolation.play import Play, Reader
from tests.isolation.scope import COLUMNS, Judge, shift_of
from tests.isolation.seeded import LEAKS, Rewritten
from tests.isolation.tracing import ALLOWED, Trace, executing, faults, tracing
from tests.isolation.worlds import quick
from tests.support import reach
from tests.support.embedders import CountingEmbedder
from tests.support.memories import opened

NOT_RUN: Final = {
    "store.py": "opening, locks and what follows a disk's failure: tests of the store and of crashes",
    "connection.py": "settings of a connection",
    "migrate.py": "whole files",
    "traits.py": "whole files, for a migration",
    "view.py live_atoms": "the oracle of the tests, which no answer uses",
    "nodes.py rebuild_all": "whole files, for a migration",
    "rekey.py": "whole files, with nobody else at them: tests/encryption/test_rekey.py",
    "rebuild_view.py": "tests/tamper/test_rebuild.py: damage to one workspace is mended for each alone",
}
KEY: Final = bytes(range(32))
NO_BINDINGS: Final = (0,) * 40


@pytest.fixture(scope="module")
def trace() -> Trace:
    """What a broad run executes: every tool and verb, by two workspaces in one store."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(dir=quick()) as folder,
        tracing(patch) as trace,
    ):
        Play(Path(folder) / "play", Reader(), "trace/0", 0).run(40)
        _everything(Path(folder))
        return trace


def _everything(folder: Path) -> None:
    """Do what no tool does, and what tools seldom do, in two workspaces."""
    with opened(folder, "verbs.db", workspace="one", embedder=CountingEmbedder()) as one:
        two = one.as_principal("bo", "two")
        for memory in (one, two):
            _verbs(memory)
        one.recall("kettle")
    exact = Settings(matrix_bytes_max=0, frequent_min=1, frequent_max=1)  # the exact path in SQL, every word frequent
    with opened(folder, "verbs.db", workspace="two", embedder=CountingEmbedder(), settings=exact) as two:
        two.recall("kettle", modality="text", writer="bo", tags={"topic": "tea"}, min_confidence=0.1)
        two.remember_many([{"content": f"A kettle again, of kind {n}"} for n in range(20)])
        two.remember_many([{"content": f"The kettle, {n}", "session": "t", "speaker": "Bo"} for n in range(5)])
        two.recall("a kettle again of kind many", around=1)
        two.collection("cards").search(text="kettle", k=2)


class GivenEmbedder(CountingEmbedder):
    """Another model of the same dimension."""

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity("others", "cd" * 32, "float32", 16, 0)


def equals(value: object, wanted: object) -> bool:
    """Compare as a filter does."""
    return value == wanted


def _verbs(memory: Memory) -> None:
    memory.with_embedder(None).remember("A note without a vector", tags={"topic": "tea"})
    memory.with_embedder(None).remember("# One\n\nA kettle.\n\n## Two\n\nA cup.\n", source="docs/late.md")
    memory.embed_pending()
    ids = [
        memory.remember(f"Bo likes kettle {n}", tags={"topic": "tea"}, confidence=0.5, speaker="Bo", session="s").added[
            0
        ]
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
    cards.entries(where=Compare(("room",), equals, 1))
    cards.entries(newest=True)
    cards.entries(where=Compare(("vif", "writer"), equals, memory.principal))
    cards.metadata()
    cards.recall("kettle", where=Compare(("room",), equals, 1))
    other = memory.with_embedder(GivenEmbedder())
    other.remember("Seen by another model")
    with pytest.raises(DimensionMismatch):
        other.collection("cards").search(vector=[1.0] + [0.0] * 15, k=1)
    memory.rollback(writer=memory.principal, since="here", dry_run=True)
    memory.rollback(tags={"topic": "tea"}, dry_run=True)
    memory.verify(deep=True, id=ids[1])
    memory.checkpoint(KEY)
    memory.remember("# One\n\nA last pot.\n", source="docs/late.md", idempotency_key="late")
    memory.revise(ids[1], priority=0.9, reason="it matters")
    memory.recall("kettle")
    for selection in ({"ids": ids[:2]}, {"source": "docs/late.md"}):
        plan = memory.forget(**selection, dry_run=True, erase=True)  # type: ignore[arg-type]
        memory.forget(**selection, erase=True, digest=plan.digest)  # type: ignore[arg-type]
    memory.set_policy("gate.min_confidence", 0.9)
    kept = memory.remember("Bo likes kettle 0", confidence=0.1).quarantined[0]
    memory.quarantine()
    memory.release(kept.id)
    memory.set_policy("gate.min_confidence", None)
    cards.clear()
    memory.rollback("here")
    memory.recall("kettle")
    memory.rollback("0")
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
        f"{name}:{first} {function}"
        for name, function, first, last in executing()
        if not {name, f"{name} {function}"} & set(NOT_RUN)
        and not any(file == name and first <= line <= last for file, line in trace.places)
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
    assert [sql for sql in let_through if sql not in ALLOWED and Judge(sql, NO_BINDINGS, 1).tables] == []


@pytest.mark.parametrize("leak", [leak for leak in LEAKS.values() if isinstance(leak, Rewritten)])
def test_a_statement_that_lost_its_workspace_is_found(leak: Rewritten, trace: Trace) -> None:
    leaky = [
        (sql.replace(leak.said, leak.instead), bound, ws)
        for sql, by in trace.seen.items()
        for ws, bindings in by.items()
        for bound in bindings
        if ws and leak.said in sql
    ]
    assert leaky
    assert all(faults(*execution) for execution in leaky)


def test_every_number_that_is_taken_for_a_key_carries_its_workspace() -> None:
    """The judge believes that these columns do; two workspaces that hold the same say whether it is so."""
    with (
        tempfile.TemporaryDirectory(dir=quick()) as folder,
        opened(Path(folder), workspace="one", embedder=CountingEmbedder()) as one,
    ):
        for memory in (one, one.as_principal("bo", "two")):
            _verbs(memory)
        with reach.store(one).reader(0) as view:
            assert isinstance(view, SqliteView)
            for table, columns in COLUMNS.items():
                for column in columns:
                    if "ws" in columns and (shift := shift_of(table, column)):
                        amiss = f"SELECT count(*) FROM {table} WHERE {column} <> 0 AND {column} >> {shift} <> ws"
                        assert view.connection.execute(amiss).fetchall() == [(0,)], (table, column)


def test_a_new_statement_without_a_workspace_is_found_as_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracing(monkeypatch) as trace, opened(tmp_path) as memory, reach.reader(memory) as view:
        assert isinstance(view, SqliteView)
        view.connection.execute("SELECT count(*) FROM labels").fetchall()
        view.connection.execute("SELECT rid FROM labels WHERE ws = ? OR label = ?", (view.ws, "x")).fetchall()
        view.connection.execute("SELECT 1 FROM atoms a JOIN labels l WHERE a.ws = ?", (view.ws,)).fetchall()
        view.connection.execute("SELECT 1 FROM labels WHERE ws = ?", (view.ws + 1,)).fetchall()
        view.connection.execute("SELECT 1 FROM labels WHERE rid IN (SELECT rid FROM records)").fetchall()
    assert len(trace.problems) == 6, trace.problems
