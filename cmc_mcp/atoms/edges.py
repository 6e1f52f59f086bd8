"""Edges: typed links between memories, found from either end."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

from cmc_mcp.ids import Pid, Rid, Seq
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import ATOM, EDGE, Record, atom_record
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.behaviours import Behaviour, Named
from cmc_mcp.store.indexes import Index
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.tables import Table, columns, key

_PAIRED_MAX: Final = 64
_LINKS: Final = (b"supersedes", b"derives")


class Edge(NamedTuple):
    """A row: the record of a link, and its ends by record numbers."""

    rid: Rid
    source: Rid
    type: str
    target: Rid


class _Edges(Index):
    """The ends of a link are told when it is made: its facts are empty, and its key is a hash of them."""

    table = Table(
        "edges", columns("rid:rid ws source:rid type target:rid"), key("rid"), "derived",
        write_rank=140, move_rank=130,
    )  # fmt: skip

    def whole(self, audit: Audit) -> Iterator[Edge]:
        """Yield stored rows that hash to their record; then search for missing rows, by records changed together."""
        search = _Search(audit)
        for _, source, kind, target in audit.stored(self):
            yield from search.found(source, str(kind).encode(), target)
        yield from search.by_premises()
        yield from search.by_transactions()


class _Links(Behaviour):
    """A link is about the memory that it begins at."""

    kind = EDGE

    def origin(self, view: LedgerView, rid: Rid) -> Pid | None:
        edge = view.edge(rid)
        return view.origin_of(rid if edge is None else edge.source)

    def subjects(self, view: LedgerView, rid: Rid, seq: Seq) -> list[Rid]:
        edge = view.edge(rid)
        return [] if edge is None else [edge.source]

    def describe(self, view: LedgerView, rid: Rid) -> Named:
        edge = view.edge(rid)
        if edge is None:
            return super().describe(view, rid)
        source, target = atom_name(view.record(edge.source).key), atom_name(view.record(edge.target).key)
        return Named(f"edge_{view.record(rid).key.hex()}", f"{source} {edge.type} {target}")

    def resting(self, view: LedgerView, taken: Collection[Rid], stays: Callable[[Rid], bool]) -> Collection[Rid]:
        """Return the memories derived from, or put in place of, what goes; and those of them, as far as links lead."""
        out: list[Rid] = []
        seen, layer = set(taken), list(taken)
        while layer:
            following = []
            for edge in view.edges(layer, incoming=True):
                if not stays(edge.rid):
                    continue  # the link goes too
                if edge.type.encode() in _LINKS and edge.source not in seen and view.intervals(edge.source):
                    seen.add(edge.source)
                    following.append(edge.source)
            out += following
            layer = following
        return out


class _Search:
    """The links that have not been found yet."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._by_record: dict[Record, Rid] = {record: rid for rid, record in audit.records.items()}
        self._keys: dict[object, bytes] = {rid: record.key for rid, record in audit.of_kind(ATOM)}
        self._missing = dict(audit.of_kind(EDGE))

    def found(self, source: object, kind: bytes, target: object) -> Iterator[Edge]:
        """Yield the link between two memories, if there is a record of it that was not found yet."""
        if source not in self._keys or target not in self._keys:
            return
        rid = self._by_record.get(EDGE.record(self._keys[source], kind, self._keys[target]))
        if rid is not None and rid in self._missing:
            del self._missing[rid]
            assert isinstance(source, int) and isinstance(target, int)
            yield Edge(rid, Rid(source), kind.decode(), Rid(target))

    def by_premises(self) -> Iterator[Edge]:
        """Yield the links to what memories say that they were derived from."""
        audit = self._audit
        for atom in audit.atoms if self._missing else ():
            for premise in json.loads(audit.body(atom.witness) or b"{}").get("derived_from", ()):
                target = self._by_record.get(atom_record(bytes.fromhex(str(premise).removeprefix("atom_"))))
                if target is not None:
                    yield from self.found(atom.rid, b"derives", target)

    def by_transactions(self) -> Iterator[Edge]:
        """Yield the links between memories that one transaction changed: both ends change when a link is first made."""
        audit = self._audit
        alike = {atom.rid: (atom.origin, atom.discriminator) for atom in audit.atoms}
        for seq in sorted({audit.first[rid][0] for rid in self._missing}):
            touched = [rid for rid in audit.view.changed(Seq(seq - 1), seq) if rid in self._keys]
            for source in touched:
                for target in touched:
                    if source != target and (len(touched) <= _PAIRED_MAX or alike[source] == alike[target]):
                        for kind in _LINKS:
                            yield from self.found(source, kind, target)


EDGES: Final = _Edges()
LINKS: Final = _Links()
