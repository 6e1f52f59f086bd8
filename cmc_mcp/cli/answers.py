"""What each result model looks like to people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cmc_mcp.cli import explain
from cmc_mcp.cli.show import Cell, Out, Styled
from cmc_mcp.model.results import RIVALS_NAMED
from cmc_mcp.model.shown import one_line, value
from cmc_mcp.read.frame import unsure
from cmc_mcp.read.relevance import first_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cmc_mcp.model.results import (
        CheckpointResult,
        Diff,
        ForgetResult,
        HistoryResult,
        Item,
        QuarantineEntry,
        RecallResult,
        Receipt,
        RollbackResult,
        SnapshotResult,
        VerifyResult,
    )

_LISTED = 20
_BANDS = {"A": "green", "B": "yellow", "C": "red"}
_CONFLICTS = {
    "superseded_by": "superseded by", "claim": "conflicts with", "possible": "may conflict with", "newer": "newer than",
    "older": "older than",
}  # fmt: skip


def receipt(out: Out, result: Receipt) -> None:
    """Print the receipt of a write."""
    counts = [
        (name, ids)
        for name, ids in (
            ("added", result.added),
            ("already known", result.reaffirmed),
            ("restored", result.restored),
            ("revised", result.revised),
            ("retracted", result.retracted),
            ("dropped by the new version", result.retired),
        )
        if ids
    ]
    said = ", ".join(f"{len(ids)} {name}" for name, ids in counts) or "nothing changed"
    out.line(Styled("✓ ", "green"), said, Styled(f"  transaction {result.transaction}", "dim"))
    for _, ids in counts:
        _listed(out, ids)
    if result.source:
        out.line("  source ", Styled(value(result.source), "cyan"))
    out.line("  snapshot ", Styled(result.snapshot.after, "cyan"), Styled(f"  before {result.snapshot.before}", "dim"))
    for kept in result.quarantined:
        out.line(Styled("! kept in quarantine: ", "yellow"), f"{kept.id}  {'; '.join(map(value, kept.reasons))}")
    for conflict in result.conflicts:
        out.line(Styled("! conflict: ", "yellow"), f"{conflict.with_id}  {value(conflict.reason)}")
    if result.more_conflicts:
        out.line(Styled(f"! {result.more_conflicts:,} more disagree", "yellow"))
    for name in result.echo_of:
        said = "was superseded, and stays so; to go back, revise what superseded it"
        out.line(Styled("! this repeats ", "yellow"), Styled(name, "cyan"), f": it {said}")
    if result.pending:
        out.line(Styled(f"! {result.pending} without a vector yet; `cmc embed` makes them", "yellow"))
    if result.undone_by:
        out.line(Styled(f"! this was undone by the rollback in transaction {result.undone_by}", "yellow"))
    if result.pages_pending:
        out.line(
            Styled("! erased pages wait in the journal for a reader to finish; the next open frees them", "yellow")
        )


def _listed(out: Out, ids: list[str], most: int = _LISTED) -> None:
    for name in ids[:most]:
        out.line("  ", Styled(name, "cyan"))
    if len(ids) > most:
        out.line(f"  … and {len(ids) - most:,} more (--json lists them all)")


def recalled(out: Out, result: RecallResult) -> None:
    """Print recalled memories, the best first."""
    for line in first_lines(result):
        out.line(Styled(line, "yellow"))
    if not result.items and not result.left_out:
        out.line("Nothing was found.")
    most = explain.most([item.why for item in result.items])
    for number, item in enumerate(result.items, 1):
        _item(out, item, number)
        if item.why is not None:
            explain.reasons(out, item.why, most)
    mode = result.mode
    said = f"{mode.retrieval.replace('_', ' ')}" + (f" with {mode.model}" if mode.model else "")
    out.line(
        Styled(
            f"{len(result.items)} found, {result.tokens} tokens; {said}; "
            f"transaction {result.read_point.transaction}, {result.read_point.snapshot}",
            "dim",
        )
    )
    if (proof := result.proof) is not None:
        checked = ", ".join(f"{count:,} {name}" for name, count in proof.checked.items())
        out.line(Styled(f"{proof.verdict}: {checked}; log root {proof.root}", "green"))
    if mode.degraded:
        out.line(Styled(f"! {mode.degraded}", "yellow"))
    if mode.pending:
        out.line(Styled(f"! {mode.pending} memories have no vector yet; `cmc embed` makes them", "yellow"))
    if result.left_out:
        size = sum(result.left_out_tokens.values())
        out.line(
            Styled(f"! {len(result.left_out)} more ({size:,} tokens) matched and did not fit; raise --budget", "yellow")
        )
    if result.next_cursor:
        out.line(Styled(f"next page: --cursor {result.next_cursor}", "dim"))
    if result.trace:
        explain.stages(out, result.trace)


def _item(out: Out, item: Item, number: int) -> None:
    line = [Styled(f"{number}. ", "bold"), Styled(f"{item.score:.3f} ", "dim"), Styled(item.id, "cyan")]
    for part in _said_of(item):
        line += [Styled(" · ", "dim"), part]
    out.line(*line)
    out.body(item.text)
    for near in item.around:
        out.line(Styled(f"{'+' if near.after else '-'} {near.id}", "dim"))
        out.body(near.text)
    if item.duplicates:
        out.line(Styled(f"stands for {', '.join(item.duplicates)}", "dim"))
    for other in item.superseded_by:
        out.line(Styled(f"! superseded by {other}", "yellow"))
    for conflict in item.conflicts[:RIVALS_NAMED]:
        said = _CONFLICTS.get(conflict.kind, conflict.kind)
        out.line(Styled(f"! {said} {conflict.with_id}: {value(conflict.reason)}", "yellow"))
    if more := max(0, len(item.conflicts) - RIVALS_NAMED) + item.more_conflicts:
        out.line(Styled(f"! and {more} more like these", "yellow"))
    for other in item.stale_premises:
        out.line(Styled(f"! rests on {other}, which no longer holds", "yellow"))
    if item.more_stale_premises:
        out.line(Styled(f"! and on {item.more_stale_premises} more that no longer hold", "yellow"))


def _said_of(item: Item) -> Iterator[Styled]:
    witness = item.witness
    place = " › ".join(value(part) for part in (item.source, item.place or item.title) if part)
    if place:
        yield Styled(place)
    if item.speaker:
        yield Styled(f"said by {value(item.speaker)}")
    if when := item.occurred_at or item.recorded_at:
        yield Styled(("" if item.occurred_at else "recorded ") + when[:16].replace("T", " "))
    if item.valid_from or item.valid_to:
        yield Styled(f"valid {item.valid_from or '…'} to {item.valid_to or '…'}", "magenta")
    if witness is not None:
        yield Styled(f"by {value(witness.writer)}")
        if witness.band:
            yield Styled(f"{witness.band} {witness.confidence}", _BANDS[witness.band])
    if item.gate not in (None, "passes"):
        yield Styled(unsure(item), "yellow")
    for name, said in item.tags.items():
        yield Styled(f"{value(name)}={value(said)}", "blue")
    if item.original_tokens:
        yield Styled(f"excerpt of {item.original_tokens} tokens")


def snapshot(out: Out, result: SnapshotResult) -> None:
    """Print a snapshot."""
    out.pairs(
        [
            ("snapshot", Styled(result.snapshot, "cyan")),
            ("root", result.root),
            ("transaction", result.transaction),
            ("recorded", result.recorded_at),
            ("label", result.label),
            *((name.replace("_", " "), count) for name, count in result.counts.items()),
        ]
    )


def diff(out: Out, result: Diff) -> None:
    """Print the differences between two states."""
    if result.is_empty:
        out.line(f"Transactions {result.from_transaction} and {result.to_transaction} hold the same.")
        return
    width = max(20, out.width - 60) if out.width else 0
    rows: list[tuple[Cell, ...]] = []
    for sign, style, records in (("+", "green", result.added), ("-", "red", result.removed)):
        rows += [(Styled(sign, style), r.kind, Styled(r.id, "cyan"), one_line(r.text or "", width)) for r in records]
    for record in result.changed:
        said = "; ".join(f"{value(c.field)}: {_value(c.before)} → {_value(c.after)}" for c in record.changes)
        rows.append((Styled("~", "yellow"), record.kind, Styled(record.id, "cyan"), said))
    out.table(("", "kind", "id", "what"), rows)
    out.line(
        f"{len(result.added)} added, {len(result.removed)} removed, {len(result.changed)} changed "
        f"from transaction {result.from_transaction} to {result.to_transaction}"
    )


def _value(said: object) -> str:
    return "nothing" if said is None else value(one_line(said if isinstance(said, str) else json.dumps(said), 60))


def rolled_back(out: Out, result: RollbackResult) -> None:
    """Print the plan of a rollback, or its effects."""
    diff(out, result.diff)
    for ids, said in (
        (result.orphaned, "later changes to memories that are gone, dropped"),
        (result.stale, "stay, but rest on something undone"),
        (result.erased, "have been erased since, and cannot come back"),
    ):
        if ids:
            out.line(Styled(f"! {len(ids)} {said}:", "yellow"))
            _listed(out, ids)
    if result.not_undone:
        numbers = ", ".join(map(str, result.not_undone))
        out.line(Styled(f"! rollbacks by a matching principal are not undone: transactions {numbers}", "yellow"))
    if result.dry_run or result.receipt is None:
        out.line("Nothing was changed (dry run). To do exactly this, add --digest ", Styled(result.digest, "cyan"))
        return
    done = result.receipt
    out.line(
        Styled("✓ ", "green"),
        f"rolled back in transaction {done.transaction}; now ",
        Styled(done.snapshot.after, "cyan"),
    )
    if result.undo_with:
        out.line(f"to undo this: cmc rollback {result.undo_with}")


def forgotten(out: Out, result: ForgetResult) -> None:
    """Print the plan of a forget, or its effects."""
    verb = "erased" if result.erase else "forgotten"
    if result.shared:
        out.line(Styled(f"! {len(result.shared)} others have the same content and lose it too:", "yellow"))
        _listed(out, result.shared)
    if result.dry_run or result.receipt is None:
        out.line(f"{len(result.ids)} would be {verb}:")
        _listed(out, result.ids)
        out.line("Nothing was changed (dry run). To do exactly this, add --digest ", Styled(result.digest, "cyan"))
        return
    out.line(f"{len(result.ids)} {verb}")
    receipt(out, result.receipt)


def history(out: Out, result: HistoryResult) -> None:
    """Print the ledger, one memory, a source, or a diff."""
    if result.diff is not None:
        diff(out, result.diff)
        return
    if result.memory is not None:
        _memory(out, result)
    if result.source_versions:
        out.table(
            ("version", "transaction", "recorded", "parts", "bytes"),
            [
                (Styled(v.version, "cyan"), v.transaction, v.recorded_at, v.parts, v.bytes)
                for v in result.source_versions
            ],
        )
    if result.nodes:
        out.table(
            ("level", "place", "title", "hash"),
            [(n.level, n.path, n.title, n.dependency_hash[:16]) for n in result.nodes],
        )
    _places(out, result)
    if result.transactions or not (result.memory or result.source_versions or result.node):
        log(out, result)


def _places(out: Out, result: HistoryResult) -> None:
    """Print a place and its surroundings."""
    if result.node is not None and result.node.text:
        out.body(result.node.text)
    rows = [("here", result.node), ("in", result.parent), *(("holds", node) for node in result.children)]
    rows += [("beside", node) for node in result.siblings]
    shown = [
        (role, n.path, n.id or n.title, "" if role == "here" else n.text or "", n.dependency_hash[:16])
        for role, n in rows
        if n is not None
    ]
    if shown:
        out.table(("", "place", "what", "text", "hash"), shown)


def _memory(out: Out, result: HistoryResult) -> None:
    item = result.memory
    assert item is not None
    witness, claim = item.witness, item.claim
    out.body(item.text)
    out.pairs(
        [
            ("id", Styled(item.id, "cyan")),
            ("modality", item.modality),
            ("media type", item.media_type),
            ("source", item.source),
            ("place", item.place),
            ("title", item.title),
            ("session", item.session),
            ("speaker", item.speaker),
            ("occurred", item.occurred_at),
            ("tags", ", ".join(f"{value(k)}={value(v)}" for k, v in item.tags.items())),
            ("claim", " · ".join(map(value, (claim.subject, claim.predicate, claim.object))) if claim else None),
            ("writer", witness.writer if witness else None),
            ("model", witness.model_id if witness else None),
            ("confidence", witness.confidence if witness else None),
            ("derived from", ", ".join(result.derived_from)),
            ("supports", ", ".join(result.supports)),
            ("supersedes", ", ".join(result.supersedes)),
            ("superseded by", ", ".join(result.superseded_by)),
        ]
    )
    out.table(
        ("valid from", "valid to", "recorded in", "ended in", "facts"),
        [
            (v.valid_from or "…", v.valid_to or "…", v.recorded, v.ended, json.dumps(v.facts, ensure_ascii=False))
            for v in result.versions
        ],
    )


def log(out: Out, result: HistoryResult) -> None:
    """Print ledger entries, newest first."""
    if not result.transactions:
        out.line("The ledger is empty.")
        return
    out.table(
        ("transaction", "recorded", "verb", "by", "changes", "memories", "snapshot", "labels", "reason"),
        [
            (
                t.transaction,
                t.recorded_at[:19].replace("T", " "),
                Styled(t.verb, "bold"),
                t.principal,
                t.changes,
                t.atoms,
                Styled(t.snapshot, "cyan"),
                Styled(", ".join(map(value, t.labels)), "magenta"),
                t.reason,
            )
            for t in result.transactions
        ],
    )
    if result.next_cursor:
        out.line(Styled(f"older: --cursor {result.next_cursor}", "dim"))


def verified(out: Out, result: VerifyResult) -> None:
    """Print the result of a verification."""
    if result.holds:
        out.line(Styled("✓ everything holds", "green"))
    else:
        out.line(Styled(f"✗ {len(result.faults)} faults", "bold red"))
        out.table(("table", "key", "what is wrong"), [(f.table, f.key, Styled(f.reason, "red")) for f in result.faults])
        out.line("Restore the last backup, or ask with `cmc verify --json` for what to send with a report.")
    out.pairs([(name.replace("_", " "), f"{count:,}") for name, count in result.checked.items()])
    out.pairs(
        [
            ("transaction", result.transaction),
            ("snapshot", Styled(result.snapshot, "cyan")),
            ("log root", result.log_root),
        ]
    )
    for note in result.notes:
        out.line(Styled(f"note: {value(note)}", "dim"))
    if result.proof is not None:
        proof = result.proof
        out.line(
            f"{proof.id} was recorded in transaction {proof.transaction}, which is in the log of {proof.log_size}; "
            "--json gives the proof"
        )


def checkpoint(out: Out, result: CheckpointResult) -> None:
    """Print a signed checkpoint as the text to keep."""
    out.text(result.checkpoint.rstrip("\n"))


def quarantine(out: Out, entries: list[QuarantineEntry]) -> None:
    """Print the entries in quarantine."""
    if not entries:
        out.line("Nothing is in quarantine.")
        return
    width = max(20, out.width - 70) if out.width else 0
    out.table(
        ("id", "recorded", "why", "text"),
        [
            (
                Styled(e.id, "cyan"),
                e.recorded_at[:19].replace("T", " "),
                "; ".join(map(value, e.reasons)),
                one_line(e.text, width),
            )
            for e in entries
        ],
    )
