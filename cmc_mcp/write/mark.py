"""Mark: outcomes of memories, reported by those who used them. A mark revises the facts of many memories at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from cmc_mcp import limits
from cmc_mcp.atoms.erasures import is_erased
from cmc_mcp.canon import Json
from cmc_mcp.errors import InvalidInput, LimitExceeded, NotFound, Problem
from cmc_mcp.history.references import resolve_atom
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.transaction import next_time
from cmc_mcp.model.calls import Cancel
from cmc_mcp.model.facts import USED, mark_field
from cmc_mcp.model.results import Receipt
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.verbs.check import Check
from cmc_mcp.verbs.models import Mark
from cmc_mcp.workspace import Workspace
from cmc_mcp.write.commit import Batch
from cmc_mcp.write.receipts import pair
from cmc_mcp.write.revise import Revision, apply_revision


def mark(workspace: Workspace, asked: Mark, *, cancel: Cancel | None = None) -> Receipt:
    """Report an outcome of 1 to 1,000 memories, in one transaction; `docs/design/write.md` §7.

    `used` sets the field `used_us` to the time of the transaction, from which decay begins anew. `right` and `wrong` set
    the principal's field among `mark:…`, which holds the latest judgement and feeds calibration. Like every field,
    marks roll back, can be undone by writer, and appear in history and diffs.

    Raises:
        InvalidInput: an argument is wrong.
        NotFound: an id names no memory, or the memory was forgotten.
        Ambiguous: an id is the prefix of several ids.
    """
    named, outcome, reason = _checked(asked), asked.outcome, asked.reason
    with workspace.reader() as view:
        rids = _found(view, named)
    with workspace.writer() as unit:
        batch = Batch(unit, workspace.principal, workspace.settings.inline_bytes)
        value: Json = next_time(workspace.clock.now_us(), unit.before.recorded_us) if outcome == "used" else outcome
        register = USED if outcome == "used" else mark_field(workspace.principal)
        change = Revision({register: value}, replaces_tags=False, valid_from=None, valid_to=None, reason=reason)
        for rid in rids:
            apply_revision(unit, batch, rid, change)
        names = [atom_name(unit.record(rid).key) for rid in rids]
        arguments: dict[str, Json] = {"outcome": outcome}
        if reason:
            arguments["reason"] = reason
        head = workspace.commit(unit, "mark", arguments, cancel)
        return Receipt(transaction=head.seq, snapshot=pair(unit.before, head), revised=names)


def _checked(asked: Mark) -> tuple[str, ...]:
    """Check the arguments and return the ids."""
    check = Check()
    check.read(Mark, vars(asked), only=("outcome", "reason"))
    ids: object = asked.ids
    given: tuple[object, ...] = (ids,) if isinstance(ids, str) else ()
    if isinstance(ids, Sequence) and not isinstance(ids, str | bytes):
        given = tuple(ids)
    elif not isinstance(ids, str):
        check.problem("ids", f"is a {type(ids).__name__}; pass a list of memory ids")
    if not given and not check.problems:
        check.problem("ids", "is empty; pass the ids of the memories to mark")
    if len(given) > limits.BATCH_ITEMS_MAX:
        raise LimitExceeded.over("ids", "BATCH_ITEMS_MAX", len(given), limits.BATCH_ITEMS_MAX)
    for index, value in enumerate(given):
        if not isinstance(value, str):
            check.problem(f"ids[{index}]", f"is a {type(value).__name__}; pass a memory id")
    check.raise_()
    return cast("tuple[str, ...]", given)


def _found(view: LedgerView, named: Sequence[str]) -> list[Rid]:
    """Return the record numbers of the memories, in order; each must be live and named once."""
    rids: dict[Rid, int] = {}
    twice: list[Problem] = []
    for index, reference in enumerate(named):
        rid = resolve_atom(view, reference, f"ids[{index}]")
        first = rids.setdefault(rid, index)
        if first != index:
            twice.append(Problem(f"ids[{index}]", f"is the same memory as ids[{first}]; name each once"))
    if twice:
        raise InvalidInput.of(twice)
    held = view.intervals_of(list(rids), view.head().seq)
    for rid in rids:
        if rid not in held:
            raise _gone(view, rid)
    return list(rids)


def _gone(view: LedgerView, rid: Rid) -> NotFound:
    """Return the error for a memory that was forgotten or erased and cannot be marked."""
    row, name = view.atom(rid), atom_name(view.record(rid).key)
    erased = row is not None and is_erased(view, view.payload_row(row.content).hash)
    what = "its content was erased for good" if erased else "it was forgotten; remember it again, or roll back"
    return NotFound(f"the memory {name} cannot be marked: {what}", id=name)
