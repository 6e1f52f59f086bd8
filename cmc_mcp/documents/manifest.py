"""Manifests: one version of a source as its atoms and the literal bytes between them, and its hierarchy."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import cast

from cmc_mcp.canon import Json, canonical
from cmc_mcp.errors import IntegrityError
from cmc_mcp.ids import PayloadHash


@dataclass(frozen=True, slots=True)
class ManifestPart:
    """One atom's place: its id (16 bytes), kind of block, and path in the hierarchy."""

    atom: bytes
    kind: str
    place: str


@dataclass(frozen=True, slots=True)
class ManifestNode:
    """One place in the hierarchy, and the Merkle hash of what is under it (hex)."""

    path: str
    level: int
    title: str
    dependency_hash: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of a source. `literals[i]` are the bytes before part i; the last one follows the last part."""

    atomizer: str
    media_type: str
    modality: str
    whole: PayloadHash
    size: int
    parts: tuple[ManifestPart, ...]
    literals: tuple[bytes, ...]
    nodes: tuple[ManifestNode, ...]

    def encode(self) -> bytes:
        """Write the manifest as canonical bytes."""
        body: dict[str, Json] = {
            "atomizer": self.atomizer,
            "media_type": self.media_type,
            "modality": self.modality,
            "whole": self.whole.hex(),
            "size": self.size,
            "parts": [[part.atom.hex(), part.kind, part.place] for part in self.parts],
            "literals": [literal.decode() for literal in self.literals],
            "nodes": [[n.path, n.level, n.title, n.dependency_hash] for n in self.nodes],
        }
        return canonical(body)


def redacted(manifest: Manifest, titles: Collection[str], placeholder: str) -> Manifest:
    """Return the manifest with some titles replaced, in the paths too; hashes and order stay.

    >>> node = ManifestNode("Plans", 2, "Plans", "00")
    >>> part = ManifestPart(bytes(16), "heading", "Plans#1")
    >>> plan = Manifest("1", "text/plain", "text", bytes(32), 5, (part,), (b"", b""), (node,))
    >>> redacted(plan, ["Plans"], "[erased]").parts[0].place
    '[erased]#1'
    """
    moved: dict[str, str] = {}
    taken: set[str] = set()
    nodes: list[ManifestNode] = []
    for node in manifest.nodes:  # parents come before their children, atoms after the node they stand under
        title = placeholder if node.title in titles else node.title
        path = _moved(node.path, moved)
        if title != node.title and node.path:
            above, slash, _ = path.rpartition("/")
            path = same = above + slash + placeholder
            times = 1
            while path in taken:
                times += 1
                path = f"{same}~{times}"
        taken.add(path)
        moved[node.path] = path
        nodes.append(replace(node, path=path, title=title))
    parts = tuple(ManifestPart(part.atom, part.kind, _moved(part.place, moved)) for part in manifest.parts)
    return replace(manifest, parts=parts, nodes=tuple(nodes))


def _moved(path: str, moved: Mapping[str, str]) -> str:
    """Return a path under what it stands in now: an atom in its node ("node#1"), a node in its parent ("parent/node")."""
    for mark in "#/":
        above, found, name = path.rpartition(mark)
        if found:
            return moved.get(above, above) + mark + name
    return path


def decode_manifest(body: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        IntegrityError: the bytes are not a manifest.
    """
    try:
        raw = cast("dict[str, list[list[str]]]", json.loads(body))
        return Manifest(
            str(raw["atomizer"]),
            str(raw["media_type"]),
            str(raw["modality"]),
            PayloadHash(bytes.fromhex(str(raw["whole"]))),
            int(str(raw["size"])),
            tuple(ManifestPart(bytes.fromhex(a), kind, place) for a, kind, place in raw["parts"]),
            tuple(str(literal).encode() for literal in raw["literals"]),
            tuple(ManifestNode(path, int(level), title, hash_) for path, level, title, hash_ in raw["nodes"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise IntegrityError("a manifest cannot be read", table="payloads") from error
