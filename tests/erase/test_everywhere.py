"""Wherever a word was planted, after an erase no form of it is left: not in a file, an answer, a cache, a vector, a log."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cmc_mcp.kernel.kinds import ERASURE
from cmc_mcp.store.postings import made_of, read_forward
from tests.erase import scan
from tests.erase.plants import PLANTS
from tests.erase.world import SEED, HashEmbedder, answers, erase, fill, held, vectors, world
from tests.support import reach

WORDS = ("words the is indeed about first last middle",)


@pytest.mark.parametrize("what", PLANTS)
def test_nothing_of_it_is_left_and_everything_is_proved(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, temporary = tmp_path / "store", tmp_path / "temporary"
    temporary.mkdir()
    for name in ("TMPDIR", "SQLITE_TMPDIR"):
        monkeypatch.setenv(name, str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    word = scan.canary(random.Random(what))
    embedder = HashEmbedder()
    memory, warm = world(folder, embedder), world(folder)
    fill(memory, 12)
    ids = PLANTS[what](memory, word)
    fill(memory, 20)
    assert scan.in_folder(folder, word)
    last = memory.snapshot().transaction
    points = [last - 2, last]
    told = [answer for one in (memory, warm) for answer in answers(one, ids, WORDS, points=points)]
    assert any(word in answer for answer in told) or what in ("large image", "key")  # what no verb shows
    checkpoint = memory.checkpoint(SEED)

    receipt = erase(memory, ids).receipt

    assert receipt is not None and not receipt.pages_pending
    assert scan.in_folder(tmp_path, word) == []
    for one in (memory, warm):
        wanted = (*WORDS, word)
        told = [answer.replace(f'"{word}"', "") for answer in answers(one, ids, wanted, points=[*points, last + 1])]
        assert not [answer for answer in told if word in answer]
        assert held((reach.kept(one), reach.store(one)), word) == []
    with reach.store(memory).reader(1) as view:
        terms = [*made_of(word, word).terms, *scan.tokens(word)]
        last = view.head().last_rid
        assert view.term_entries(terms, 0, last) == []
        left = {term for *_, row in view.unpacked_terms(0, last) for term in read_forward(row)}
        assert not left.intersection(terms)
    gone = [text for text in embedder.texts if word in text]
    if gone:
        assert float(np.max(vectors(folder / "memory.db") @ HashEmbedder().embed(gone).T)) < 0.999
    proof = memory.verify(deep=True, id=ids[0], checkpoint=checkpoint.checkpoint, public_key=checkpoint.public_key)
    assert (proof.faults, proof.holds) == ([], True)
    assert proof.proof is not None
    tombstone = memory.history().transactions[0]
    assert (tombstone.verb, tombstone.principal, tombstone.reason) == ("erase", "maya", "asked to")
    with reach.store(memory).reader(1) as view:
        erased = {str(p.facts.fields["hash"]) for rid, _ in view.records(ERASURE.code) for p in view.intervals(rid)}
        contents = {
            view.payload_row(row.content).hash.hex() for row in view.atoms(view.changed(last, last + 1)).values()
        }
    assert contents <= erased
    memory.backup(tmp_path / "later.db")
    memory.close()
    warm.close()
    assert scan.in_folder(tmp_path, word) == []
    output = capfd.readouterr()
    assert word not in output.err + output.out
