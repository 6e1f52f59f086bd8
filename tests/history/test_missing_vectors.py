"""After an erase the numbers of vectors have gaps: those that it made are fine, any other is named."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.documents.gaps import Explaining
from cmc_mcp.errors import NotFound
from cmc_mcp.ids import Pid, Seq
from cmc_mcp.memory import Memory
from tests.pg.plugin import examples
from tests.support import reach
from tests.support.embedders import CountingEmbedder, HashVectors
from tests.support.memories import START_US, at, erase

PAGE = "# {0}\n\nThe first of {0}.\n\n## Below\n\nThe second of {0}.\n"


def fill(path: Path, rnd: random.Random) -> None:
    """A history in which models come and go, so that vectors are made with their texts, and later."""
    live: list[str] = []
    kept: list[str] = []
    for step in range(rnd.randint(6, 16)):
        embedder = rnd.choice([HashVectors(), HashVectors(), CountingEmbedder(), None])
        with at(path, embedder=embedder) as memory:
            kind = rnd.choice(("one", "many", "page", "revise", "embed", "erase", "again", "release", "forget"))
            if kind == "one":
                live += memory.remember(f"a note {step} {rnd.random()}").added
            elif kind == "many":
                live += memory.remember_many(
                    [{"content": f"one of many {step} {n}"} for n in range(rnd.randint(2, 5))]
                ).added
            elif kind == "page":
                live += memory.remember(PAGE.format(rnd.choice("abc")), source=f"{step}.md").added
            elif kind == "revise" and live:
                live += revised(memory, rnd.choice(live), f"revised in {step}")
            elif kind == "embed" and embedder is not None:
                memory.embed_pending()
            elif kind == "erase" and live:
                erase(memory, rnd.sample(live, min(len(live), rnd.randint(1, 2))))
            elif kind == "again":
                kept += [each.id for each in memory.remember(PAGE.format(rnd.choice("abc"))).quarantined]
            elif kind == "release" and kept:
                live += released(memory, kept.pop())
            elif kind == "forget" and live:
                memory.forget(live.pop(rnd.randrange(len(live))))


def revised(memory: Memory, id: str, text: str) -> list[str]:
    try:
        return memory.revise(id, content=text).added
    except NotFound:  # it was forgotten, or erased
        return []


def released(memory: Memory, id: str) -> list[str]:
    try:
        return memory.release(id).added
    except NotFound:  # it was erased with its like
        return []


@pytest.mark.parametrize("seed", range(examples(60, 4)))
def test_no_history_with_erasures_is_taken_for_one_that_lost_vectors(tmp_path: Path, seed: int) -> None:
    fill(tmp_path / "memory.db", random.Random(seed))
    with at(tmp_path / "memory.db", embedder=HashVectors()) as memory:
        assert memory.verify().faults == []


def test_each_vector_that_an_erase_did_not_take_is_missed(tmp_path: Path) -> None:
    with at(tmp_path / "memory.db", embedder=HashVectors()) as memory:
        ids = [memory.remember(f"note {n}").added[0] for n in range(4)]
        ids += memory.remember_many([{"content": f"one of many {n}"} for n in range(4)]).added
        memory.remember(PAGE.format("it"), source="a.md")
    with at(tmp_path / "memory.db", embedder=HashVectors(down=True)) as memory:
        later = memory.remember_many([{"content": f"later {n}"} for n in range(4)]).added
    with at(tmp_path / "memory.db", embedder=HashVectors()) as memory:
        assert memory.embed_pending() == 4
        erase(memory, [ids[0], ids[5], later[1]])
        assert memory.verify().holds
        with reach.exclusive(memory) as connection:
            vectors = connection.execute("SELECT vid, content, seq FROM vectors ORDER BY vid").fetchall()
            nodes = connection.execute("SELECT nid, node FROM node_vectors ORDER BY nid").fetchall()
        assert len(vectors) == 13 and len(nodes) > 1
        gone: Counter[int] = Counter()
        for vid, content, seq in vectors:
            with reach.exclusive(memory) as connection:
                connection.execute("DELETE FROM vectors WHERE vid = ?", (vid,))
            gone[seq] += 1
            faults = [fault for fault in memory.verify().faults if fault.table == "vectors"]
            said = [fault.reason for fault in faults if fault.key == f"transaction {seq}"]
            assert any(reason.startswith(f"{gone[seq]} of those it made are missing") for reason in said)
            assert seq == max(gone) or any(str(content) in fault.key.split("/") for fault in faults)
        with reach.reader(memory) as view:
            since_us = view.nodes_since_us()
        for nid, node in (
            nodes if since_us < START_US else ()
        ):  # what is older than the table has its vectors from `embed`
            with reach.exclusive(memory) as connection:
                connection.execute("DELETE FROM node_vectors WHERE nid = ?", (nid,))
            faults = [fault for fault in memory.verify().faults if fault.table == "node_vectors"]
            assert any(bytes(node).hex() in fault.key for fault in faults), (nid, faults)


class EveryContent:
    """What explains a gap, found by looking at every content for each."""

    def __init__(self, recorded: dict[Pid, set[Seq]], gone: dict[Pid, Seq], lives: int, models: int) -> None:
        self.recorded, self.gone, self.lives = recorded, gone, lives
        self.left = dict.fromkeys(recorded, lives * models)

    def take(self, seq: Seq, most: int, *, later: bool) -> int:
        could = [
            content
            for content, seqs in self.recorded.items()
            if self.left[content]
            and (self.gone[content] > seq or self.lives > 1)
            and (min(seqs) <= seq if later else seq in seqs)
        ]
        taken = sorted(could, key=self.gone.__getitem__)[:most]
        for content in taken:
            self.left[content] -= 1
        return len(taken)


SEQS = st.integers(1, 12).map(Seq)


@given(
    st.dictionaries(st.integers(1, 40).map(Pid), st.tuples(st.sets(SEQS, min_size=1, max_size=3), SEQS), max_size=12),
    st.lists(st.tuples(SEQS, st.integers(1, 6), st.booleans()), max_size=12, unique_by=lambda gap: gap[0]),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_what_explains_gaps_is_what_looking_at_every_content_finds(
    erased: dict[Pid, tuple[set[Seq], Seq]], gaps: list[tuple[Seq, int, bool]], lives: int, models: int
) -> None:
    recorded = {content: seqs for content, (seqs, _) in erased.items()}
    gone = {content: seq for content, (_, seq) in erased.items()}
    fast, slow = Explaining(recorded, gone, lives, models), EveryContent(recorded, gone, lives, models)
    for seq, most, later in sorted(gaps):
        assert fast.take(seq, most, later=later) == slow.take(seq, most, later=later)
        assert fast._left == slow.left
