"""Kinds that exist only here, one of each scope: a product's room in one file, with one migration.

Tasks are records, whose state is found by an index over their facts. Colours are a payload's: an index over bodies of facts.
Teams are groups: how many live tasks each has. Boards are the workspace's: one row. Listings are payloads of a domain of
their own, that name each other, as a tree of folders does; a shelf is the assigned head that names the topmost.
Leases and drafts are tables without a kind.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from cmc_mcp.canon import canonical, digest
from cmc_mcp.kernel.intervals import Interval, Intervals
from cmc_mcp.kernel.kinds import FACTS, Domain, Kind
from cmc_mcp.model.facts import FactFields, decode, facts_of
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.behaviours import Behaviour, Gone, Named, Ref
from cmc_mcp.store.indexes import Changed, Delta, Index, PayloadIndex, Row, difference
from cmc_mcp.store.migrations import Migration
from cmc_mcp.store.ports import LedgerView, WriteUnit
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.tables import Table, columns, key

TASK: Final = Kind(200, "test_task", memory=True, may_be_empty=True)  # to retract what nobody put numbers it
SHELF: Final = Kind(201, "test_shelf", memory=True, assigned=True)
NOTICE: Final = Kind(202, "test_notice", memory=False)
LISTING: Final = Domain(
    7,
    lambda body: digest("cmc/test-listing/1", body),
    revives=False,
    inline_only=True,
    refers=lambda body: [bytes.fromhex(hash_) for hash_ in json.loads(body)["under"]],
)


class Tasks(Index):
    """A row of each live task with its state; record scope."""

    table = Table(
        "test_tasks", columns("rid:rid ws state"), key("rid"), "derived", write_rank=300, move_rank=300, erasable=True
    )
    kinds = (TASK,)

    def step(self, unit: WriteUnit, changes: Sequence[Changed]) -> Delta:
        return Delta(
            [row for change in changes for row in _task(change.rid, change.before)],
            [row for change in changes for row in _task(change.rid, change.after)],
        )

    def whole(self, audit: Audit) -> Iterator[Row]:
        for rid, _ in audit.of_kind(TASK):
            yield from _task(rid, audit.view.intervals(rid))


class Colours(PayloadIndex):
    """A row of each body of facts that has a colour; payload scope."""

    table = Table(
        "test_colours", columns("ws colour facts:pid"), key("colour facts"), "derived",
        write_rank=310, move_rank=310, erased_by="facts", erasable=True,
    )  # fmt: skip
    feed = FACTS.number

    def of_payload(self, pid: int, body: bytes) -> Iterable[Row]:
        colour = decode(body).get("colour")
        return () if colour is None else ((str(colour), pid),)


class Names(PayloadIndex):
    """A row of each listing with a name; payload scope, in a domain of its own."""

    table = Table(
        "test_names", columns("ws name listing:pid"), key("name listing"), "derived",
        write_rank=320, move_rank=320, erased_by="listing", erasable=True,
    )  # fmt: skip
    feed = LISTING.number

    def of_payload(self, pid: int, body: bytes) -> Iterable[Row]:
        return ((str(json.loads(body)["name"]), pid),)


class Teams(Index):
    """A row of each team with how many live tasks it has; group scope, and the group is an expression of the facts."""

    table = Table("test_teams", columns("ws team tasks"), key("team"), "derived", write_rank=330, move_rank=330)
    kinds = (TASK,)

    def step(self, unit: WriteUnit, changes: Sequence[Changed]) -> Delta:
        more: Counter[str] = Counter()
        for change in changes:
            more.subtract(_teams(change.before))
            more.update(_teams(change.after))
        stored = [row for team in sorted(more) for row in unit.index_rows(self.table, team=team)]
        counts = Counter({str(team): int(str(tasks)) for team, tasks in stored})
        counts.update(more)
        return difference(stored, [(team, tasks) for team, tasks in counts.items() if tasks])

    def whole(self, audit: Audit) -> Iterable[Row]:
        teams = Counter(team for rid, _ in audit.of_kind(TASK) for team in _teams(audit.view.intervals(rid)))
        return teams.items()


class Board(Index):
    """One row: how many tasks are live, and the last transaction that changed one; workspace scope."""

    table = Table("test_board", columns("ws one tasks seq"), key("one"), "derived", write_rank=340, move_rank=340)
    kinds = (TASK,)

    def step(self, unit: WriteUnit, changes: Sequence[Changed]) -> Delta:
        stored = unit.index_rows(self.table)
        tasks = int(str(stored[0][1])) if stored else 0
        tasks += sum(bool(change.after) - bool(change.before) for change in changes)
        return difference(stored, [(1, tasks, unit.seq)])

    def whole(self, audit: Audit) -> Iterator[Row]:
        rids = [rid for rid, _ in audit.of_kind(TASK)]
        changed = {seq for rid in rids for seq in audit.view.change_seqs(rid)}
        if changed:
            yield (1, sum(bool(audit.view.intervals(rid)) for rid in rids), max(changed))


class TaskBehaviour(Behaviour):
    """A task is about the memory that it names, belongs to its source, and goes with its words."""

    kind = TASK

    def origin(self, view: LedgerView, rid: int) -> int | None:
        return next((view.origin_of(atom) for atom in _about(view, rid)), None)

    def subjects(self, view: LedgerView, rid: int, seq: int) -> list[int]:
        return [rid, *_about(view, rid)]

    def describe(self, view: LedgerView, rid: int) -> Named:
        intervals = view.intervals(rid)
        return Named(
            f"task_{view.record(rid).key.hex()}", str(intervals[0].facts.fields["title"]) if intervals else None
        )

    def redact(self, unit: WriteUnit, gone: Gone) -> Collection[int]:
        """Leave a task that quotes an erased memory without its title; its old facts go."""
        out: set[int] = set()
        for rid, _ in unit.records(TASK.code):
            if not gone.rows.keys() & set(_about(unit, rid)):
                continue
            out |= {row[4] for row in unit.interval_rows(rid)}
            intervals = unit.intervals(rid)
            unit.set_intervals(rid, tuple(_untitled(interval) for interval in intervals))
        return out


class ShelfBehaviour(Behaviour):
    """A shelf names its topmost listing."""

    kind = SHELF

    def refers(self, fields: FactFields) -> Iterable[Ref]:
        return (Ref("listing", str(fields["listing"])),) if "listing" in fields else ()


LEASES: Final = Table(
    "test_leases", columns("ws name until"), key("name"), "operational",
    write_rank=350, move_rank=350, conflict="ON CONFLICT({key}) DO UPDATE SET until = excluded.until",
)  # fmt: skip
DRAFTS: Final = Table("test_drafts", columns("ws name words"), key("name"), "operational", write_rank=360)
"""Tables without a kind: rows that no hash covers, the first to be copied with a memory, the second not."""

SAMPLES: Final = (Tasks(), Colours(), Names(), Teams(), Board())
TABLES: Final = tuple(index.table for index in SAMPLES)
_UP: Final = (
    "CREATE TABLE test_tasks(rid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, state TEXT NOT NULL) STRICT",
    """CREATE TABLE test_colours(
        ws INTEGER NOT NULL, colour TEXT NOT NULL, facts INTEGER NOT NULL, PRIMARY KEY(ws, colour, facts)) STRICT,
        WITHOUT ROWID""",
    """CREATE TABLE test_names(
        ws INTEGER NOT NULL, name TEXT NOT NULL, listing INTEGER NOT NULL, PRIMARY KEY(ws, name, listing)) STRICT,
        WITHOUT ROWID""",
    """CREATE TABLE test_teams(
        ws INTEGER NOT NULL, team TEXT NOT NULL, tasks INTEGER NOT NULL, PRIMARY KEY(ws, team)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE test_board(
        ws INTEGER NOT NULL, one INTEGER NOT NULL, tasks INTEGER NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY(ws, one)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE test_leases(
        ws INTEGER NOT NULL, name TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY(ws, name)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE test_drafts(
        ws INTEGER NOT NULL, name TEXT NOT NULL, words TEXT NOT NULL, PRIMARY KEY(ws, name)) STRICT, WITHOUT ROWID""",
)
MIGRATION: Final = Migration(len(MIGRATIONS) + 1, "test kinds", _UP)

WITH_SAMPLES: Final = replace(
    REGISTRY,
    kinds={**REGISTRY.kinds, **{kind.code: kind for kind in (TASK, SHELF, NOTICE)}},
    domains={**REGISTRY.domains, LISTING.number: LISTING},
    behaviours=(*REGISTRY.behaviours, TaskBehaviour(), ShelfBehaviour()),
    indexes=(*REGISTRY.indexes, *SAMPLES),
    plain=(*REGISTRY.plain, LEASES, DRAFTS),
    migrations=(*REGISTRY.migrations, MIGRATION),
)
"""The product with the kinds of this file, registered after it was imported."""


def listing(name: str, under: Sequence[bytes] = ()) -> bytes:
    """Write a listing that names others by their hashes."""
    return canonical({"name": name, "under": [hash_.hex() for hash_ in under]})


def _task(rid: int, intervals: Intervals) -> list[Row]:
    return [(rid, str(intervals[0].facts.fields.get("state", "open")))] if intervals else []


def _teams(intervals: Intervals) -> list[str]:
    return [str(intervals[0].facts.fields["team"])] if intervals and "team" in intervals[0].facts.fields else []


def _about(view: LedgerView, rid: int) -> list[int]:
    """Return the memory that a task ever named."""
    said = {str(view.facts(row[4]).fields.get("about", "")) for row in view.interval_rows(rid)}
    said |= {str(interval.facts.fields.get("about", "")) for interval in view.intervals(rid)}
    found = [view.keys_between(1, bytes.fromhex(name), bytes.fromhex(name)) for name in sorted(said - {""})]
    return [atom for rows in found for atom, _ in rows]


def _untitled(interval: Interval) -> Interval:
    fields = {**interval.facts.fields, "title": "[erased]"}
    return Interval(interval.valid_from, interval.valid_to, facts_of({k: v for k, v in fields.items() if k != "about"}))
