"""Nodes: the sections of a document as things that can be found, each with a text of its own (`docs/design/store.md` §3).

Everything here follows from a manifest, which the ledger hashes, and from the bytes of its atoms: no clock, no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cmc_mcp.canon import digest
from cmc_mcp.documents.manifest import Manifest, ManifestNode
from cmc_mcp.ids import NodeKey, Seq

KEY_BYTES: Final = 16
TEXT_BYTES_MAX: Final = 800  # about 200 tokens of English
_TITLES_BYTES_MAX: Final = 240
_LEAD_BYTES_MIN: Final = 72  # less than this of an atom says nothing
_TITLED: Final = frozenset({"heading"})
_CODE_LINES: Final = 3  # a signature, and the first line of what is said about it
_WORD: Final = re.compile(r"\w+")
_SEPARATOR: Final = " › "
_ATOM_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class Node:
    """One node that is indexed. The atoms under it are the parts `[first, end)` of its version.

    `key` (16 bytes) covers everything its text is made of: equal keys have equal texts, and so one vector.
    """

    path: str
    level: int
    titles: tuple[str, ...]  # from the root's to its own
    key: NodeKey
    first: int
    end: int


class Row(NamedTuple):
    """A node as the index has it: from one transaction until another."""

    path: str
    level: int
    key: NodeKey
    tx_from: Seq
    tx_to: Seq


def nodes_of(modality: str, nodes: Sequence[ManifestNode], parts: Sequence[tuple[str, str]]) -> tuple[Node, ...]:
    """Return the nodes of a version that are indexed, in order: those of at least two children, a heading being one.

    A node of one child is left out: the child says it all. `parts` are the (kind, place) of the atoms, in order.

    >>> made = [ManifestNode("", 1, "guide", "00"), ManifestNode("Deploy", 2, "Deploy", "01")]
    >>> [(n.path, n.titles, n.first, n.end) for n in nodes_of("text", made, [("", "Deploy#1"), ("", "Deploy#2")])]
    [('Deploy', ('guide', 'Deploy'), 0, 2)]
    """
    under = spans([place for _, place in parts])
    children: dict[str, int] = {}
    for _, place in parts:
        path = place.rpartition("#")[0]
        children[path] = children.get(path, 0) + 1
    titles: dict[str, tuple[str, ...]] = {}
    sections = [node for node in nodes if node.level < _ATOM_LEVEL]
    for node in sections:  # parents come first
        above = node.path.rpartition("/")[0]
        titles[node.path] = (*(titles.get(above, ()) if node.path else ()), node.title)
        if node.path:
            children[above] = children.get(above, 0) + 1
    out: list[Node] = []
    for node in sections:
        if children.get(node.path, 0) > 1 and node.path in under:
            low, high = under[node.path]
            key = _key(modality, titles[node.path], node.dependency_hash, [kind for kind, _ in parts[low:high]])
            out.append(Node(node.path, node.level, titles[node.path], key, low, high))
    return tuple(out)


def nodes_in(manifest: Manifest) -> tuple[Node, ...]:
    """Return the nodes of a manifest that are indexed."""
    return nodes_of(manifest.modality, manifest.nodes, [(part.kind, part.place) for part in manifest.parts])


def spans(places: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return, for each path with an atom under it, the atoms `[first, end)`: they follow each other in a source.

    >>> spans(["#1", "Deploy#1", "Deploy/CI#1"])
    {'': (0, 3), 'Deploy': (1, 3), 'Deploy/CI': (2, 3)}
    """
    out: dict[str, tuple[int, int]] = {}
    before: tuple[str, list[str]] = ("", [""])
    for number, place in enumerate(places):
        path = place.rpartition("#")[0]
        if path != before[0]:
            before = (path, lineage(path))
        for above in before[1]:
            out[above] = (out[above][0] if above in out else number, number + 1)
    return out


def lineage(path: str) -> list[str]:
    """Return a path and every path above it, the root's last.

    >>> lineage("Deploy/CI")
    ['Deploy/CI', 'Deploy', '']
    """
    out = [path]
    while path:
        path = path.rpartition("/")[0]
        out.append(path)
    return out


def _key(modality: str, titles: Iterable[str], dependency_hash: str, kinds: Iterable[str]) -> NodeKey:
    named = [title.encode() for title in titles]
    said = (modality.encode(), bytes.fromhex(dependency_hash), " ".join(kinds).encode())
    return NodeKey(digest("cmc/node/1", *said, *named)[:KEY_BYTES])


