"""The ledger page by page, one memory's versions and lineage, a source's versions and hierarchy."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.errors import InvalidInput, NotFound
from cmc_mcp.memory import Memory


def test_the_ledger_is_newest_first_and_pages_lose_and_repeat_nothing(memory: Memory) -> None:
    for n in range(23):
        memory.remember(f"n{n}")
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = memory.history(limit=5, cursor=cursor)
        seen += [row.transaction for row in page.transactions]
        cursor = page.next_cursor
        memory.remember(f"while reading {len(seen)}")  # what comes later does not move the pages
        if cursor is None:
            break
    assert seen == list(range(23, 0, -1))


def test_a_page_that_ends_the_ledger_has_no_cursor(memory: Memory) -> None:
    for n in range(4):
        memory.remember(f"n{n}")
    assert memory.history(limit=4).next_cursor is None
    assert memory.history(limit=3).next_cursor is not None
    assert memory.history().next_cursor is None


def test_a_cursor_from_elsewhere_is_refused(memory: Memory, tmp_path: Path) -> None:
    for n in range(4):
        memory.remember(f"n{n}")
    cursor = memory.history(limit=2).next_cursor
    assert cursor is not None
    other = memory.as_principal("maya", "elsewhere")
    for store, text in ((other, cursor), (memory, cursor[:-2]), (memory, "x"), (memory, "é"), (memory, "")):
        with pytest.raises(InvalidInput, match="cursor"):
            store.history(limit=2, cursor=text)


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_bound_on_pages_is_held(memory: Memory, limit: int) -> None:
    with pytest.raises(InvalidInput):
        memory.history(limit=limit)


def test_entries_say_who_did_what_and_why(memory: Memory) -> None:
    (id,) = memory.remember("a").added
    memory.as_principal("zoe").revise(id, tags={"t": "1"}, reason="sorted it")
    memory.snapshot("named")
    memory.forget(id)
    rows = memory.history().transactions
    assert [(r.verb, r.principal, r.reason, r.labels, r.atoms) for r in rows] == [
        ("forget", "maya", None, [], 0),
        ("label", "maya", None, [], 1),
        ("revise", "zoe", "sorted it", ["named"], 1),
        ("remember", "maya", None, [], 1),
    ]
    assert [row.recorded_at for row in rows] == sorted((row.recorded_at for row in rows), reverse=True)


def test_versions_are_on_both_clocks(memory: Memory) -> None:
    (id,) = memory.remember("a", valid_from="2026-01-01").added
    memory.revise(id, valid_to="2026-06-01")
    memory.forget(id)
    found = [(v.valid_from, v.valid_to, v.recorded, v.ended) for v in memory.history(id).versions]
    assert found == [
        ("2026-01-01T00:00:00Z", None, 1, 2),
        ("2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", 2, 3),
    ]
    assert [row.transaction for row in memory.history(id).transactions] == [1, 2, 3]
    assert memory.history(id).memory.text == "a"  # type: ignore[union-attr]


def test_lineage_is_walked_up_and_down(memory: Memory) -> None:
    first = memory.remember("one").added[0]
    second = memory.revise(first, content="two").added[0]
    third = memory.revise(second, content="three").added[0]
    assert memory.history(third).supersedes == [second, first]
    assert memory.history(first).superseded_by == [second, third]
    memory.rollback(1)
    assert memory.history(first).superseded_by == []


def test_a_memory_is_found_by_prefix_and_an_unknown_one_is_not(memory: Memory) -> None:
    (id,) = memory.remember("one").added
    assert memory.history(id[:12]).memory.id == id  # type: ignore[union-attr]
    with pytest.raises(NotFound):
        memory.history("atom_" + "0" * 32)
    with pytest.raises(InvalidInput):
        memory.history(id, source="x")
    with pytest.raises(NotFound):
        memory.history(source="nothing")


def test_versions_of_a_document_are_newest_first(memory: Memory) -> None:
    texts = ["a\n", "a\n\nb\n", "b\n"]
    for text in texts:
        memory.remember(text, source="doc")
        memory.remember("between " + text)
    versions = memory.history(source="doc").source_versions
    assert [(v.transaction, v.parts, v.bytes) for v in versions] == [(5, 1, 2), (3, 2, 5), (1, 1, 2)]
    assert len({v.version for v in versions}) == 3


def test_a_changed_paragraph_changes_the_hashes_of_its_ancestors_alone(memory: Memory) -> None:
    text = "# Top\n\nintro\n\n## A\n\none\n\n### Deep\n\nburied\n\n## B\n\ntwo\n"
    memory.remember(text, source="doc.md")
    before = {node.path: node.dependency_hash for node in memory.history(source="doc.md").nodes}
    memory.remember(text.replace("buried", "changed"), source="doc.md")
    after = {node.path: node.dependency_hash for node in memory.history(source="doc.md").nodes}
    assert before.keys() == after.keys()
    assert {path for path in before if before[path] != after[path]} == {
        "", "Top", "Top/A", "Top/A/Deep", "Top/A/Deep#2",
    }  # fmt: skip


def test_a_memory_shows_its_place_and_the_hash_it_stands_under(memory: Memory) -> None:
    ids = memory.remember("# Top\n\nintro\n", source="doc.md").added
    nodes = {node.path: node.dependency_hash for node in memory.history(source="doc.md").nodes}
    item = memory.history(ids[1]).memory
    assert item is not None
    assert item.place == "Top#2"
    assert item.dependency_hash == nodes["Top"]
