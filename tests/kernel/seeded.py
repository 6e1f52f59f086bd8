"""Bugs put into the product on purpose, each of which has to be found."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import apsw
import pytest

from cmc_mcp import memory
from cmc_mcp.history import diff, references, rollback
from cmc_mcp.kernel import intervals, undo
from cmc_mcp.kernel.intervals import NOTHING, Interval, Intervals
from cmc_mcp.kernel.kinds import LABEL
from cmc_mcp.merkle import log
from cmc_mcp.merkle import state as tree
from cmc_mcp.store.sql.ledger import LedgerRows
from cmc_mcp.store.sql.unit import UnitOfWork
from cmc_mcp.store.sql.view import View
from cmc_mcp.store.sqlite.search import SqliteView
from cmc_mcp.store.sqlite.store import SqliteStore
from cmc_mcp.write import commit, forget, revise

Bug = Callable[[pytest.MonkeyPatch], None]


def joining_is_not_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intervals, "joined", tuple)


def rollback_skips_what_was_closed(patch: pytest.MonkeyPatch) -> None:
    def changed(view: View, after: int, upto: int) -> list[int]:
        rows = view._c.execute(
            "SELECT DISTINCT rid FROM pieces WHERE ws = ? AND tx_from > ? AND tx_from <= ? ORDER BY 1",
            (view.ws, after, upto),
        )
        return [int(rid) for (rid,) in rows]

    patch.setattr(View, "changed", changed)


def the_root_after_a_rollback_is_not_checked_and_it_forgets_one_record(patch: pytest.MonkeyPatch) -> None:
    whole = rollback._whole

    def shorter(view: Any, to: int) -> Any:
        plan = whole(view, to)
        plan.root = None
        if len(plan.changes) > 1:
            plan.changes.pop(max(plan.changes))
        return plan

    patch.setattr(rollback, "_whole", shorter)


def undo_takes_since_as_inclusive(patch: pytest.MonkeyPatch) -> None:
    init = rollback._Matcher.__init__

    def earlier(self: Any, view: Any, arguments: Any) -> None:
        init(self, view, arguments)
        self.since -= 1

    patch.setattr(rollback._Matcher, "__init__", earlier)


def replay_takes_whole_facts_instead_of_registers(patch: pytest.MonkeyPatch) -> None:
    def replayed(changes: Any, *, assigned: bool = False) -> undo.Replayed:
        value: Intervals = NOTHING
        for _, before, after in changes:
            value = intervals.pointwise(lambda v: v[0] if v[1] == v[2] else v[2], value, before, after)
        return undo.Replayed(value, ())

    patch.setattr(rollback, "replayed", replayed)


def an_undo_forgets_the_undos_before_it(patch: pytest.MonkeyPatch) -> None:
    effective = undo.effective
    patch.setattr(rollback, "effective", lambda steps: effective(s for s in steps if s.verb != "undo"))


def an_undo_forgets_the_rollbacks_before_it(patch: pytest.MonkeyPatch) -> None:
    effective = undo.effective
    patch.setattr(rollback, "effective", lambda steps: effective(s for s in steps if s.verb != "rollback"))


def revise_does_not_stretch(patch: pytest.MonkeyPatch) -> None:
    bounded = intervals.bounded

    def cut(old: Intervals, valid_from: int | None, valid_to: int | None) -> Intervals:
        new = bounded(old, valid_from, valid_to)
        return intervals.without(new, intervals.without(new, old))

    patch.setattr(revise, "bounded", cut)


def a_change_of_wording_leaves_the_old_one_standing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(revise, "without", lambda old, held: old)


def remember_drops_what_it_does_not_name(patch: pytest.MonkeyPatch) -> None:
    def asserted(old: Intervals, start: int, end: int, changes: Any) -> Intervals:
        new = intervals.asserted(NOTHING, start, end, changes)
        return intervals.pointwise(lambda v: v[1] or v[0], old, new)

    patch.setattr(commit, "asserted", asserted)


def remember_ignores_the_end_of_its_interval(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commit, "asserted", lambda old, start, end, changes: intervals.asserted(old, start, 1 << 62, changes))


def forget_ends_validity_instead_of_belief(patch: pytest.MonkeyPatch) -> None:
    resolve = forget.resolve_atom
    writer = UnitOfWork.set_intervals

    def shortened(self: UnitOfWork, rid: int, new: Intervals) -> None:
        old = self.intervals(rid)
        if not new and old and getattr(self, "_forgetting", False) and self.record(rid).kind == 1:
            new = tuple(Interval(a, min(b, 1_728_172_800_000_000), f) for a, b, f in old if a < 1_728_172_800_000_000)
        writer(self, rid, new)

    def marked(view: Any, reference: str, path: str = "id") -> int:
        if isinstance(view, UnitOfWork):
            view._forgetting = True  # type: ignore[attr-defined]
        return resolve(view, reference, path)

    patch.setattr(forget, "resolve_atom", marked)
    patch.setattr(UnitOfWork, "set_intervals", shortened)


def the_diff_misses_what_was_reopened(patch: pytest.MonkeyPatch) -> None:
    compare = diff.compare

    def blind(view: Any, changes: Any, first: int, second: int) -> Any:
        kept = {rid: (a, b) for rid, (a, b) in changes.items() if a or len(view.interval_rows(rid)) <= 1}
        return compare(view, kept, first, second)

    patch.setattr(diff, "compare", blind)


def a_leaf_stays_in_the_tree(patch: pytest.MonkeyPatch) -> None:
    update = tree.update
    patch.setattr(tree, "update", lambda get, changes: update(get, {k: v for k, v in changes.items() if v is not None}))


def rollback_rolls_labels_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollback, "_rolls_back", lambda view, rid: True)


def what_was_erased_comes_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollback, "_erased_since", lambda view, seq: set())


def retired_parts_of_a_document_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commit.Batch, "_retire", lambda self, before, kept: None)


def time_may_stand_still(patch: pytest.MonkeyPatch) -> None:
    from cmc_mcp.store.sql import unit

    patch.setattr(unit, "next_time", lambda clock_us, last_us: clock_us)


def opening_throws_away_what_only_the_log_has(patch: pytest.MonkeyPatch) -> None:
    opened = SqliteStore.open.__func__  # type: ignore[attr-defined]

    def open_(cls: type[SqliteStore], location: Any, **given: Any) -> SqliteStore:
        location.path.with_name(f"{location.path.name}-wal").unlink(missing_ok=True)
        store: SqliteStore = opened(cls, location, **given)
        return store

    patch.setattr(SqliteStore, "open", classmethod(open_))


def half_of_a_write_is_committed_early(patch: pytest.MonkeyPatch) -> None:
    rows = UnitOfWork._write_rows

    def early(self: UnitOfWork) -> None:
        late = {table: self._inserts.pop(table) for table in ("transactions", "log_nodes")}
        rows(self)
        self._c.execute("COMMIT")
        self._c.execute("BEGIN IMMEDIATE")
        self._inserts = late
        rows(self)

    patch.setattr(UnitOfWork, "_write_rows", early)


def a_write_that_was_cut_off_stays_in_the_caches(patch: pytest.MonkeyPatch) -> None:
    def abandon(self: SqliteStore, connection: apsw.Connection, ws: int) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def put_facts(self: UnitOfWork, facts: Any) -> int:
        pid = put(self, facts)
        self._cache_of_facts.at(self.erasure_count()).setdefault(pid, facts)
        return pid

    put = UnitOfWork.put_facts
    patch.setattr(UnitOfWork, "put_facts", put_facts)
    patch.setattr(SqliteStore, "_abandon", abandon)


def a_leaf_of_the_log_is_hashed_like_a_node(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log, "leaf_hash", lambda data: sha256(log.NODE_PREFIX + data).digest())


def an_append_takes_its_neighbours_in_the_wrong_order(patch: pytest.MonkeyPatch) -> None:
    append, node_hash = log.append, log.node_hash

    def swapped(size: int, leaf: bytes, get: log.Get) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(log, "node_hash", lambda left, right: node_hash(right, left))
            return append(size, leaf, get)

    patch.setattr(log, "append", swapped)


def an_append_leaves_out_a_subtree(patch: pytest.MonkeyPatch) -> None:
    append = log.append

    def shorter(size: int, leaf: bytes, get: log.Get) -> Any:
        made = append(size, leaf, get)
        return [(level, index, leaf if level == 2 else node) for level, index, node in made]

    patch.setattr(log, "append", shorter)


def a_time_means_the_state_before_it(patch: pytest.MonkeyPatch) -> None:
    seq_at = LedgerRows.seq_at
    patch.setattr(LedgerRows, "seq_at", lambda self, time_us: seq_at(self, time_us - 1))


def the_first_instant_of_a_validity_is_not_in_it(patch: pytest.MonkeyPatch) -> None:
    selected = SqliteView.selected
    patch.setattr(SqliteView, "selected", lambda self, seq, at, limits: selected(self, seq, at - 1, limits))


def recall_takes_the_end_of_a_validity_as_part_of_it(patch: pytest.MonkeyPatch) -> None:
    found = memory.resolve
    patch.setattr(memory, "resolve", lambda *a: (p := found(*a)) and type(p)(p.head, p.valid_at - 1, p.reference_us))


def a_snapshot_means_the_latest_state_of_its_root(patch: pytest.MonkeyPatch) -> None:
    snapshots = references._snapshots
    patch.setattr(references, "_snapshots", lambda view, digits, latest: snapshots(view, digits, True))


def a_rollback_to_a_snapshot_takes_the_history_of_the_earliest(patch: pytest.MonkeyPatch) -> None:
    resolve = references.resolve_point
    patch.setattr(rollback, "resolve_point", lambda view, to, path, *, latest: resolve(view, to, path))


def a_forced_label_stays_where_it_was(patch: pytest.MonkeyPatch) -> None:
    set_intervals = UnitOfWork.set_intervals

    def once(self: UnitOfWork, rid: int, new: Intervals) -> None:
        if not (self.record(rid).kind == LABEL.code and self.intervals(rid)):
            set_intervals(self, rid, new)

    patch.setattr(UnitOfWork, "set_intervals", once)


def a_past_state_is_read_without_what_was_closed_since(patch: pytest.MonkeyPatch) -> None:
    intervals_of = LedgerRows.intervals_of

    def shorter(self: LedgerRows, rids: Any, seq: int) -> Any:
        live = intervals_of(self, rids, self.head().seq)
        found = intervals_of(self, rids, seq)
        return {rid: held for rid, held in found.items() if rid in live or self.head().seq - seq < 9}

    patch.setattr(LedgerRows, "intervals_of", shorter)


def a_rollback_reaches_into_other_workspaces(patch: pytest.MonkeyPatch) -> None:
    def changed(view: View, after: int, upto: int) -> list[int]:
        rows = view._c.execute(
            "SELECT rid FROM pieces WHERE tx_from > ?1 AND tx_from <= ?2 UNION"
            " SELECT rid FROM pieces WHERE tx_to > ?1 AND tx_to <= ?2 ORDER BY 1",
            (after, upto),
        )
        return [int(rid) for (rid,) in rows]

    patch.setattr(View, "changed", changed)


def erasing_destroys_what_other_workspaces_hold(patch: pytest.MonkeyPatch) -> None:
    erase = UnitOfWork.erase

    def wider(self: UnitOfWork, pids: Any, rids: Any, texts: Any) -> None:
        hashes = [self.payload_row(pid).hash for pid in pids]
        erase(self, pids, rids, texts)
        self._c.executemany("UPDATE payloads SET body = NULL WHERE hash = ?", [(hash_,) for hash_ in hashes])

    patch.setattr(UnitOfWork, "erase", wider)


BUGS: tuple[Bug, ...] = (
    joining_is_not_done,
    rollback_skips_what_was_closed,
    the_root_after_a_rollback_is_not_checked_and_it_forgets_one_record,
    an_undo_forgets_the_undos_before_it,
    an_undo_forgets_the_rollbacks_before_it,
    revise_does_not_stretch,
    a_change_of_wording_leaves_the_old_one_standing,
    remember_drops_what_it_does_not_name,
    remember_ignores_the_end_of_its_interval,
    forget_ends_validity_instead_of_belief,
    the_diff_misses_what_was_reopened,
    a_leaf_stays_in_the_tree,
    rollback_rolls_labels_back,
    retired_parts_of_a_document_stay,
    time_may_stand_still,
)
"""What the state machine has to find, and the histories."""
MORE_BUGS: tuple[Bug, ...] = (
    what_was_erased_comes_back,
    replay_takes_whole_facts_instead_of_registers,
    undo_takes_since_as_inclusive,
    opening_throws_away_what_only_the_log_has,
    half_of_a_write_is_committed_early,
    a_write_that_was_cut_off_stays_in_the_caches,
    a_leaf_of_the_log_is_hashed_like_a_node,
    an_append_takes_its_neighbours_in_the_wrong_order,
    an_append_leaves_out_a_subtree,
    a_time_means_the_state_before_it,
    the_first_instant_of_a_validity_is_not_in_it,
    recall_takes_the_end_of_a_validity_as_part_of_it,
    a_snapshot_means_the_latest_state_of_its_root,
    a_rollback_to_a_snapshot_takes_the_history_of_the_earliest,
    a_forced_label_stays_where_it_was,
    a_past_state_is_read_without_what_was_closed_since,
    a_rollback_reaches_into_other_workspaces,
    erasing_destroys_what_other_workspaces_hold,
)
"""What only the histories have to find: too rare for the state machine, or seen in stops, logs, references, and neighbours."""
