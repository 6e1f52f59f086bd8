"""Nodes of documents: what is indexed, what their texts are, and that the index follows every kind of change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.documents.nodes import TEXT_BYTES_MAX, Node, cut, nodes_in, rows_of, text_of
from cmc_mcp.documents.sources import versions
from cmc_mcp.memory import Memory
from tests.read.made import opened
from tests.support import reach
from tests.support.embedders import HashVectors

GUIDE = (
    "# Guide\n\nHow we work.\n\n## Deploy\n\nWe use Fly.\n\nIt is fast.\n\n## Test\n\nWe run pytest.\n\nAll green.\n"
)
Rows = list[tuple[object, ...]]


class Counted(HashVectors):
    """An embedder that remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.texts += texts
        return super().embed(texts)


def index(memory: Memory, *, live: bool = True) -> Rows:
    """The nodes as (path, key), of present versions or of all."""
    with reach.reader(memory) as view:
        rows = sorted(set(view.index_rows(view.registry.by_name["nodes"])), key=repr)
        return [(row[1], row[3]) for row in rows if not live or row[5] == (1 << 62) - 1]  # type: ignore[operator]


def vectors(memory: Memory) -> set[object]:
    with reach.reader(memory) as view:
        return {row[1] for row in set(view.index_rows(view.registry.by_name["node_vectors"]))}


def erase(memory: Memory, *texts: str) -> None:
    with reach.reader(memory) as view:
        rows = [(row, view.payload(row.content) or b"") for row in view.all_atoms()]
    ids = [f"atom_{row.key.hex()}" for row, body in rows if body.decode() in texts]
    if not ids:
        return
    plan = memory.forget(ids, dry_run=True, erase=True)
    memory.forget(ids, erase=True, digest=plan.digest)


def faults(memory: Memory, *, deep: bool = False) -> list[str]:
    return [f"{fault.table} {fault.key}: {fault.reason}" for fault in memory.verify(deep=deep).faults]


# ---------------------------------------------------------------------- what is a node
def test_sections_of_more_than_one_child_are_nodes_and_those_of_one_are_not(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE + "\n## Empty\n", source="guide.md")
        assert [path for path, _ in index(memory)] == ["Guide", "Guide/Deploy", "Guide/Test"]


def test_notes_and_turns_make_no_nodes(tmp_path: Path) -> None:
    embedder = Counted()
    with opened(tmp_path, embedder=embedder) as memory:
        memory.remember("a note")
        memory.remember_many([{"content": f"turn {i}", "session": "s"} for i in range(5)])
        assert index(memory, live=False) == []
        assert len(embedder.texts) == 6


def test_classes_of_code_are_nodes(tmp_path: Path) -> None:
    source = "class Cart:\n" + "".join(
        f'    def method_{i}(self):\n        """Do {i}."""\n' + "        x = 1\n" * 120 + "\n" for i in range(4)
    )
    embedder = Counted()
    with opened(tmp_path, embedder=embedder) as memory:
        memory.remember(source, source="cart.py", modality="code")
        assert [path for path, _ in index(memory)], "a class of several atoms is a node"
        assert any("method_2" in text and "Do 2." in text and len(text) < 900 for text in embedder.texts)


def test_a_node_says_its_titles_and_how_its_atoms_begin(tmp_path: Path) -> None:
    embedder = Counted()
    with opened(tmp_path, embedder=embedder) as memory:
        memory.remember(GUIDE, source="guide.md", title="Handbook")
    assert "Handbook › Guide › Deploy\nWe use Fly.\nIt is fast." in embedder.texts


def test_only_what_changed_is_embedded_again(tmp_path: Path) -> None:
    embedder = Counted()
    with opened(tmp_path, embedder=embedder) as memory:
        memory.remember(GUIDE, source="guide.md")
        before, embedder.texts = dict(index(memory)), []  # type: ignore[arg-type, var-annotated]
        memory.remember(GUIDE.replace("pytest", "nose"), source="guide.md")
        after = dict(index(memory))  # type: ignore[arg-type, var-annotated]
        assert {path for path in after if after[path] != before[path]} == {"Guide", "Guide/Test"}
        assert len(embedder.texts) == 3  # the paragraph, and the two nodes above it
        embedder.texts = []
        memory.remember(GUIDE.replace("pytest", "nose"), source="guide.md")
        assert embedder.texts == []


