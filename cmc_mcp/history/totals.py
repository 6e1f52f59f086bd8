"""What `verify` checks of each transaction's running totals, which no hash covers: the rows it left must make them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from cmc_mcp.ids import END, PayloadHash, Pid, Seq
from cmc_mcp.store.audit import Audit, Report


def totals(audit: Audit, report: Report) -> None:
    """Check the numbers that each transaction says it had reached against the rows it left.

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
    _numbers("last_rid", [(row.seq, row.last_rid) for row in rows], first_rid.items(), late_rid.items(), report)
    _numbers("last_pid", [(row.seq, row.last_pid) for row in rows], first_pid.items(), first_pid.items(), report)
    vectors = {row.vid: row.seq for row in audit.view.all_vectors()}
    _numbers("last_vid", [(row.seq, row.last_vid) for row in rows], vectors.items(), vectors.items(), report)


def _first_named(audit: Audit) -> dict[Pid, Seq]:
    """Return the transaction in which each payload was first used."""
    out: dict[Pid, Seq] = {}

    def named(pid: Pid | None, seq: Seq) -> None:
        if pid:
            out[pid] = min(out.get(pid, END), seq)

    behaviours = audit.view.registry.behaviour
    pids = {row.hash: pid for pid, row in audit.payloads.items()}
    for seq, opens, rid, _, _, facts in audit.view.interval_events():
        if opens:
            named(facts, seq)
            for ref in behaviours[audit.records[rid].kind].refers(audit.fields(facts)):
                named(pids.get(PayloadHash(bytes.fromhex(ref.hash))), seq)
    for atom in audit.atoms:
        for pid in atom[3:8]:
            named(pid, atom.seq)
    for row in audit.rows:
        named(row.principal, row.seq)
    return out


def _numbers(
    name: str,
    claimed: Sequence[tuple[Seq, int]],
    first: Iterable[tuple[int, Seq]],
    late: Iterable[tuple[int, Seq]],
    report: Report,
) -> None:
    by_seq = sorted((seq, number) for number, seq in first)
    highest = [0]
    for _, number in by_seq:
        highest.append(max(highest[-1], number))
    later = sorted((seq, number) for number, seq in late)
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
