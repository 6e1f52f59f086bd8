"""Whatever is done in whatever order, the store verifies, and every source is given back or says what is missing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cmc_mcp.errors import InvalidInput, NotFound, SourceIncomplete
from cmc_mcp.memory import Memory
from tests.support.embedders import CountingEmbedder
from tests.support.memories import opened

_STEPS, _CHECKED_EVERY = 40, 8
_VERBS = ("document", "document", "turn", "note", "forget", "erase", "rollback", "undo", "release", "revise", "policy")


def _live(memory: Memory) -> list[str]:
    return [id for writer in ("maya", "zoe") for id in memory.forget(writer=writer, dry_run=True).ids]


def _step(memory: Memory, rnd: random.Random, verb: str) -> None:
    who = rnd.choice([memory, memory.as_principal("zoe")])
    head, live, tags = memory.snapshot().transaction, _live(memory), {"t": rnd.choice("12")}
    some = rnd.sample(live, min(len(live), rnd.randint(1, 3)))
    if verb == "document":
        blocks = [rnd.choice(["# A", "# B", "one", "two", "same", "same"]) for _ in range(rnd.randint(1, 5))]
        who.remember("\n\n".join(blocks), source=rnd.choice("xy"), tags=tags, title=rnd.choice([None, "T"]))
    elif verb == "turn":
        said = rnd.choice([None, "2026-05-08"])
        source = rnd.choice([None, "x"])
        who.remember(rnd.choice(["hi", "one"]), session=rnd.choice("st"), speaker="a", occurred_at=said, source=source)
    elif verb == "note":
        who.remember(rnd.choice(["one", "n2"]), confidence=rnd.choice([None, 0.1, 0.9]), derived_from=some[:1])
    elif verb == "forget" and some:
        memory.forget(some)
    elif verb == "erase" and some:
        memory.forget(some, erase=True, digest=memory.forget(some, erase=True, dry_run=True).digest)
    elif verb == "rollback":
        memory.rollback(rnd.randint(0, head))
    elif verb == "undo":
        memory.rollback(since=rnd.randint(0, head), writer="zoe")
    elif verb == "release" and (kept := memory.quarantine()):
        memory.release(rnd.choice(kept).id)
    elif verb == "revise" and some:
        who.revise(some[0], content=rnd.choice([None, "reworded", "one"]), tags=tags)
    elif verb == "policy":
        memory.set_policy("gate.min_confidence", rnd.choice([None, 0.5]))


@pytest.mark.parametrize("seed", range(12))
def test_a_random_history_verifies_and_gives_its_sources_back(tmp_path: Path, seed: int) -> None:
    rnd = random.Random(seed)
    memory = opened(tmp_path, embedder=CountingEmbedder() if seed % 2 else None)
    for number in range(1, _STEPS + 1):
        verb = rnd.choice(_VERBS)
        before = memory.snapshot()
        try:
            _step(memory, rnd, verb)
        except (InvalidInput, NotFound):  # erased words, say, are no revision; nothing was changed then
            assert memory.snapshot() == before
        if number % _CHECKED_EVERY:
            continue
        assert memory.verify(deep=True).faults == []
        for source in memory.sources():
            try:
                memory.read_source(source)
            except (SourceIncomplete, NotFound) as error:
                assert error.fields["source"] == source
