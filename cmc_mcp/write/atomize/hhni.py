"""The hierarchy of one version of a source: its sections as a Merkle tree over its atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cmc_mcp.canon import digest

_DOMAIN: Final = "cmc/hhni/1"
_TITLE_DOMAIN: Final = "cmc/hhni-title/1"
_ESCAPES: Final = str.maketrans({"%": "%25", "/": "%2F", "#": "%23", "~": "%7E"})


@dataclass(frozen=True, slots=True)
class Node:
    """A place in the hierarchy of a source.

    `path` is empty for the root and otherwise the escaped titles joined by "/"; an atom's path is its node's path, "#" and
    its ordinal.
    `level` is 1 for the root, 2 for a section, class or session, 3 for an atom. `dependency_hash` has 32 bytes and
    covers the subtree. `children` are indexes into the tuple that holds the node.
    """

    path: str
    level: int
    title: str
    dependency_hash: bytes
    children: tuple[int, ...]


@dataclass(slots=True)
class _Draft:
    path: str
    level: int
    title: str
    own: bytes
    children: list[int]
    names: dict[str, int]  # how often a title has stood under this node
    atoms: int = 0


def hierarchy(title: str, leaves: Sequence[tuple[tuple[str, ...], bytes]]) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """Build the hierarchy of a source from its leaves: the titles each stands under, and its content hash (32 bytes).

    Return every node, the leaves among them at level 3, and the path of each leaf. Parents come before children; the rest
    follows the order of the source. Neighbours under the same titles share a node; a title that comes back after another
    is a new node: "Notes", "Notes~2". A changed leaf changes only its own hash and the hashes of its ancestors.

    >>> nodes, places = hierarchy("guide", [((), b"a" * 32), (("Deploy", "CI/CD"), b"b" * 32)])
    >>> places
    ('#1', 'Deploy/CI%2FCD#1')
    >>> [(node.path, node.level) for node in nodes]
    [('', 1), ('#1', 3), ('Deploy', 2), ('Deploy/CI%2FCD', 2), ('Deploy/CI%2FCD#1', 3)]
    """
    drafts = [_section("", 1, title)]
    places: list[str] = []
    names: tuple[str, ...] = ()
    open_nodes = [0]
    for path, content_hash in leaves:
        shared = _shared(names, path)
        # an atom directly under a node closes the sections that were open below it
        del open_nodes[shared + 1 :]
        for name in path[shared:]:
            open_nodes.append(_open(drafts, open_nodes[-1], name))
        names = path
        parent = drafts[open_nodes[-1]]
        parent.atoms += 1
        place = f"{parent.path}#{parent.atoms}"
        parent.children.append(len(drafts))
        drafts.append(_Draft(place, 3, "", content_hash, [], {}))
        places.append(place)
    return _sealed(drafts), tuple(places)


def _section(path: str, level: int, title: str) -> _Draft:
    return _Draft(path, level, title, digest(_TITLE_DOMAIN, title.encode("utf-8")), [], {})


def _shared(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def _open(drafts: list[_Draft], parent_index: int, name: str) -> int:
    parent = drafts[parent_index]
    times = parent.names[name] = parent.names.get(name, 0) + 1
    # the escape leaves no bare "~" and no empty name, so a second "A" and a title "A~2" stay apart
    segment = (name.translate(_ESCAPES) or "%") + (f"~{times}" if times > 1 else "")
    path = f"{parent.path}/{segment}" if parent_index else segment
    parent.children.append(len(drafts))
    drafts.append(_section(path, 2, name))
    return len(drafts) - 1


def _sealed(drafts: Sequence[_Draft]) -> tuple[Node, ...]:
    hashes: list[bytes] = [b""] * len(drafts)
    for index in range(len(drafts) - 1, -1, -1):  # children come after their parents
        draft = drafts[index]
        hashes[index] = digest(_DOMAIN, draft.own, *(hashes[child] for child in draft.children))
    return tuple(
        Node(draft.path, draft.level, draft.title, hashes[index], tuple(draft.children))
        for index, draft in enumerate(drafts)
    )
