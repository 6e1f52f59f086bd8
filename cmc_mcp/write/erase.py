"""Erase: destroy payload bytes and everything made of them, in the unit of work that retracts their memories.

What goes, of the memories erased: content, full text, vectors, codes; facts (tags, claims, titles) and speakers that no
other memory has; their words in the headings that others of the source stand under, and in its plans; the name of a
source that is erased whole; requests in quarantine that hold the content; reasons given for changing them alone; and
what kept receipts say about them. Hashes, places and witnesses stay, so every proof still verifies. A name that also
serves as something else (a source that is another's title, say) stays as that; content that does is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import cast

from cmc_mcp.atoms.erasures import is_erased
from cmc_mcp.canon import Json
from cmc_mcp.documents.loading import indexed_text
from cmc_mcp.ids import PayloadHash, Pid, Rid, Seq
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.intervals import Interval
from cmc_mcp.kernel.kinds import ATOM, ERASURE, GATE
from cmc_mcp.model.facts import NO_FACTS, facts_of
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.store.behaviours import Gone
from cmc_mcp.store.ports import LedgerView, Objects, Store, WriteUnit
from cmc_mcp.store.rows import AtomRow, arguments_of
from cmc_mcp.write.checks import REASONED
from cmc_mcp.write.gate import gate_name

_ALWAYS = (SINCE_ALWAYS, UNTIL_FURTHER_NOTICE)


def destroy(unit: WriteUnit, objects: Objects, rids: Sequence[Rid]) -> list[PayloadHash]:
    """Destroy what only these atoms have; return the hashes of the objects to delete after the commit.

    `rids` hold every atom of each content, so that nothing live loses its bytes.
    """
    rows = unit.atoms(rids)
    if not rows:
        return []
    indexed = {rid: row for rid, row in rows.items() if not is_erased(unit, unit.payload_row(row.content).hash)}
    texts = {rid: (unit.heading(rid), indexed_text(unit, objects, row)) for rid, row in indexed.items()}
    going = Gone(rows, objects)
    redacted = {pid for behaviour in unit.registry.behaviours for pid in behaviour.redact(unit, going)}
    contents = going.contents
    found = contents | redacted | _facts(unit, rids) | _named(unit, rows)
    kept = unit.used_elsewhere(sorted(found), list(rows))
    payloads = unit.payload_rows(sorted(found - kept))
    gone = [pid for pid, row in sorted(payloads.items()) if row.body is not None or row.object]
    for pid in gone:
        record, _ = unit.intern(ERASURE.record(payloads[pid].hash))
        body = facts_of({"hash": payloads[pid].hash.hex(), "atoms": len(rows)})
        unit.set_intervals(record, (Interval(*_ALWAYS, body),))
    unit.erase(gone, sorted(texts), texts)
    unit.erase_arguments(_reasons(unit, set(rows)))
    _receipts(unit, rows, set(gone))
    return [payloads[pid].hash for pid in gone if pid in contents and payloads[pid].object]


def finish_erasures(store: Store, objects: Objects) -> bool:
    """Finish what an erase could not: a reader held the log, or its process ended before the objects were gone.

    Gives False when a reader holds the log still.
    """
    done = True
    for ws, _ in store.workspaces() if store.pages_pending() else ():
        with store.reader(ws) as view:
            if not view.unfinished():
                continue
            erasure_count = view.erasure_count()
            for rid, _ in view.records(ERASURE.code):
                for interval in view.intervals(rid):
                    objects.delete(ws, PayloadHash(bytes.fromhex(str(interval.facts.fields["hash"]))))
        done = store.scrub(ws, erasure_count) and done
    return done


def _facts(unit: LedgerView, rids: Collection[Rid]) -> set[Pid]:
    """Return the bodies of facts that no record but these ever held."""
    facts = {pid for rid in rids for *_, pid in unit.interval_rows(rid)}
    mine = set(rids)
    return {pid for pid in facts if set(unit.facts_used(pid)) <= mine} - {unit.pid(NO_FACTS.hash) or 0}


def _named(unit: LedgerView, rows: Mapping[Rid, AtomRow]) -> set[Pid]:
    """Return the payloads that name sources, sessions and speakers. The number of a twin says nothing, and is shared."""
    discriminators = unit.payload_rows({row.discriminator for row in rows.values()} - {0})
    out = {pid for pid, row in discriminators.items() if row.body is not None and not row.body.startswith(b'{"twin"')}
    return out | {row.origin for row in rows.values() if row.origin}


# ---------------------------------------------------------------------- reasons, receipts
def _is_gone(unit: LedgerView, gate: Rid) -> bool:
    return any(interval.facts.fields["decision"] == "erased" for interval in unit.intervals(gate))


def _reasons(unit: LedgerView, rids: Collection[Rid]) -> list[Seq]:
    """Return the transactions that changed these atoms alone, and gave a reason in words."""
    seqs = {seq for rid in rids for seq in unit.change_seqs(rid)}
    out = []
    for seq in sorted(seqs):
        row = unit.transaction(seq)
        if row is None or row.verb not in REASONED or "reason" not in json.loads(arguments_of(row) or b"{}"):
            continue
        changed = [rid for rid in unit.changed(Seq(seq - 1), seq) if unit.record(rid).kind == ATOM.code]
        if set(changed) <= set(rids):
            out.append(seq)
    return out


def _receipts(unit: WriteUnit, rows: Mapping[Rid, AtomRow], gone: Collection[Pid]) -> None:
    """Take words out of the receipts that idempotency keys keep, and out of the keys of what is erased."""
    names = {atom_name(row.key) for row in rows.values()}
    names |= {gate_name(unit.record(rid)) for rid, _ in unit.records(GATE.code) if _is_gone(unit, rid)}
    nameless = {atom_name(row.key) for row in rows.values() if row.origin in gone}
    for key, body in unit.receipts():
        receipt = cast("dict[str, Json]", json.loads(body))
        conflicts = cast("list[dict[str, Json]]", receipt["conflicts"])
        touched = {
            name for part in ("added", "reaffirmed", "restored", "retired") for name in cast("list[str]", receipt[part])
        }
        touched |= {str(entry["id"]) for entry in cast("list[dict[str, Json]]", receipt["quarantined"])}
        changed = bool(touched & names)
        for note in conflicts:
            if touched & names or note["with_id"] in names:
                note["reason"], changed = ERASED, True
        if receipt.get("source") is not None and touched & nameless:
            receipt["source"], changed = ERASED, True
        if changed:
            unit.replace_receipt(key, json.dumps(receipt, ensure_ascii=False, separators=(",", ":")).encode())
