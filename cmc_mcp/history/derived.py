"""What `verify` checks of the derived rows that no root covers: running totals, places, quarantine, nodes, headings, codes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from cmc_mcp.errors import CmcError
from cmc_mcp.kernel.kinds import ErasureKind, GateKind, ItemKind, Record, SourceKind, atom_record
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.model.traits import derived_traits
from cmc_mcp.store.codes import SEGMENT_VECTORS, pack
from cmc_mcp.store.loading import ERASED, Manifests, parts_of
from cmc_mcp.store.manifest import Manifest
from cmc_mcp.store.nodes import nodes_in, rows_of, texts_of
from cmc_mcp.store.protocol import Objects, ReadView
from cmc_mcp.store.rows import BINARY, MODALITIES, AtomRow, PayloadRow, TransactionRow

if TYPE_CHECKING:
    from cmc_mcp.embed.protocol import Embedder

COSINE_MIN: Final = 0.999
Report = Callable[[str, object, str], None]


def totals(
    view: ReadView,
    objects: Objects,
    rows: Sequence[TransactionRow],
    payloads: Mapping[int, PayloadRow],
    records: Mapping[int, Record],
    report: Report,
) -> None:
    """Check the running totals of each transaction against the rows it left.

    Numbers of records, payloads and vectors rise in the order of recording, so the highest one up to a transaction lies
    between the last one known to be its own and the first one known to be later. Memory records, facts and words are
    used where they are made, so they are known to be later; a request in quarantine, say, is not.
    """
    atoms = sorted(view.all_atoms(), key=lambda row: row.seq)
    first_rid: dict[int, int] = {}
    first_pid: dict[int, int] = {}
    for seq, opens, rid, _, _, facts in view.piece_events():
        if opens:
            first_rid.setdefault(rid, seq)
            first_pid.setdefault(facts, seq)
    late_rid = {rid: seq for rid, seq in first_rid.items() if rid in records and records[rid].is_memory}
    for atom in atoms:
        for pid in filter(None, atom[3:8]):
            first_pid[pid] = min(first_pid.get(pid, OPEN), atom.seq)
    for row in rows:
        first_pid[row.principal] = min(first_pid.get(row.principal, OPEN), row.seq)
    # plain words are stored when they are first used; what looks like a map may be a plan or a request, stored before
    late_pid = {
        pid: seq
        for pid, seq in first_pid.items()
        if (made := payloads.get(pid)) and (made.domain == 1 or (made.body is not None and made.body[:1] != b"{"))
    }
    vectors = {vid: seq for model, *_ in view.models() for vid, seq, _ in view.vector_columns(model, 0, 1 << 62)}
    _numbers("last_rid", [(row.seq, row.last_rid) for row in rows], first_rid, late_rid, records, report)
    _numbers("last_pid", [(row.seq, row.last_pid) for row in rows], first_pid, late_pid, payloads, report)
    every = None if view.epoch() else vectors
    _numbers("last_vid", [(row.seq, row.last_vid) for row in rows], vectors, vectors, every, report)
    _passages(view, objects, rows, atoms, payloads, report)


def _numbers(
    name: str,
    claimed: Sequence[tuple[int, int]],
    first: Mapping[int, int],
    late: Mapping[int, int],
    stored: Iterable[int] | None,
    report: Report,
) -> None:
    """Check the highest number up to each transaction; the last one is exact where every row is still there."""
    by_seq = sorted((seq, number) for number, seq in first.items())
    highest = [0]
    for _, number in by_seq:
        highest.append(max(highest[-1], number))
    later = sorted((seq, number) for number, seq in late.items())
    lowest = [1 << 62]
    for _, number in reversed(later):
        lowest.append(min(lowest[-1], number))
    top = None if stored is None else max(stored, default=0)
    before = 0
    for seq, value in claimed:
        low = max(before, highest[bisect_right(by_seq, (seq, 1 << 62))])
        high = lowest[len(later) - bisect_right(later, (seq, 1 << 62))]
        last = top if top and seq == claimed[-1][0] else None
        # numbers that nothing names yet may lie between; none may lie past the last stored one
        if value < low or value >= high or (last is not None and value != last) or (top and value > top):
            report("transactions", seq, f"its {name} is not that of the rows up to it")
        elif top == 0 and value != claimed[0][1]:
            report("transactions", seq, f"its {name} counts rows that are not there")
        before = max(before, value)


def _passages(
    view: ReadView,
    objects: Objects,
    rows: Sequence[TransactionRow],
    atoms: Sequence[AtomRow],
    payloads: Mapping[int, PayloadRow],
    report: Report,
) -> None:
    """Check how many passages and tokens each transaction added; of what was erased, only that they were counted."""
    made: dict[int, tuple[int, int]] = {}
    erased = _ever_erased(view)
    for atom in atoms:
        count, size = made.get(atom.seq, (0, 0))
        content = payloads.get(atom.content)
        if content is None or content.hash not in erased:  # let in again, it may stand under other headings
            size += _length(view, objects, atom, content)
        made[atom.seq] = (count + 1, size)
    erasures = view.epoch() > 0
    passages = tokens = 0
    for row in rows:
        count, size = made.get(row.seq, (0, 0))
        more, longer = row.passages - passages, row.tokens - tokens
        again = row.verb == "release" and erasures  # what was erased is counted again when it is let in again
        if more != count and not (again and more > count):
            report("transactions", row.seq, "its passages are not those of the atoms up to it")
        if longer < size or (longer != size and not erasures):
            report("transactions", row.seq, "its tokens are not those of the atoms up to it")
        passages, tokens = row.passages, row.tokens


def _ever_erased(view: ReadView) -> set[bytes]:
    """Give the hashes of all that was ever erased, what was let in again since included."""
    facts = {pid for rid, _ in view.records(ErasureKind.code) for *_, pid in view.piece_rows(rid)}
    return {bytes.fromhex(str(view.facts(pid).registers.get("hash", ""))) for pid in facts}


def _length(view: ReadView, objects: Objects, atom: AtomRow, content: PayloadRow | None) -> int:
    """Count the tokens of a passage; 0 for what was erased."""
    size = view.count_tokens(view.heading(atom.rid))
    if content is None or atom.modality >= len(MODALITIES) or MODALITIES[atom.modality] in BINARY:
        return size
    body = content.body
    if body is None and content.object:
        try:
            body = objects.get(view.ws, content.hash)
        except CmcError:
            return size
    return size if body is None else size + view.count_tokens(body.decode("utf-8", "replace"))


def places(view: ReadView, records: Mapping[int, Record], report: Report) -> None:
    """Check that conversations index exactly the atoms that stood at their places."""
    by_record = {record: rid for rid, record in records.items()}
    expected: set[tuple[int, int]] = set()
    for rid, record in records.items():
        if record.kind == ItemKind.code:
            for *_, facts in view.piece_rows(rid):
                key = view.facts(facts).registers.get("atom")
                atom = by_record.get(atom_record(bytes.fromhex(str(key)))) if key else None
                expected.add((rid, atom or 0))
    stored = {(rid, atom) for _, _, rid, atom in cast("set[tuple[int, int, int, int]]", view.all_index_rows("items"))}
    for row in sorted(expected ^ stored):
        report("items", row, "is missing" if row in expected else "does not follow from the facts")


def quarantine(view: ReadView, records: Mapping[int, Record], report: Report) -> None:
    """Check that quarantine lists exactly what the gate's decisions keep there."""
    expected: set[tuple[int, int]] = set()
    for rid, record in records.items():
        if record.kind != GateKind.code:
            continue
        for piece in view.pieces(rid):
            if piece.facts.registers.get("decision") == "quarantined":
                pid = view.pid(bytes.fromhex(str(piece.facts.registers.get("request", ""))))
                expected.add((rid, pid or 0))
    for row in sorted(expected ^ set(view.quarantined())):
        report("quarantine", row, "is missing" if row in expected else "does not follow from the gate's decisions")


