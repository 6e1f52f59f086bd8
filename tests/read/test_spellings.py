"""Names in filters match every spelling that is equal after NFC and case folding; what destroys wants no guess."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from cmc_mcp.errors import Ambiguous
from tests.read.made import opened, without_matrix

NFD = unicodedata.normalize("NFD", "Café")


@pytest.mark.parametrize("name", ["Café", NFD, "CAFÉ", "café"])
def test_a_filter_finds_every_spelling_of_a_tag_a_source_and_a_writer(tmp_path: Path, name: str) -> None:
    with opened(tmp_path) as memory:
        tagged = memory.remember("one is ready", tags={"Team": "Straße"}).added
        tagged += memory.remember("two is ready", tags={"TEAM": "STRASSE"}).added
        sourced = memory.remember("three is ready", source="Café").added + memory.remember("four", source=NFD).added
        written = memory.as_principal("Café").remember("five is ready").added
        before = memory.recall("ready").read_point.transaction
        memory.remember("six is ready", tags={"team": "straße"}, source="other")
        memory.remember("seven is ready", tags={"teams": "strasse"})
        for reader in (memory, without_matrix(memory)):
            found = [item.id for item in reader.recall("ready", tags={"tEam": "strasse"}, as_of=before).items]
            assert sorted(found) == sorted(tagged)
            assert len(reader.recall("ready", tags={"tEam": "strasse"}).items) == 3
            assert sorted(item.id for item in reader.recall("ready", source=name).items) == sorted(sourced)
            assert [item.id for item in reader.recall("ready", writer=name).items] == written


def test_what_is_forgotten_by_source_is_the_exact_spelling_or_the_only_one(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        exact = memory.remember("one", source="Notes.md").added
        memory.remember("two", source="notes.MD")
        alone = memory.remember("three", source="Plan.md").added
        memory.remember("plan.md")  # words are no source
        assert memory.forget(source="Notes.md", dry_run=True).ids == exact
        assert memory.forget(source="plan.md", dry_run=True).ids == alone
        with pytest.raises(Ambiguous) as refused:
            memory.forget(source="NOTES.md", dry_run=True)
        assert "'Notes.md'" in refused.value.message and "'notes.MD'" in refused.value.message
        with pytest.raises(Ambiguous):
            memory.rollback(source="NOTES.md", dry_run=True)
        assert memory.read_source("PLAN.md") == b"three"
        assert memory.history(source="PLAN.MD").source_versions
