"""Sources: the heads of documents, and the sections that their versions have from one transaction until another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, cast

from cmc_mcp.documents.manifest import Manifest, decode_manifest
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.documents.nodes import nodes_in, rows_of
from cmc_mcp.ids import END, NodeKey, PayloadHash, Pid, Rid, Seq
from cmc_mcp.kernel.intervals import Intervals
from cmc_mcp.kernel.kinds import SOURCE
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.indexes import Changed, Delta, Index
from cmc_mcp.store.ports import LedgerView, RebuildView, WriteUnit
from cmc_mcp.store.tables import Table, columns, key

Version = tuple[Seq, Seq, Manifest | None]
"""A version of a document: from which transaction until which it was the present one; None: its plan was erased."""


class Source(NamedTuple):
    """A row: the head of a document, and the payload of its origin."""

    rid: Rid
    origin: Pid


class Section(NamedTuple):
    """A row: a section of a document, from one transaction until another."""

    source: Rid
    path: str
    level: int
    node: NodeKey
    tx_from: Seq
    tx_to: Seq


class _Sources(Index):
    """The origin is told when a document is first staged: the key is a hash of it."""

    table = Table("sources", columns("rid:rid ws origin:pid"), key("rid"), "derived", write_rank=120, move_rank=70)

    def whole(self, audit: Audit) -> Iterator[Source]:
        wanted = {record: rid for rid, record in audit.of_kind(SOURCE)}
        found: set[Rid] = set()
        likely = [pid for pid in {atom.origin for atom in audit.atoms} if pid]
        for pids in (likely, audit.payloads):  # a document without atoms is rare
            for pid in pids if len(found) < len(wanted) else ():
                rid = wanted.get(SOURCE.record(audit.payloads[pid].hash))
                if rid is not None:
                    found.add(rid)
                    yield Source(rid, pid)


class _Nodes(Index):
    """The sections of every version, those that did not change being one row."""

    table = Table(
        "nodes", columns("ws source:rid path* tx_from tx_to level node"), key("tx_from source path"), "derived",
        audited=key("source path level node tx_from tx_to"), by="source", server_key=(),
        write_rank=165, move_rank=180, erasable=True,
    )  # fmt: skip
    kinds = (SOURCE,)

    def step(self, unit: WriteUnit, changes: Sequence[Changed]) -> Delta:
        gone: list[Section] = []
        made: list[Section] = []
        for change in changes:
            manifest = _manifest(unit, change.after)
            sections = {} if manifest is None else {node.path: node for node in nodes_in(manifest)}
            kept: set[str] = set()
            for row in cast("list[Section]", unit.index_rows(self.table, source=change.rid, tx_to=OPEN)):
                section = Section(*row)
                if section.path in sections and sections[section.path].key == section.node:
                    kept.add(section.path)
                else:
                    gone.append(section)
                    made.append(section._replace(tx_to=unit.seq))
            made += [
                Section(change.rid, node.path, node.level, node.key, unit.seq, END)
                for node in sections.values()
                if node.path not in kept
            ]
        return Delta(gone, made)

    def of_record(self, view: LedgerView, rid: Rid) -> Iterable[Section]:
        return [Section(rid, *row) for row in sorted(rows_of(versions(view, rid)))]

    def whole(self, audit: Audit) -> Iterator[Section]:
        for source, found in audit.once(documents).items():
            yield from (Section(source, *row) for row in rows_of(found))


def versions(view: LedgerView, rid: Rid) -> list[Version]:
    """Return the versions of a document, in order."""
    out: list[Version] = []
    for _, _, tx_from, tx_to, facts in view.interval_rows(rid):
        out.append((tx_from, tx_to, named(view, str(view.facts(facts).fields.get("manifest", "")))))
    return out


def documents(audit: Audit) -> dict[Rid, list[Version]]:
    """Return the versions of every document, by the record of its head."""
    manifests = Manifests()
    out: dict[Rid, list[Version]] = {}
    for rid, _ in audit.of_kind(SOURCE):
        found = out[rid] = []
        for first, last, facts in sorted((row[2], row[3], row[4]) for row in audit.view.interval_rows(rid)):
            name = str(audit.fields(facts).get("manifest", ""))
            found.append((first, last, manifests.get(audit.view, PayloadHash(bytes.fromhex(name)))))
    return out


def fill_nodes(view: RebuildView) -> None:
    """Write the sections of every document of a workspace that was written before there were any."""
    rows = [row for rid, _ in view.records(SOURCE.code) for row in NODES.of_record(view, rid)]
    view.replace(NODES.table, rows)


def _manifest(view: LedgerView, intervals: Intervals) -> Manifest | None:
    return named(view, str(intervals[0].facts.fields["manifest"])) if intervals else None


def named(view: LedgerView, hash_: str) -> Manifest | None:
    """Return the plan with a hash (hex); None when it was erased, or never was."""
    pid = view.pid(PayloadHash(bytes.fromhex(hash_)))
    body = None if pid is None else view.payload(pid)
    return None if body is None else decode_manifest(body)


SOURCES: Final = _Sources()
NODES: Final = _Nodes()
