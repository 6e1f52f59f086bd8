"""The hierarchy: its paths, and what a change changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.canon import digest
from cmc_mcp.write.atomize.hhni import Node, hierarchy

PATHS = st.lists(st.sampled_from(["A", "B", "A~2", "a/b", "#", "", "%"]), max_size=4).map(tuple)
LEAVES = st.lists(st.tuples(PATHS, st.binary(min_size=32, max_size=32)), max_size=12)


def test_paths_levels_and_places() -> None:
    leaves = [
        ((), b"0" * 32),
        (("A",), b"1" * 32),
        (("A",), b"2" * 32),
        (("A", "x/y#z~"), b"3" * 32),
        (("A",), b"4" * 32),
        (("B",), b"5" * 32),
        (("A",), b"6" * 32),
        ((), b"7" * 32),
    ]
    nodes, places = hierarchy("doc", leaves)
    assert places == ("#1", "A#1", "A#2", "A/x%2Fy%23z%7E#1", "A#3", "B#1", "A~2#1", "#2")
    assert [(n.path, n.level, n.title) for n in nodes if n.level < 3] == [
        ("", 1, "doc"),
        ("A", 2, "A"),
        ("A/x%2Fy%23z%7E", 2, "x/y#z~"),
        ("B", 2, "B"),
        ("A~2", 2, "A"),
    ]
    assert nodes[1].dependency_hash == digest("cmc/hhni/1", b"0" * 32)
    assert [nodes[child].path for child in nodes[0].children] == ["#1", "A", "B", "A~2", "#2"]


def test_an_empty_source_has_a_root() -> None:
    nodes, places = hierarchy("doc", [])
    assert [node.path for node in nodes] == [""]
    assert places == ()


@given(LEAVES)
def test_paths_are_unique_and_nodes_form_a_tree(leaves: list[tuple[tuple[str, ...], bytes]]) -> None:
    nodes, places = hierarchy("doc", leaves)
    assert len({node.path for node in nodes}) == len(nodes)
    assert len(set(places)) == len(leaves)
    children = [child for node in nodes for child in node.children]
    assert sorted(children) == list(range(1, len(nodes)))
    assert all(child > index for index, node in enumerate(nodes) for child in node.children)
    assert hierarchy("doc", leaves) == (nodes, places)


@given(LEAVES.filter(bool), st.data())
def test_a_changed_leaf_changes_itself_and_its_ancestors(
    leaves: list[tuple[tuple[str, ...], bytes]], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    nodes, places = hierarchy("doc", leaves)
    path, content = leaves[index]
    changed = [*leaves[:index], (path, bytes([content[0] ^ 1]) + content[1:]), *leaves[index + 1 :]]
    others, others_places = hierarchy("doc", changed)
    assert places == others_places
    expected = ancestors(nodes, next(i for i, node in enumerate(nodes) if node.path == places[index]))
    different = {i for i, (a, b) in enumerate(zip(nodes, others, strict=True)) if a != b}
    assert different == expected


def ancestors(nodes: tuple[Node, ...], index: int) -> set[int]:
    parents = {child: parent for parent, node in enumerate(nodes) for child in node.children}
    found = {index}
    while index in parents:
        index = parents[index]
        found.add(index)
    return found