def nodes(view: ReadView, records: Mapping[int, Record], report: Report) -> int:
    """Check that the nodes' index follows from the manifests, and that vectors are of nodes; give how many there are.

    A vector counts from the transaction of a version that has the node, or from a completion after one.
    """
    expected: set[tuple[object, ...]] = set()
    begun: dict[bytes, int] = {}
    for source, versions in _documents(view, records):
        for row in rows_of(versions):
            expected.add((source, *row))
            begun[row.key] = min(begun.get(row.key, OPEN), row.tx_from)
    stored = view.all_index_rows("nodes")
    for found in sorted(expected ^ stored, key=repr):
        report("nodes", found, "is missing" if found in expected else "does not follow from the manifests")
    models = {number for number, *_ in view.models()}
    first = 0 if view.epoch() else 1  # after an erase the first version of a node may be gone
    for model, key, seq in sorted(cast("set[tuple[int, bytes, int]]", view.all_index_rows("node_vectors"))):
        if model not in models or seq < first * begun.get(key, OPEN) or key not in begun:
            report("node_vectors", key.hex(), "it is the vector of no node, or of a later one")
    return len(stored)


def node_vectors(view: ReadView, objects: Objects, embedder: Embedder, model: int, report: Report) -> int:
    """Embed the text of every node again and compare (cosine ≥ .999); give how many there are."""
    import numpy as np

    stored = {key: vector for key, _, vector in view.node_vectors(model, 0, OPEN)}
    count = 0
    for _, versions in _documents(view, view.all_records()):
        for *_, manifest in versions:
            wanted = [] if manifest is None else [node for node in nodes_in(manifest) if node.key in stored]
            if manifest is None or not wanted:
                continue
            texts = texts_of(wanted, manifest.modality, parts_of(view, objects, manifest), ERASED)
            for key, vector in zip(texts, embedder.embed(list(texts.values())), strict=True):
                found = np.frombuffer(stored.pop(key), np.float32)
                count += 1
                if found.shape != vector.shape or float(found @ vector) < COSINE_MIN:
                    report("node_vectors", key.hex(), "it is not the vector of its text")
    return count


