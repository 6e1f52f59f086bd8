"""Names in filters match every spelling that is equal after NFC and case folding; what destroys wants no guess."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest

from cmc_mcp.errors import Ambiguous
from cmc_mcp.history.references import facts_tagged, origins_like
from cmc_mcp.memory import Memory
from cmc_mcp.model.names import name_key
from tests.read.made import opened, without_matrix
from tests.support import reach

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


def test_the_database_hands_over_every_name_that_is_spelled_alike_and_few_others(memory: Memory) -> None:
    rnd = random.Random(5)
    letters = (
        "k",
        "K",
        "\u212a",
        "s",
        "S",
        "\u017f",
        "ß",
        "ss",
        "e\u0301",
        "é",
        "É",
        "i",
        "I",
        "\u0130",
        "_",
        "%",
        "'",
    )
    names = {"".join(rnd.choices(letters, k=rnd.randint(1, 3))) for _ in range(400)}
    plain = {f"plain {number}" for number in range(300)}
    for number, name in enumerate(sorted(names | plain)):
        place = {"source": name} if number % 2 else {"source": name, "session": "s"}
        memory.remember(f"{number} is said", tags={"name": name}, **place)  # type: ignore[arg-type]
    with reach.reader(memory) as view:
        for name in sorted(names):
            alike = {other for other in names | plain if name_key(other) == name_key(name)}
            assert set(origins_like(view, name)) == alike >= {name}
            assert len(facts_tagged(view, "name", name)) == len(alike)
        assert len(view.origins_like("plain 7")) <= len(names) + 1
