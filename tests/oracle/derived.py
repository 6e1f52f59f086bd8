"""What every derived table should hold, computed anew from the committed ones: the recomputation of before indexes were shared.

The product's indexes give what `flush` writes and what `verify` compares from one description, so a mistake in it would verify.
This one was written apart from `flush`, and stays so: it shares with the product the reading of rows and of bodies alone.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from cmc_mcp.documents.manifest import Manifest
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.documents.nodes import lineage, nodes_in
from cmc_mcp.errors import CmcError
from cmc_mcp.kernel.intervals import leaf
from cmc_mcp.kernel.kinds import (
    ATOM,
    EDGE,
    ERASURE,
    GATE,
    ITEM,
    KINDS,
    LABEL,
    SOURCE,
    Record,
    atom_record,
)
from cmc_mcp.merkle import log
from cmc_mcp.merkle import state as tree
from cmc_mcp.model.facts import Claim, FactFields, Facts, claim_of, number_of, tags_of
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import format_time
from cmc_mcp.model.traits import derived_traits
from cmc_mcp.store.codes import SEGMENT_VECTORS, pack
from cmc_mcp.store.ports import Objects, ReadView
from cmc_mcp.store.rows import BINARY, MODALITIES, AtomRow, PayloadRow, TransactionRow, post_order

Row = tuple[object, ...]

HEADING_SEPARATOR: Final = " › "
_PAIRED_MAX: Final = 64
_LINKS: Final = (b"supersedes", b"derives")


@dataclass(slots=True)
class Ledger:
    """What the replay read of the committed tables, and what it found on the way."""

    view: ReadView
    records: dict[int, Record]
    atoms: list[AtomRow]
    rows: list[TransactionRow]
    payloads: dict[int, PayloadRow] = field(default_factory=dict)
    inline: set[int] = field(default_factory=set)  # the payloads whose bytes are in their row
    first: dict[int, tuple[int, list[int]]] = field(default_factory=dict)  # rid → its first transaction, facts in it
    leaves: tuple[dict[bytes, bytes], dict[bytes, bytes]] = field(default_factory=lambda: ({}, {}))
    log: dict[tuple[int, int], bytes] = field(default_factory=dict)
    erased: frozenset[bytes] = frozenset()  # hashes of what is erased now, and of what ever was
    ever_erased: frozenset[bytes] = frozenset()

    @classmethod
    def read(cls, view: ReadView) -> Ledger:
        """Read the committed tables of a workspace, and rebuild what their hashes make."""
        rows = sorted(view.transactions(), key=lambda row: row.seq)
        ledger = cls(view, view.all_records(), list(view.all_atoms()), rows)
        for payload in view.all_payloads():
            ledger.payloads[payload.pid] = payload
            if payload.body is not None:
                ledger.inline.add(payload.pid)
        for seq, opens, rid, _, _, facts in view.interval_events():
            if opens:
                first = ledger.first.setdefault(rid, (seq, []))
                if first[0] == seq:
                    first[1].append(facts)
        for row in rows:
            entry = log.leaf_hash(row.hash)
            for level, position, node in log.append(row.seq - 1, entry, lambda a, b: ledger.log[a, b]):
                ledger.log[level, position] = node
        for rid, record in ledger.records.items():
            if intervals := view.intervals(rid):
                kind = KINDS[record.kind]
                ledger.leaves[0 if kind.memory else 1][kind.tree_key(record)] = leaf(record, intervals)
                if record.kind == ERASURE.code:
                    ledger.erased |= {bytes.fromhex(str(intervals[0].facts.fields["hash"]))}
        ledger.ever_erased = ever_erased(view, ledger)
        return ledger

    def fields(self, pid: int) -> FactFields:
        """Return the facts of a payload; none when they were erased."""
        row = self.payloads[pid]
        return Facts(row.hash, row.body).fields

    def body(self, pid: int) -> bytes | None:
        """Return inline bytes."""
        if pid not in self.inline:
            return None
        return self.payloads[pid].body

    def text(self, objects: Objects, pid: int) -> bytes | None:
        """Return the bytes of a content, from the table or the object store; None when they are gone or damaged."""
        row = self.payloads[pid]
        if not row.object:
            return self.body(pid)
        try:
            return objects.get(self.view.ws, row.hash)
        except CmcError:
            return None  # named by the check of objects

    def of_kind(self, code: int) -> Iterator[tuple[int, Record]]:
        """Yield the records of a kind, in order of first recording."""
        return ((rid, record) for rid, record in sorted(self.records.items()) if record.kind == code)

    def was_erased(self, atom: AtomRow) -> bool:
        """Return whether the content of an atom was ever erased."""
        content = self.payloads.get(atom.content)
        return content is not None and content.hash in self.ever_erased


def expected(view: ReadView, objects: Objects, ledger: Ledger) -> dict[str, set[Row]]:
    """Return the rows of every derived table, without the workspace, by its name; the committed tables are sound."""
    documents = dict(_documents(view, ledger))
    out = _of_facts(ledger)
    out["state_nodes"] = {
        (number << 37 | path, body)
        for number in (0, 1)
        for path, body in tree.build(ledger.leaves[number].items())[1].items()
    }
    out["log_nodes"] = {(post_order(*place), node) for place, node in ledger.log.items()}
    out["sources"] = _sources(view, ledger)
    out["items"] = _items(view, ledger)
    out["labels"] = {
        (rid, str(ledger.fields(facts)["label"]))
        for rid, _ in ledger.of_kind(LABEL.code)
        for facts in ledger.first[rid][1]
    }
    out["edges"] = _edges(view, ledger)
    out["quarantine"] = _quarantine(view, ledger)
    out["nodes"] = {(source, *row) for source, versions in documents.items() for row in _rows_of(versions)}
    out["traits"] = _traits(view, objects, ledger)
    out["speakers"] = _speakers(out["traits"])
    out["headings"] = {(rid, text) for rid, text in headings(view, ledger, documents).items() if text}
    out["codes"] = _codes(view)
    return out


# ---------------------------------------------------------------------- over facts and records
def _of_facts(ledger: Ledger) -> dict[str, set[Row]]:
    out: dict[str, set[Row]] = {name: set() for name in ("tags", "claims", "confidences", "witnesses")}
    for pid, row in ledger.payloads.items():
        if row.domain != 1 or row.body is None:
            continue
        fields = ledger.fields(pid)
        out["tags"].update((name, value, pid) for name, value in tags_of(fields).items())
        if claim := claim_of(fields):
            out["claims"].add((claim.subject, claim.predicate, pid, _topic(claim)))
        if (confidence := number_of(fields, "confidence")) is not None:
            out["confidences"].add((round(confidence * 1_000_000), pid))
    for atom in ledger.atoms:
        body = ledger.body(atom.witness)
        if body is not None:
            out["witnesses"].add((str(json.loads(body).get("writer")), atom.witness))
    return out


def _topic(claim: Claim) -> int:
    """Number what a claim is about, in any case and normal form."""
    said = hashlib.sha256(b"cmc/topic/1\0")
    for part in (claim.subject, claim.predicate):
        folded = unicodedata.normalize(
            "NFC", unicodedata.normalize("NFD", unicodedata.normalize("NFD", part).casefold())
        )
        said.update(len(folded.encode()).to_bytes(8, "big") + folded.encode())
    return int.from_bytes(said.digest()[:8], "big") >> 2


def _sources(view: ReadView, ledger: Ledger) -> set[Row]:
    wanted = {record: rid for rid, record in ledger.of_kind(SOURCE.code)}
    out: set[Row] = set()
    likely = [pid for pid in {atom.origin for atom in ledger.atoms} if pid]
    for pids in (likely, ledger.payloads):  # a document without atoms is rare
        for pid in pids if len(out) < len(wanted) else ():
            rid = wanted.get(SOURCE.record(ledger.payloads[pid].hash))
            if rid is not None:
                out.add((rid, pid))
    return out


def _items(view: ReadView, ledger: Ledger) -> set[Row]:
    """Return the places in conversations: they are numbered from 0 without a gap."""
    by_record = {record: rid for rid, record in ledger.records.items()}
    out: set[Row] = set()
    for origin in {atom.origin for atom in ledger.atoms if atom.origin and atom.discriminator}:
        position = 0
        while rid := by_record.get(ITEM.record(ledger.payloads[origin].hash, position.to_bytes(8, "big"))):
            for *_, facts in view.interval_rows(rid):
                key = bytes.fromhex(str(ledger.fields(facts)["atom"]))
                out.add((origin, position, rid, by_record[atom_record(key)]))
            position += 1
    return out


def _edges(view: ReadView, ledger: Ledger) -> set[Row]:
    by_record = {record: rid for rid, record in ledger.records.items()}
    keys = {rid: record.key for rid, record in ledger.of_kind(ATOM.code)}
    missing = dict(ledger.of_kind(EDGE.code))
    out: set[Row] = set()

    def found(source: int, kind: bytes, target: int) -> None:
        rid = by_record.get(EDGE.record(keys[source], kind, keys[target]))
        if rid in missing:
            del missing[rid]
            out.add((rid, source, kind.decode(), target))

    for row in cast("set[tuple[int, int, str, int]]", set(view.index_rows(view.registry.by_name["edges"]))):
        if row[1] in keys and row[3] in keys:
            found(row[1], row[2].encode(), row[3])
    for atom in ledger.atoms if missing else ():
        for premise in json.loads(ledger.body(atom.witness) or b"{}").get("derived_from", ()):
            target = by_record.get(atom_record(bytes.fromhex(str(premise).removeprefix("atom_"))))
            if target is not None:
                found(atom.rid, b"derives", target)
    alike: dict[int, tuple[int, int]] = {atom.rid: (atom.origin, atom.discriminator) for atom in ledger.atoms}
    for seq in sorted({ledger.first[rid][0] for rid in missing}):  # both ends change when a link is first made
        touched = [rid for rid in view.changed(seq - 1, seq) if rid in keys]
        for source in touched:
            for target in touched:
                if source != target and (len(touched) <= _PAIRED_MAX or alike[source] == alike[target]):
                    for kind in _LINKS:
                        found(source, kind, target)
    return out


def _quarantine(view: ReadView, ledger: Ledger) -> set[Row]:
    out: set[Row] = set()
    for rid, _ in ledger.of_kind(GATE.code):
        for interval in view.intervals(rid):
            if interval.facts.fields.get("decision") == "quarantined":
                out.add((rid, view.pid(bytes.fromhex(str(interval.facts.fields["request"]))) or 0))
    return out


def _documents(view: ReadView, ledger: Ledger) -> Iterator[tuple[int, list[tuple[int, int, Manifest | None]]]]:
    """Yield the documents with their versions (tx_from, tx_to, manifest), in order; None: it was erased."""
    manifests = Manifests()
    for rid, _ in ledger.of_kind(SOURCE.code):
        versions = []
        for first, last, facts in sorted((row[2], row[3], row[4]) for row in view.interval_rows(rid)):
            name = str(ledger.fields(facts).get("manifest", ""))
            versions.append((first, last, manifests.get(view, bytes.fromhex(name))))
        yield rid, versions


# ---------------------------------------------------------------------- over texts
def _traits(view: ReadView, objects: Objects, ledger: Ledger) -> set[Row]:
    stored = {rid: (traits, speaker) for rid, _, _, traits, speaker in view.traits([a.rid for a in ledger.atoms])}
    out: set[Row] = set()
    for atom in ledger.atoms:
        made = (0, 0)
        row = ledger.payloads[atom.content]
        if MODALITIES[atom.modality] not in BINARY and (row.object or row.pid in ledger.inline):
            said = ledger.body(atom.discriminator)
            made = derived_traits(ledger.text(objects, row.pid) or b"", said)
            if row.object and stored.get(atom.rid) == (unread := derived_traits(b"", said)):
                made = unread  # a migration cannot look at objects
        out.add((atom.rid, *made))
    return out


def _speakers(traits: set[Row]) -> set[Row]:
    first: dict[object, int] = {}
    for rid, _, speaker in cast("set[tuple[int, int, int]]", traits):
        if speaker:
            first[speaker] = min(first.get(speaker, rid), rid)
    return set(first.items())


def headings(
    view: ReadView, ledger: Ledger, documents: Mapping[int, list[tuple[int, int, Manifest | None]]]
) -> dict[int, str]:
    """Return the heading of each atom for full text: its title and sections, or its speaker and date.

    What an erase took out of the headings of a source is told nowhere, so there the stored ones stand; as does the
    title of what was told twice in one transaction. That they are what full text knows, its own check finds.
    """
    stored = cast(
        "dict[int, str]", dict(cast("set[tuple[int, str]]", set(view.index_rows(view.registry.by_name["headings"]))))
    )
    verbs = {row.seq: row.verb for row in ledger.rows}
    touched = {atom.origin for atom in ledger.atoms if atom.origin and ledger.was_erased(atom)}
    placed: dict[bytes, tuple[str, ...]] = {}
    for versions in documents.values():
        for _, _, manifest in versions:
            for key, titles in () if manifest is None else _places(manifest):
                placed.setdefault(key, titles)
    out: dict[int, str] = {}
    for atom in ledger.atoms:
        said = stored.get(atom.rid, "")
        content = ledger.payloads[atom.content]
        if content.hash in ledger.erased:
            out[atom.rid] = ""
        elif atom.origin in touched or ledger.was_erased(atom):
            out[atom.rid] = said
        else:
            tail = placed.get(atom.key, ()) or _turn(ledger.body(atom.discriminator))
            given = [str(ledger.fields(facts).get("title", "")) for facts in ledger.first[atom.rid][1]]
            made = [_joined(title, tail) for title in ([""] if verbs.get(atom.seq) == "revise" else given)]
            told_twice = atom.key not in placed and said and said == _joined(said.split(HEADING_SEPARATOR)[0], tail)
            out[atom.rid] = said if said in made or told_twice else made[0]
    return out


def _places(manifest: Manifest) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Return each atom of a version with the titles above it, without the document's own title."""
    titles = {node.path: node.title for node in manifest.nodes}
    for part in manifest.parts:
        above = [path for path in reversed(lineage(part.place.rpartition("#")[0])) if path]
        yield part.atom, tuple(titles.get(path, ERASED) for path in above)