def _documents(
    view: ReadView, records: Mapping[int, Record]
) -> Iterator[tuple[int, list[tuple[int, int, Manifest | None]]]]:
    """Give the documents with their versions (tx_from, tx_to, manifest), in order."""
    manifests = Manifests()
    for rid, record in sorted(records.items()):
        if record.kind == SourceKind.code:
            versions = []
            for first, last, facts in sorted((row[2], row[3], row[4]) for row in view.piece_rows(rid)):
                name = str(view.facts(facts).registers.get("manifest", ""))
                versions.append((first, last, manifests.get(view, bytes.fromhex(name))))
            yield rid, versions


def headings(view: ReadView, atoms: Iterable[int], report: Report) -> None:
    """Check that headings belong to atoms; their words are checked with full text."""
    known = set(atoms)
    for rid, _ in sorted(cast("set[tuple[int, str]]", view.all_index_rows("headings"))):
        if rid not in known:
            report("headings", rid, "belongs to no atom")


def traits(view: ReadView, payloads: Mapping[int, PayloadRow], report: Report) -> None:
    """Check that traits and speakers follow from the texts; of what is kept as an object, its text is not looked at."""
    expected: dict[int, tuple[int, int]] = {}
    for atom in view.all_atoms():
        row, said = payloads.get(atom.content), payloads.get(atom.discriminator)
        textual = MODALITIES[atom.modality] not in BINARY
        if textual and row is not None and row.body is not None:
            expected[atom.rid] = derived_traits(row.body, None if said is None else said.body)
        elif not (textual and row is not None and row.object):
            expected[atom.rid] = (0, 0)
    for rid, _, _, found, speaker in view.traits(sorted(expected)):
        if (found, speaker) != expected[rid]:
            report("atoms", rid, "its traits are not those of its text")
    first: dict[object, int] = {}
    for rid, _, _, _, speaker in view.traits(sorted(atom.rid for atom in view.all_atoms())):
        if speaker:
            first[speaker] = min(first.get(speaker, rid), rid)
    for row_ in sorted(set(first.items()) ^ view.all_index_rows("speakers"), key=repr):
        report("speakers", row_, "does not follow from who spoke")


def codes(view: ReadView, report: Report) -> int:
    """Check that packed codes are those of the vectors; give how many segments there are."""
    count = 0
    low = view.ws << 40
    for model, *_ in view.models():
        for segment, *packed in view.packed_codes(model):
            count += 1
            start = low + segment * SEGMENT_VECTORS
            rows = [(model, *row) for row in view.vector_columns(model, start - 1, start + SEGMENT_VECTORS)]
            if pack(rows).get(model) != tuple(packed):
                report("codes", f"{model}/{segment}", "they are not the codes of the vectors")
    return count