# ---------------------------------------------------------------------- texts
parts = st.lists(st.tuples(st.sampled_from(["heading", "paragraph", "code"]), st.text(max_size=900)), max_size=40)


@given(parts, st.lists(st.text(max_size=300), min_size=1, max_size=4), st.sampled_from(["text", "code"]))
@settings(max_examples=150)
def test_a_text_stays_within_its_bytes_and_is_the_same_every_time(
    given_parts: list[tuple[str, str]], titles: list[str], modality: str
) -> None:
    node = Node("x", 2, tuple(titles), b"", 0, len(given_parts))
    text = text_of(node, modality, given_parts)
    assert len(text.encode()) <= TEXT_BYTES_MAX
    assert text == text_of(node, modality, given_parts)


@given(st.text(), st.integers(0, 60))
def test_a_cut_is_a_beginning_that_fits(text: str, size: int) -> None:
    kept = cut(text, size)
    assert len(kept.encode()) <= size and text.startswith(kept)
    assert kept == text or len(text.encode()) > size


def test_every_atom_of_a_short_section_is_heard_and_the_central_ones_of_a_long_one() -> None:
    node = Node("x", 2, ("guide", "x"), b"", 0, 0)
    few = text_of(node, "text", [("paragraph", f"word{i} " * 400) for i in range(5)])
    assert all(f"word{i} " in few for i in range(5))
    many = [("paragraph", f"unrelated{i} alone{i} apart{i}") for i in range(30)]
    many[17] = ("paragraph", "the shared words of the whole section")
    many[23] = ("paragraph", "the whole section shares words")
    long = text_of(node, "text", [(kind, f"{text} {str(i) * 100}") for i, (kind, text) in enumerate(many)])
    assert "unrelated0 " in long and "shared words" in long and "section shares" in long


# ---------------------------------------------------------------------- the index follows
def test_an_erase_takes_the_vectors_above_with_it_and_what_is_beside_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        keys = dict(index(memory))  # type: ignore[arg-type, var-annotated]
        erase(memory, "We run pytest.")
        assert vectors(memory) == {keys["Guide/Deploy"]}
        assert memory.embed_pending() == 0  # their texts cannot be made any more
        assert faults(memory, deep=True) == []


def test_an_erased_title_is_in_no_path_of_the_index(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        memory.remember(GUIDE.replace("Fly", "Fargate"), source="guide.md")
        erase(memory, "## Deploy")
        assert not any("Deploy" in str(path) for path, _ in index(memory, live=False))
        assert faults(memory, deep=True) == []


def test_erased_words_are_in_no_byte_of_the_file_by_way_of_the_nodes(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE.replace("## Test", "## Canaryhead").replace("pytest", "canarytext"), source="guide.md")
        erase(memory, "## Canaryhead", "We run canarytext.")
    data = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"We use Fly" in data and b"anaryhead" not in data and b"canarytext" not in data


def test_what_was_erased_and_is_told_again_has_its_node_again(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        keys = dict(index(memory))  # type: ignore[arg-type, var-annotated]
        erase(memory, "We run pytest.")
        held = memory.remember(GUIDE, source="guide.md").quarantined
        assert held and keys["Guide/Test"] not in vectors(memory)
        memory.release(held[0].id)
        assert keys["Guide/Test"] in vectors(memory)
        assert faults(memory, deep=True) == []


def test_a_model_that_comes_later_embeds_the_nodes_too(tmp_path: Path) -> None:
    with opened(tmp_path, embedder=HashVectors(down=True)) as memory:
        memory.remember(GUIDE, source="guide.md")
        assert vectors(memory) == set()
    with opened(tmp_path) as memory:
        assert memory.embed_pending() == 8 + 3  # atoms and nodes
        assert vectors(memory) == {key for _, key in index(memory)}
        assert memory.embed_pending() == 0
        assert faults(memory, deep=True) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM nodes WHERE path = 'Guide/Test'", "nodes"),
        ("UPDATE nodes SET tx_to = 1 WHERE path = 'Guide/Test'", "nodes"),
        ("UPDATE nodes SET node = zeroblob(16) WHERE path = 'Guide/Test'", "nodes"),
        ("UPDATE nodes SET level = 1 WHERE path = 'Guide/Test'", "nodes"),
        ("UPDATE nodes SET path = 'Guide/Other' WHERE path = 'Guide/Test'", "nodes"),
        ("UPDATE nodes SET source = source + 1 WHERE path = 'Guide/Test'", "nodes"),
        ("INSERT INTO nodes SELECT ws, source, 'x', tx_from, tx_to, level, node FROM nodes LIMIT 1", "nodes"),
        ("UPDATE node_vectors SET node = zeroblob(16) WHERE nid = 1", "node_vectors"),
        ("UPDATE node_vectors SET seq = 0 WHERE nid = 1", "node_vectors"),
        (
            "UPDATE node_vectors SET vector = (SELECT vector FROM node_vectors WHERE nid = 2) WHERE nid = 1",
            "not that of its text",
        ),
    ],
)
def test_a_changed_index_is_a_fault(tmp_path: Path, change: str, said: str) -> None:
    with opened(tmp_path) as memory:
        memory.remember(GUIDE, source="guide.md")
        assert faults(memory, deep=True) == []
        with reach.writer(memory) as unit:
            unit.connection.execute(change)  # type: ignore[attr-defined]
            reach.commit(memory, unit, "test", {})
        assert any(said in fault for fault in faults(memory, deep=True))