# ---------------------------------------------------------------------- rows over time
def rows_of(versions: Iterable[tuple[Seq, Seq, Manifest | None]]) -> set[Row]:
    """Return the index rows of a source from its versions `(tx_from, tx_to, manifest)`, in order; None: it was erased.

    A node that the next version has too, unchanged, is one row.
    """
    out: set[Row] = set()
    standing: dict[str, Row] = {}
    for tx_from, tx_to, manifest in versions:
        following: dict[str, Row] = {}
        for node in () if manifest is None else nodes_in(manifest):
            row = standing.get(node.path)
            if row is not None and (row.key, row.tx_to) == (node.key, tx_from):
                following[node.path] = standing.pop(node.path)._replace(tx_to=tx_to)
            else:
                following[node.path] = Row(node.path, node.level, node.key, tx_from, tx_to)
        out.update(standing.values())
        standing = following
    return out | set(standing.values())


# ---------------------------------------------------------------------- the text of a node
def text_of(node: Node, modality: str, parts: Sequence[tuple[str, str]], hidden: str = "") -> str:
    """Write what a node is about, in at most 800 bytes: its titles on a line, then how its atoms begin.

    `parts` are the (kind, text) of the atoms under it; a title that is `hidden` is left out. Each atom gives as many of
    its first bytes as there is room for, all the same; of more atoms than can be heard those are, in order, whose
    beginnings share the most words with the others' (centrality by overlap, as in LexRank, Erkan and Radev, 2004).

    >>> node = Node("Deploy", 2, ("guide", "Deploy"), b"", 0, 2)
    >>> print(text_of(node, "text", [("heading", "# Deploy"), ("paragraph", "We use Fly. It is fast.")]))
    guide › Deploy
    We use Fly. It is fast.
    """
    named = [title for title in node.titles if title != hidden and not title.startswith("note:")]
    head = cut(_SEPARATOR.join(named), _TITLES_BYTES_MAX)
    leads = [lead for kind, text in parts if (lead := _lead(kind, text, modality)) and lead not in named[-1:]]
    room = TEXT_BYTES_MAX - len(head.encode()) - 1
    most = max(1, room // _LEAD_BYTES_MIN)
    if len(leads) > most:
        leads = [leads[place] for place in _central(leads, most)]
    share = _share([len(lead.encode()) + 1 for lead in leads], room)
    return "\n".join(line for line in (head, *(cut(lead, share - 1) for lead in leads)) if line)


def _lead(kind: str, text: str, modality: str) -> str:
    """Return the beginning of an atom on one line; of code, its first lines."""
    if kind in _TITLED:
        return " ".join(text.strip("#=-\n ").split())
    if modality == "code":
        return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][:_CODE_LINES])
    return " ".join(text[:TEXT_BYTES_MAX].split())


def _share(sizes: Sequence[int], room: int) -> int:
    """Return the size up to which all can be kept within the room: the short ones leave theirs to the long."""
    left, many = room, len(sizes)
    for size in sorted(sizes):
        if size * many > left:
            return left // many
        left -= size
        many -= 1
    return TEXT_BYTES_MAX


def _central(leads: Sequence[str], most: int) -> list[int]:
    """Return the places of the leads that share the most words with the others, in order; the first is always one."""
    words = [frozenset(_WORD.findall(cut(lead, 2 * _LEAD_BYTES_MIN).lower())) for lead in leads]
    holding: dict[str, int] = {}
    for mine in words:
        for word in mine:
            holding[word] = holding.get(word, 0) + 1
    scores = [sum(holding[word] - 1 for word in mine) / (len(mine) or 1) ** 0.5 for mine in words]
    best = sorted(range(1, len(leads)), key=lambda place: (-scores[place], place))[: most - 1]
    return [0, *sorted(best)]


def cut(text: str, size: int) -> str:
    """Return the beginning of a text of at most `size` bytes, ended between words where there is a space to do so.

    >>> cut("We deploy to Fly.io", 15)
    'We deploy to'
    """
    data = text.encode()
    if len(data) <= size:
        return text
    kept = data[: max(size, 0)].decode("utf-8", "ignore")
    whole = kept.rpartition(" ")[0]
    return (whole if 2 * len(whole) >= len(kept) and data[len(kept.encode()) :][:1] != b" " else kept).rstrip()


def texts_of(
    nodes: Iterable[Node], modality: str, parts: Sequence[tuple[str, bytes | None]], hidden: str = ""
) -> Mapping[NodeKey, str]:
    """Return the texts of nodes by their keys; `parts` are the (kind, bytes) of all atoms of the version, in order.

    A node above an atom whose bytes are gone has no text any more.
    """
    out: dict[NodeKey, str] = {}
    for node in nodes:
        under = [(kind, data.decode()) for kind, data in parts[node.first : node.end] if data is not None]
        if len(under) == node.end - node.first:
            out[node.key] = text_of(node, modality, under, hidden)
    return out
