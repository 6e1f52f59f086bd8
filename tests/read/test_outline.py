"""Zoom: out, in and sideways from any place of a source; and hashes that change for exactly what is above a change."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.cli.app import run
from cmc_mcp.errors import CmcError, InvalidInput, NotFound
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import HistoryResult, NodeModel
from cmc_mcp.tools.history import write
from cmc_mcp.verbs.models import History

GUIDE = (
    "# Guide\n\nHow we work.\n\n## Deploy\n\nWe use Fly.\n\nIt is fast.\n\n## Test\n\nWe run pytest.\n\nAll green.\n"
)


def opened(folder: Path) -> Memory:
    return Memory.open(folder / "memory.db", embedder=None)


def paths(nodes: list[NodeModel]) -> list[str]:
    return [node.path for node in nodes]


def at(memory: Memory, place: str, source: str = "guide.md") -> HistoryResult:
    return memory.history(source=source, place=place)


# ---------------------------------------------------------------------- documents
def test_a_section_is_seen_with_what_it_is_in_what_it_holds_and_what_is_beside(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        seen = at(memory, "Guide/Deploy")
        assert seen.node is not None and seen.parent is not None
        assert (seen.node.title, seen.node.text) == ("Deploy", "guide.md › Guide › Deploy\nWe use Fly.\nIt is fast.")
        assert seen.parent.path == "Guide"
        assert paths(seen.children) == ["Guide/Deploy#1", "Guide/Deploy#2", "Guide/Deploy#3"]
        assert [node.text for node in seen.children] == ["## Deploy", "We use Fly.", "It is fast."]
        assert all(node.id and node.id.startswith("atom_") for node in seen.children)
        assert paths(seen.siblings) == ["Guide#1", "Guide#2", "Guide/Test"]
        nodes = memory.history(source="guide.md").nodes
        assert {n.path: n.dependency_hash for n in nodes}["Guide/Deploy"] == seen.node.dependency_hash


def test_the_whole_source_has_no_parent(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        seen = at(memory, "")
        assert seen.parent is None and seen.siblings == [] and paths(seen.children) == ["Guide"]


def test_walking_in_from_the_whole_reaches_every_place_and_walking_out_comes_back(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        found: list[str] = []

        def walk(path: str) -> None:
            found.append(path)
            for child in at(memory, path).children:
                parent = at(memory, child.path).parent
                assert parent is not None and parent.path == path
                walk(child.path)

        walk("")
        assert found == paths(memory.history(source="guide.md").nodes)


def test_a_memory_is_seen_in_its_section(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        item = at(memory, "Guide/Test#2").node
        assert item is not None and item.id is not None
        seen = memory.history(item.id)
        assert seen.parent is not None and seen.parent.path == "Guide/Test"
        assert [node.text for node in seen.siblings] == ["## Test", "All green."]
        assert memory.history(memory.remember("a bare note").added[0]).parent is None


def test_only_three_stand_on_each_side_and_limit_bounds_what_is_held(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember("# A\n\n" + "\n\n".join(f"line {i}" for i in range(20)), source="long.md")
        assert [n.text for n in at(memory, "A#11", "long.md").siblings] == [f"line {i}" for i in (6, 7, 8, 10, 11, 12)]
        assert len(memory.history(source="long.md", place="A", limit=5).children) == 5


def test_what_was_forgotten_is_in_no_text_of_what_is_around(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        atom = at(memory, "Guide/Deploy#2").node
        assert atom is not None and atom.id is not None
        memory.forget([atom.id])
        for place in ("", "Guide", "Guide/Deploy", "Guide/Deploy#2", "Guide/Deploy#3", "Guide/Test"):
            assert "Fly" not in at(memory, place).model_dump_json()
        memory.forget([atom.id], erase=True, digest=memory.forget([atom.id], dry_run=True, erase=True).digest)
        assert "Fly" not in at(memory, "Guide/Deploy").model_dump_json()
        assert memory.history(atom.id).memory is not None  # still told of


def test_a_long_text_is_whole_where_one_looks_and_cut_around_it(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(f"# A\n\n{'word ' * 200}\n\nshort\n", source="a.md")
        here, beside = at(memory, "A#2", "a.md").node, at(memory, "A#3", "a.md").siblings[1]
        assert here is not None and here.text is not None and len(here.text) == 999
        assert beside.text is not None and len(beside.text) <= 240 and here.text.startswith(beside.text)


# ---------------------------------------------------------------------- conversations
def test_a_session_says_when_it_was_and_who_spoke(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        for number, (session, who) in enumerate((("one", "Maya"), ("one", "Tom"), ("two", "Maya"))):
            memory.remember(
                f"turn {number}",
                session=session,
                speaker=who,
                source="chat",
                occurred_at=f"2026-05-0{number + 1}T10:00:00Z",
            )
        seen = at(memory, "one", "chat")
        assert seen.node is not None and seen.node.text == "one · 2026-05-01 to 2026-05-02 · Maya, Tom"
        assert [node.text for node in seen.children] == ["turn 0", "turn 1"]
        assert paths(seen.siblings) == ["two"]
        turn = at(memory, "two#3", "chat")
        assert turn.parent is not None and (turn.parent.path, turn.siblings) == ("two", [])
        assert at(memory, "", "chat").children[1].text == "two · 2026-05-03 · Maya"


def test_an_erased_conversation_can_still_be_asked_about(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        ids = memory.remember("secret", session="s", speaker="Maya").added
        memory.forget(ids, erase=True, digest=memory.forget(ids, dry_run=True, erase=True).digest)
        assert memory.history(ids[0]).parent is None


# ---------------------------------------------------------------------- what is refused
def test_a_place_needs_its_source_and_must_be_there(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        with pytest.raises(InvalidInput, match="give the source"):
            memory.history(place="Guide")
        with pytest.raises(NotFound, match=r"no place 'Nowhere'.*'Guide'"):
            at(memory, "Nowhere")
        with pytest.raises(NotFound, match="no source"):
            at(memory, "Guide", "other.md")
        with pytest.raises(CmcError):
            at(memory, "\ud800")


def test_the_tool_and_the_command_line_show_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        asked = History(source="guide.md", place="Guide/Deploy")
        lines = write(at(memory, "Guide/Deploy"), asked)
        assert [line.split(" ")[:2] for line in lines][:3] == [
            ["here", "Guide/Deploy"], ["in", "Guide"], ["holds", "Guide/Deploy#1"],
        ]  # fmt: skip
    store = ("--no-model", "--store", str(tmp_path / "memory.db"))
    assert run([*store, "--json", "history", "--source", "guide.md", "--place", "Guide/Deploy"]) == 0
    assert json.loads(capsys.readouterr().out)["parent"]["path"] == "Guide"
    assert run([*store, "history", "--source", "guide.md", "--place", "Guide/Deploy"]) == 0
    shown = capsys.readouterr().out
    assert "We use Fly." in shown and "beside" in shown and "Guide/Test" in shown


# ---------------------------------------------------------------------- hashes
blocks = st.lists(
    st.tuples(st.sampled_from(["", "", "# A", "# B", "## C", "### D"]), st.sampled_from("pqrst")),
    min_size=1,
    max_size=8,
)


def rendered(document: list[tuple[str, str]]) -> str:
    """Every block of its own words, so that an edit of one is an edit of one atom."""
    return (
        "\n\n".join(f"{head}\n\n{word} {i}" if head else f"{word} {i}" for i, (head, word) in enumerate(document))
        + "\n"
    )


def hashes(memory: Memory) -> dict[str, str]:
    return {node.path: node.dependency_hash for node in memory.history(source="guide.md").nodes}


def above(path: str) -> set[str]:
    """A place and all that is above it."""
    out = {path, ""}
    path = path.rpartition("#")[0]
    while path:
        out.add(path)
        path = path.rpartition("/")[0]
    return out


@given(blocks, st.data())
@settings(max_examples=40)
def test_a_changed_paragraph_changes_its_own_hash_and_those_above_and_no_others(
    document: list[tuple[str, str]], data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(document) - 1))
    edited = [(head, "changed" if i == number else word) for i, (head, word) in enumerate(document)]
    with TemporaryDirectory() as folder, opened(Path(folder)) as memory:
        memory.remember(rendered(document), source="guide.md")
        before = hashes(memory)
        places = {n.text: n.path for path in before for n in at(memory, path).children if n.id}
        place = places[f"{document[number][1]} {number}"]
        memory.remember(rendered(edited), source="guide.md")
        after = hashes(memory)
        assert {path for path in after if before.get(path) != after[path]} == above(place)
        assert before.keys() == after.keys()
        memory.remember(rendered(document), source="guide.md")
        assert hashes(memory) == before


@given(blocks, st.data())
@settings(max_examples=25)
def test_a_paragraph_more_or_less_leaves_the_hashes_of_other_sections(
    document: list[tuple[str, str]], data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(document)))
    text = rendered(document)
    lines = text.split("\n\n")
    longer = "\n\n".join([*lines[: 2 * number], "one more", *lines[2 * number :]])
    with TemporaryDirectory() as folder, opened(Path(folder)) as memory:
        memory.remember(text, source="guide.md")
        before = hashes(memory)
        memory.remember(longer, source="guide.md")
        after = hashes(memory)
        new = next(
            n.path for path in after for n in at(memory, path).children if n.text and "one more" in n.text and n.id
        )
        section = new.rpartition("#")[0]
        touched = above(new) | {path for path in after if path.rpartition("#")[0] == section and "#" in path}
        assert {path for path in after if path in before and before[path] != after[path]} <= touched
        assert all(
            after[path] != before[path] for path in above(section + "#") & before.keys() if path == "" or path in before
        )


def test_the_result_says_nothing_that_is_not_asked(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        lean = json.loads(json.dumps(at(memory, "Guide/Deploy").lean()))
        assert set(lean) == {"node", "parent", "children", "siblings"}