words = st.sampled_from(["one", "two", "three"])
documents = st.lists(
    st.tuples(st.sampled_from(["", "# A", "# B", "## C", "# A\n\n## D"]), words), min_size=1, max_size=6
).map(lambda blocks: "\n\n".join(f"{head}\n\n{word}" for head, word in blocks) + "\n")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("remember"), documents, st.sampled_from(["a.md", "b.md"])),
        st.tuples(st.just("forget"), st.just(""), st.sampled_from(["a.md", "b.md"])),
        st.tuples(st.just("erase"), words, st.just("")),
        st.tuples(st.just("rollback"), st.integers(0, 99).map(str), st.just("")),
        st.tuples(st.just("undo"), st.integers(0, 99).map(str), st.sampled_from(["a.md", "b.md"])),
    ),
    min_size=1,
    max_size=8,
)


@given(steps)
@settings(max_examples=25)
def test_whatever_is_done_the_index_is_the_one_that_the_manifests_give(history: list[tuple[str, str, str]]) -> None:
    with TemporaryDirectory() as folder, opened(Path(folder)) as memory:
        for verb, what, source in history:
            _do(memory, verb, what, source)
        with reach.reader(memory) as view:
            stored = set(view.index_rows(view.registry.by_name["nodes"]))
            rids = [row[0] for row in set(view.index_rows(view.registry.by_name["sources"]))]
            expected = {
                (rid, *row)
                for rid in rids
                for row in rows_of(versions(view, rid))  # type: ignore[arg-type]
            }
            assert stored == expected
            for seq in range(view.head().seq + 1):  # at any transaction, each node of each version once
                for rid in rids:
                    at = [row for row in stored if row[0] == rid and row[4] <= seq < row[5]]  # type: ignore[operator]
                    manifest = Manifests().of_record(view, rid, seq)  # type: ignore[arg-type]
                    wanted = set() if manifest is None else {(n.path, n.key) for n in nodes_in(manifest)}
                    assert {(row[1], row[3]) for row in at} == wanted and len(at) == len(wanted)
        assert faults(memory, deep=True) == []


def _do(memory: Memory, verb: str, what: str, source: str) -> None:
    if verb == "remember":
        memory.remember(what, source=source)
    elif verb == "forget":
        memory.forget(source=source)
    elif verb == "erase":
        erase(memory, what)
    else:
        with reach.reader(memory) as view:
            head = view.head().seq
        to = int(what) % (head + 1)
        if verb == "rollback":
            memory.rollback(to)
        elif to:
            memory.rollback(since=to, source=source)