def _turn(discriminator: bytes | None) -> tuple[str, ...]:
    said = json.loads(discriminator) if discriminator else {}
    if "speaker" not in said:
        return ()
    occurred = said.get("occurred_at")
    date = None if occurred is None else format_time(int(occurred))
    return str(said["speaker"]), date[:10] if date else ""


def _joined(title: str, tail: Iterable[str]) -> str:
    return HEADING_SEPARATOR.join(dict.fromkeys(word for word in (title, *tail) if word))


def _codes(view: ReadView) -> set[Row]:
    """Return the packed codes of every full run of vector numbers; those an erase dropped are not packed again."""
    low, last = view.ws << 40, view.head().last_vid
    stored = {(row[0], row[1]) for row in set(view.index_rows(view.registry.by_name["codes"]))}
    out: set[Row] = set()
    for model, *_, dimension in view.models():
        end = low - 1
        while (found := view.next_vector(end)) is not None:  # what there is bounds this, not what the head says
            segment = (found - low) // SEGMENT_VECTORS
            start, end = low + segment * SEGMENT_VECTORS, low + (segment + 1) * SEGMENT_VECTORS - 1
            if end > last:
                break
            rows = [(model, *row) for row in view.vector_columns(model, start - 1, end + 1)]
            rows = [row for row in rows if len(row[3]) == 4 * dimension]  # the others are named by the check of vectors
            if rows and ((model, segment) in stored or not view.erasure_count()):
                out.add((model, segment, *pack(rows)[model]))
    return out


def ever_erased(view: ReadView, ledger: Ledger) -> frozenset[bytes]:
    """Return the hashes of all that was ever erased, what was let in again since included."""
    facts = {pid for rid, _ in ledger.of_kind(ERASURE.code) for *_, pid in view.interval_rows(rid)}
    return frozenset(bytes.fromhex(str(ledger.fields(pid)["hash"])) for pid in facts)


def _rows_of(versions: Iterable[tuple[int, int, Manifest | None]]) -> set[tuple[str, int, bytes, int, int]]:
    """Return a source's nodes as (path, level, key, from, to): what the next version has unchanged is one row."""
    spans: list[tuple[str, int, bytes, int, int]] = []
    for tx_from, tx_to, manifest in versions:
        for node in () if manifest is None else nodes_in(manifest):
            before = [row for row in spans if row[0] == node.path and row[2] == node.key and row[4] == tx_from]
            for row in before:
                spans.remove(row)
            spans.append((node.path, node.level, node.key, before[0][3] if before else tx_from, tx_to))
    return set(spans)
