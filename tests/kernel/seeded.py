"""Bugs put into the product on purpose, each of which the state machine has to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cmc_mcp.history import diff, rollback
from cmc_mcp.kernel import pieces, undo
from cmc_mcp.kernel.pieces import NOTHING, Piece, Pieces
from cmc_mcp.merkle import state as tree
from cmc_mcp.store.sql.unit import UnitOfWork
from cmc_mcp.store.sql.view import View
from cmc_mcp.write import commit, forget, revise

Bug = Callable[[pytest.MonkeyPatch], None]


def joining_is_not_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pieces, "joined", tuple)


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
    def replayed(changes: Any) -> undo.Replayed:
        value: Pieces = NOTHING
        for _, before, after in changes:
            value = pieces.pointwise(lambda v: v[0] if v[1] == v[2] else v[2], value, before, after)
        return undo.Replayed(value, ())

    patch.setattr(rollback, "replayed", replayed)


def an_undo_forgets_the_undos_before_it(patch: pytest.MonkeyPatch) -> None:
    effective = undo.effective
    patch.setattr(rollback, "effective", lambda steps: effective(s for s in steps if s.verb != "undo"))


def an_undo_forgets_the_rollbacks_before_it(patch: pytest.MonkeyPatch) -> None:
    effective = undo.effective
    patch.setattr(rollback, "effective", lambda steps: effective(s for s in steps if s.verb != "rollback"))


def revise_does_not_stretch(patch: pytest.MonkeyPatch) -> None:
    bounded = pieces.bounded

    def cut(old: Pieces, valid_from: int | None, valid_to: int | None) -> Pieces:
        new = bounded(old, valid_from, valid_to)
        return pieces.without(new, pieces.without(new, old))

    patch.setattr(revise, "bounded", cut)


def a_change_of_wording_leaves_the_old_one_standing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(revise, "without", lambda old, held: old)


def remember_drops_what_it_does_not_name(patch: pytest.MonkeyPatch) -> None:
    def asserted(old: Pieces, start: int, end: int, changes: Any) -> Pieces:
        new = pieces.asserted(NOTHING, start, end, changes)
        return pieces.pointwise(lambda v: v[1] or v[0], old, new)

    patch.setattr(commit, "asserted", asserted)


def remember_ignores_the_end_of_its_interval(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commit, "asserted", lambda old, start, end, changes: pieces.asserted(old, start, 1 << 62, changes))


def forget_ends_validity_instead_of_belief(patch: pytest.MonkeyPatch) -> None:
    resolve = forget.resolve_atom
    writer = UnitOfWork.set_pieces

    def shortened(self: UnitOfWork, rid: int, new: Pieces) -> None:
        old = self.pieces(rid)
        if not new and old and getattr(self, "_forgetting", False) and self.record(rid).kind == 1:
            new = tuple(Piece(a, min(b, 1_728_172_800_000_000), f) for a, b, f in old if a < 1_728_172_800_000_000)
        writer(self, rid, new)

    def marked(view: Any, reference: str, path: str = "id") -> int:
        if isinstance(view, UnitOfWork):
            view._forgetting = True  # type: ignore[attr-defined]
        return resolve(view, reference, path)

    patch.setattr(forget, "resolve_atom", marked)
    patch.setattr(UnitOfWork, "set_pieces", shortened)


def the_diff_misses_what_was_reopened(patch: pytest.MonkeyPatch) -> None:
    compare = diff.compare

    def blind(view: Any, changes: Any, first: int, second: int) -> Any:
        kept = {rid: (a, b) for rid, (a, b) in changes.items() if a or len(view.piece_rows(rid)) <= 1}
        return compare(view, kept, first, second)

    patch.setattr(diff, "compare", blind)


def a_leaf_stays_in_the_tree(patch: pytest.MonkeyPatch) -> None:
    update = tree.update
    patch.setattr(tree, "update", lambda get, changes: update(get, {k: v for k, v in changes.items() if v is not None}))


def rollback_rolls_labels_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pieces.Record, "is_memory", True)


def what_was_erased_comes_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollback, "_erased_since", lambda view, seq: set())


def retired_parts_of_a_document_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commit.Batch, "_retire", lambda self, before, kept: None)


def time_may_stand_still(patch: pytest.MonkeyPatch) -> None:
    from cmc_mcp.store.sql import unit

    patch.setattr(unit, "next_time", lambda clock_us, last_us: clock_us)


BUGS: tuple[Bug, ...] = (
    joining_is_not_done,
    rollback_skips_what_was_closed,
    the_root_after_a_rollback_is_not_checked_and_it_forgets_one_record,
    undo_takes_since_as_inclusive,
    replay_takes_whole_facts_instead_of_registers,
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
    what_was_erased_comes_back,
    retired_parts_of_a_document_stay,
    time_may_stand_still,
)
