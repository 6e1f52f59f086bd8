"""What `verify` checks of each transaction's running totals, which no hash covers: the rows it left must make them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.audit import Audit, Report
from cmc_mcp.store.protocol import ReadView
from cmc_mcp.store.rows import BINARY, MODALITIES


def totals(audit: Audit, headings: Mapping[int, str], report: Report) -> None:
    """Check the running totals of each transaction against the rows it left.

    Numbers rise in the order of recording, so the highest one up to a transaction lies between the last one known to be
    its own and the first one known to be later. Records, facts and words are used where they are made; a record
    that may be empty, as a policy that was only taken back, is named by nothing.
    """
    first_rid = {rid: seq for rid, (seq, _) in audit.first.items()}
    late_rid = {
        rid: seq for rid, seq in first_rid.items() if not audit.view.registry.kind(audit.records[rid]).may_be_empty
    }
    first_pid = _first_named(audit)
    rows = audit.rows
    _numbers("last_rid", [(row.seq, row.last_rid) for row in rows], first_rid, late_rid, report)
    _numbers("last_pid", [(row.seq, row.last_pid) for row in rows], first_pid, first_pid, report)
    vectors = {vid: seq for vid, _, _, seq, _ in audit.view.all_vectors()}
    _numbers("last_vid", [(row.seq, row.last_vid) for row in rows], vectors, vectors, report)
    _passages(audit, headings, report)


def whole(name: str, view: ReadView, numbers: Iterable[int], last: int, report: Report, *, gaps: bool = False) -> None:
    """Check that rows were numbered one after the other, up to the number that the last transaction says."""
    low, there = view.ws << 40, set(numbers)
    last = max(last, low)
    inside = {number for number in there if low < number <= last}
    for number in sorted(there - inside):
        report(name, number, "no transaction made it")
    if max(there, default=low) > last or (max(inside, default=low) < last and not gaps):
        report("transactions", view.head().seq, f"it counts {name} up to {last}, which is not the last one there is")
    if gaps:
        return
    for number in range(low + 1, min(max(inside, default=low), low + 2 * len(inside)) + 1):
        if number not in inside:
            report(name, number, "is missing")


def _first_named(audit: Audit) -> dict[int, int]:
    """Give the transaction in which each payload was first used."""
    out: dict[int, int] = {}

    def named(pid: int | None, seq: int) -> None:
        if pid:
            out[pid] = min(out.get(pid, OPEN), seq)

    behaviours = audit.view.registry.behaviour
    pids = {row.hash: pid for pid, row in audit.payloads.items()}
    for seq, opens, rid, _, _, facts in audit.view.piece_events():
        if opens:
            named(facts, seq)
            for ref in behaviours[audit.records[rid].kind].refers(audit.registers(facts)):
                named(pids.get(bytes.fromhex(ref.hash)), seq)
    for atom in audit.atoms:
        for pid in atom[3:8]:
            named(pid, atom.seq)
    for row in audit.rows:
        named(row.principal, row.seq)
    return out


def _numbers(
    name: str, claimed: Sequence[tuple[int, int]], first: Mapping[int, int], late: Mapping[int, int], report: Report
) -> None:
    by_seq = sorted((seq, number) for number, seq in first.items())
    highest = [0]
    for _, number in by_seq:
        highest.append(max(highest[-1], number))
    later = sorted((seq, number) for number, seq in late.items())
    lowest = [1 << 62]
    for _, number in reversed(later):
        lowest.append(min(lowest[-1], number))
    before = 0
    for seq, value in claimed:
        low = max(before, highest[bisect_right(by_seq, (seq, 1 << 62))])
        high = lowest[len(later) - bisect_right(later, (seq, 1 << 62))]
        if value < low or value >= high:
            report("transactions", seq, f"its {name} is not that of the rows up to it")
        before = max(before, value)


def _passages(audit: Audit, headings: Mapping[int, str], report: Report) -> None:
    """Check how many passages and tokens each transaction added; where something was erased, only that it counted them."""
    made: dict[int, tuple[int, int]] = {}
    touched = {atom.origin for atom in audit.atoms if atom.origin and audit.was_erased(atom)}
    loose: set[int] = set()  # transactions of passages whose words are gone, or stand under other headings now
    for atom in audit.atoms:
        count, size = made.get(atom.seq, (0, 0))
        if audit.was_erased(atom) or atom.origin in touched:
            loose.add(atom.seq)
        content = audit.payloads[atom.content]
        if content.hash not in audit.ever_erased:
            size += audit.view.count_tokens(headings.get(atom.rid, ""))
            if MODALITIES[atom.modality] not in BINARY:
                size += audit.view.count_tokens((audit.text(content.pid) or b"").decode("utf-8", "replace"))
        made[atom.seq] = (count + 1, size)
    passages = tokens = 0
    for row in audit.rows:
        count, size = made.get(row.seq, (0, 0))
        more, longer = row.passages - passages, row.tokens - tokens
        again = row.verb == "release" and bool(audit.ever_erased)  # what was erased is counted again when it is let in
        if more != count and not (again and more > count):
            report("transactions", row.seq, "its passages are not those of the atoms up to it")
        if longer < size or (longer != size and row.seq not in loose and not again):
            report("transactions", row.seq, "its tokens are not those of the atoms up to it")
        passages, tokens = row.passages, row.tokens
