"""Forget: end belief in memories, or erase them and destroy their bytes. Both show a plan first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from cmc_mcp import limits
from cmc_mcp.atoms.erasures import is_erased
from cmc_mcp.canon import Json, digest, payload_hash
from cmc_mcp.errors import Conflict, InvalidInput, LimitExceeded, StoreError
from cmc_mcp.history.references import (
    PointLike,
    facts_tagged,
    plain_text,
    resolve_atom,
    resolve_atoms,
    resolve_origin,
    resolve_point,
    witnesses_like,
)
from cmc_mcp.ids import PayloadHash, Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.model.calls import Cancel
from cmc_mcp.model.results import ForgetResult, Receipt
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.verbs.check import Check
from cmc_mcp.verbs.models import Forget
from cmc_mcp.workspace import Workspace
from cmc_mcp.write.erase import destroy, finish_erasures
from cmc_mcp.write.receipts import pair

_NOTE = "note:"


@dataclass(frozen=True, slots=True)
class Selection:
    """The memories to forget: ids, or every memory that matches all given conditions."""

    ids: tuple[str, ...] = ()
    source: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    writer: str | None = None
    since: PointLike | None = None


def forget(workspace: Workspace, asked: Forget, *, cancel: Cancel | None = None) -> ForgetResult:
    """Forget the selected memories in one transaction; with `erase`, destroy their content for good.

    An erase also selects forgotten and retired memories. It includes other memories of the same content, since they share
    their bytes: the plan lists them as `shared`, and the receipt retracts them too.

    Raises:
        InvalidInput: the selection is empty, ids stand beside other conditions, or an erase lacks its plan's digest.
        Conflict: the plan changed since the digest was issued, or a content to erase is also a name.
        NotFound: an id names no memory.
    """
    selection, reason, erase = _selection(asked), asked.reason, asked.erase
    _check(selection, asked)
    if asked.dry_run:
        with workspace.reader() as view:
            return _plan(view, selection, erase)
    if erase and asked.digest is None:
        raise InvalidInput.at(
            "digest",
            "is missing: an erase destroys content for good; call with dry_run first, then pass its digest",
        )
    with workspace.writer() as unit:
        plan = _plan(unit, selection, erase)
        if asked.digest is not None and asked.digest != plan.digest:
            raise Conflict("the store has changed since that plan was made; nothing was forgotten. Make a new dry run")
        names = [*plan.ids, *plan.shared]
        rids = [resolve_atom(unit, name) for name in names]
        retracted = [name for name, rid in zip(names, rids, strict=True) if unit.intervals(rid)]
        for rid in rids:
            unit.set_intervals(rid, ())
        arguments: dict[str, Json] = {"ids": len(plan.ids)}
        if reason:
            arguments["reason"] = reason
        unfinished = erase and unit.unfinished()
        objects = destroy(unit, workspace.objects, rids) if erase else []
        erasure_count = unit.erasure_count()
        head = workspace.commit(unit, "erase" if erase else "forget", arguments, cancel)
    receipt = Receipt(transaction=head.seq, snapshot=pair(unit.before, head), retracted=retracted)
    if erase:
        done = _finished(workspace, objects, erasure_count, earlier=unfinished)
        receipt = receipt.model_copy(update={"pages_pending": not done})
    return plan.model_copy(update={"receipt": receipt, "dry_run": False})


def _finished(workspace: Workspace, objects: Sequence[PayloadHash], erasure_count: int, *, earlier: bool) -> bool:
    """Destroy the remains of a committed erase; return False if the next opening must do it, as after a crash.

    If an `earlier` erase was interrupted, its objects may remain too.
    """
    try:
        for hash_ in objects:
            workspace.objects.delete(workspace.ws, hash_)
        return (
            finish_erasures(workspace.store, workspace.objects)
            if earlier
            else workspace.store.scrub(workspace.ws, erasure_count)
        )
    except StoreError:
        return False


def _check(selection: Selection, asked: Forget) -> None:
    check = Check()
    check.read(Forget, vars(asked), only=("reason", "writer", "dry_run", "erase", "digest"))
    for name, value in selection.tags:
        check.text("tags", name, "TAG_KEY_CHARS_MAX")
        if check.text(f"tags.{name}", value, "TAG_VALUE_CHARS_MAX", blank=True) is None:
            check.problem(f"tags.{name}", "is empty; pass the value to match")
    check.raise_()


def _plan(view: LedgerView, selection: Selection, erase: bool) -> ForgetResult:
    rids = select(view, selection, also_dead=erase)
    names = [atom_name(view.record(rid).key) for rid in rids]
    head = view.head()
    bound = digest("cmc/plan/1", head.hash, str(erase).encode(), "\n".join(names).encode()).hex()[:32]
    shared = _sharing(view, rids) if erase else []
    return ForgetResult(dry_run=True, digest=bound, ids=names, erase=erase, shared=shared)


def _sharing(view: LedgerView, rids: Sequence[Rid]) -> list[str]:
    """Return the other memories of the same content.

    Raises:
        Conflict: a content is also a name, which shares its bytes.
    """
    rows = {row.rid: row for content in {row.content for row in view.atoms(rids).values()}
            for row in view.atoms_with_content(content)}  # fmt: skip
    named = view.used_elsewhere(sorted({row.content for row in rows.values()}), list(rows))
    stuck = sorted(atom_name(row.key) for row in rows.values() if row.content in named)
    if stuck:
        raise Conflict(
            f"the words of {', '.join(stuck[:5])} are also the name of a source, a principal, a session or a media type,"
            " so they cannot be destroyed; forget these memories, or leave them out",
            ids=stuck,
        )
    return sorted({atom_name(row.key) for row in rows.values()} - {atom_name(view.record(rid).key) for rid in rids})


def select(view: LedgerView, selection: Selection, *, also_dead: bool = False) -> list[Rid]:
    """Return the selected record numbers: live ones, or with `also_dead` every one whose content was not erased."""
    general = (selection.source, selection.writer, selection.since)
    if selection.ids:
        if selection.tags or any(part is not None for part in general):
            raise InvalidInput.at("ids", "cannot be combined with source, tags, writer or since; pass one or the other")
        if len(selection.ids) > limits.FORGET_IDS_MAX:
            raise LimitExceeded.over("ids", "FORGET_IDS_MAX", len(selection.ids), limits.FORGET_IDS_MAX)
        rids = resolve_atoms(view, selection.ids)
        return rids if also_dead else [rid for rid in rids if view.intervals(rid)]
    if not selection.tags and all(part is None for part in general):
        raise InvalidInput.at("ids", "select nothing; pass ids, or a source, tags, a writer or since")
    found: set[Rid] | None = None

    def narrow(rids: Sequence[Rid]) -> None:
        nonlocal found
        found = set(rids) if found is None else found & set(rids)

    if selection.source is not None:
        narrow(_of_source(view, selection.source))
    seq = view.head().seq
    for name, value in selection.tags:
        facts = facts_tagged(view, name, value)
        if also_dead:
            narrow([rid for pid in facts for rid in view.facts_used(pid)])
        else:
            narrow([rid for rid, *_ in view.holders(facts, seq)] if facts else [])
    if selection.since is not None:
        narrow(view.changed(resolve_point(view, selection.since, "since", latest=True), seq))
    if selection.writer is not None:
        narrow(_written(view, selection.writer, found))
    atoms = view.atoms(sorted(found or ()))
    if also_dead:
        return [rid for rid, row in sorted(atoms.items()) if not is_erased(view, view.payload_row(row.content).hash)]
    return [rid for rid in sorted(atoms) if view.intervals(rid)]


def _of_source(view: LedgerView, reference: str) -> list[Rid]:
    origin = resolve_origin(view, reference)
    pid = view.pid(payload_hash(origin.encode()))
    rows = [] if pid is None else view.atoms_with_origin(pid)
    if origin.startswith(_NOTE):  # a bare note lacks an origin of its own: its content names it
        try:
            content = view.pid(PayloadHash(bytes.fromhex(origin.removeprefix(_NOTE))))
        except ValueError:
            content = None
        rows += [] if content is None else [row for row in view.atoms_with_content(content) if not row.origin]
    return [row.rid for row in rows]


def _written(view: LedgerView, writer: str, among: set[Rid] | None) -> list[Rid]:
    witnesses = set(witnesses_like(view, writer))
    rows = view.all_atoms() if among is None else iter(view.atoms(sorted(among)).values())
    return [row.rid for row in rows if row.witness in witnesses]


def _selection(asked: Forget) -> Selection:
    """Read what the arguments of `forget` select.

    Raises:
        InvalidInput: `tags` is not a map, or `ids` no list.
        LimitExceeded: there are more tags than TAGS_MAX, or more ids than FORGET_IDS_MAX.
    """
    tags = asked.tags
    ids: object = asked.ids
    if not isinstance(ids, Iterable):
        raise InvalidInput.at("ids", f"is a {type(ids).__name__}; pass a list of memory ids")
    if tags is not None and not isinstance(tags, Mapping):
        raise InvalidInput.at("tags", 'is not a map of names to values; pass one such as {"topic": "deploy"}')
    if len(tags or ()) > limits.TAGS_MAX:
        raise LimitExceeded.over("tags", "TAGS_MAX", len(tags or ()), limits.TAGS_MAX)
    pairs = tuple(sorted((plain_text(k, "tags"), v) for k, v in (tags or {}).items()))
    named = (ids,) if isinstance(ids, str) else tuple(islice(ids, limits.FORGET_IDS_MAX + 1))
    if len(named) > limits.FORGET_IDS_MAX:
        count = len(asked.ids)
        raise LimitExceeded.over("ids", "FORGET_IDS_MAX", count, limits.FORGET_IDS_MAX)
    return Selection(named, asked.source, pairs, asked.writer, asked.since)
