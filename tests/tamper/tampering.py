"""Edit one thing behind the store's back, and judge whether `verify` names it."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import numpy as np

from cmc_mcp.errors import CmcError, IntegrityError
from cmc_mcp.model.results import Fault
from cmc_mcp.store.sql.postings import TABLES as FULL_TEXT
from tests.soak import Job, Outcome, Soak
from tests.tamper.edits import ROW_KINDS, Column, Edit, Table, Tamperer, Value, tables
from tests.tamper.rich import MODELS, WORKSPACES, Rich, build, opened

CLASSES = {
    "transactions": "committed", "payloads": "committed", "records": "committed", "atoms": "committed",
    "pieces": "committed",
    "state_nodes": "derived", "log_nodes": "derived", "sources": "derived", "items": "derived", "tags": "derived",
    "confidences": "derived", "claims": "derived", "edges": "derived", "witnesses": "derived", "labels": "derived",
    "headings": "derived", "quarantine": "derived", "nodes": "derived", "node_vectors": "derived", "vectors": "derived",
    "codes": "derived", "speakers": "derived", "embedding_models": "derived", "passage_terms": "derived",
    "postings": "derived", "passage_lengths": "derived", "vocabulary": "derived",
    "workspaces": "operational", "idempotency_keys": "operational", "migrations": "operational",
}  # fmt: skip
"""What every table is. One that is not here fails the tests: whoever adds a table says what it is, and has it verified."""

NEIGHBOURS = {
    # what is hashed shows in what hashes it: a payload in the piece, atom or transaction whose hash covers it, a record
    # in the transactions that changed it, a piece in the transaction that opened it
    "payloads": {"pieces", "atoms", "transactions"},
    "transactions": {"pieces"},  # a last one that is gone has left its pieces, and the store ends before the checkpoint
    "records": {"transactions", "atoms", "pieces"},
    "pieces": {"transactions", "records", "atoms"},
    "atoms": {"payloads", "records"},
    # the vectors of a model that is gone, or has another dimension; and it is named in the notes if it has another name
    "embedding_models": {"vectors", "node_vectors", "notes"}, "node_vectors": {"embedding_models", "vectors"},
    "vectors": {"embedding_models", "notes", "transactions", "codes"},  # codes are packed from them, by number
    # a workspace that lost its row, or its name, is found empty: the checkpoint has more transactions than it
    "workspaces": {"transactions"},
    # a heading is in full text, and its words are counted
    "headings": {"passage_terms", "postings", "transactions"},
}  # fmt: skip
"""Where else an edit of a table may show up first, and why."""

BEYOND = {
    ("migrations", "applied_us"), ("idempotency_keys", "key"), ("idempotency_keys", "delete"),
    ("idempotency_keys", "exchange"), ("workspaces", "pages_pending"), ("node_vectors", "delete"), ("node_vectors", "seq"),
}  # fmt: skip
"""Operational rows (`docs/design/store.md` §1), which are checked for damage alone: when a migration ran, and by which name a
caller knows its own request; to lose one is to forget that a request was answered. And in a store that was migrated,
as this one was, the vector of an older section may be one that `embed` has still to make."""


@dataclass
class Judge:
    """A store to edit copies of, and what an untouched one says."""

    rich: Rich
    folder: Path
    tables: list[Table] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.folder / "edited.db"
        with opened(self.rich.path, WORKSPACES[0], embedder=MODELS[0]):
            pass  # from here on a raw connection of this process writes the checksums of pages too
        with closing(apsw.Connection(str(self.rich.path))) as raw:
            self.tables = tables(raw)
        self.copy()
        self.found = searches(self.path)

    def copy(self) -> Path:
        """Put a fresh copy in the place of the last edited one."""
        for old in self.folder.glob("edited.db*"):
            if old.is_file():
                old.unlink()
        shutil.copy(self.rich.path, self.path)
        objects = Path(f"{self.path}.objects")
        if not objects.exists():
            shutil.copytree(f"{self.rich.path}.objects", objects)
        return self.path

    def judge(self, edit: Edit) -> str | None:
        """Return what is wrong with how an edit was reported; None when it was found and named, or changes nothing."""
        faults: list[Fault] = []
        for workspace in self._order(edit.ws):
            for model in MODELS:
                try:
                    with opened(self.path, workspace, embedder=model) as memory:
                        point = self.rich.points[workspace]
                        answer = memory.verify(checkpoint=point.checkpoint, public_key=point.public_key, deep=True)
                except IntegrityError as error:  # the file was refused, or damaged in a way that nothing reads past
                    table = str(error.fields.get("table", edit.table))
                    answer, faults = (
                        None,
                        [Fault(table=table, key=str(error.fields.get("key", "")), reason=error.message)],
                    )
                except CmcError as error:
                    return f"{edit}: {type(error).__name__}: {error.message}"
                except Exception as error:  # whatever it is, verify must not fall over what it is there for
                    return f"{edit}: {type(error).__name__}: {error}"
                if answer is not None:
                    faults = answer.faults or [Fault(table="notes", key="", reason=note) for note in answer.notes]
                if any(fault.table != "notes" for fault in faults):
                    return None if named(edit, faults) else f"{edit}: only {_short(faults)}"
                if edit.table in ("embedding_models", "vectors") and named(edit, faults):
                    return None
        return None if self._beyond(edit) else f"{edit}: not found"

    def _order(self, ws: int) -> list[str]:
        """Return the workspaces, that of the edit first."""
        mine = [WORKSPACES[ws - 1]] if 0 < ws <= len(WORKSPACES) else []
        return mine + [name for name in WORKSPACES if name not in mine]

    def _beyond(self, edit: Edit) -> bool:
        """Return whether an edit need not be found: it is of what §7 leaves out, or no answer is another for it."""
        if (edit.table, edit.column) in BEYOND or (edit.table, edit.kind) in BEYOND:
            return True
        if edit.table in ("vectors", "node_vectors") and edit.column == "vector":
            return _alike(edit.before, edit.after)
        if edit.table == "workspaces" and edit.kind == "delete":
            return edit.ws == len(WORKSPACES)  # the one made last gets its own number again when it is opened
        if edit.table in ("vectors", "node_vectors") and edit.kind == "exchange":
            return edit.row["seq"] == edit.other["seq"]  # two numbers of one transaction
        if edit.table == "node_vectors" and edit.column == "nid":
            return True  # it names nothing: rows of one transaction in another order
        return edit.table == "headings" and searches(self.path) == self.found


def named(edit: Edit, faults: Iterable[Fault]) -> bool:
    """Return whether faults name the table and the key of an edit, or a neighbour of it."""
    mine = {_written(value) for row in (edit.row, edit.other) for value in row.values()} | {_written(edit.after)}
    for fault in faults:
        if fault.table == edit.table == "node_vectors" and edit.column == "nid":
            return True  # a number names nothing: what stands beside it is out of order with it
        if fault.table in NEIGHBOURS.get(edit.table, ()):
            return True
        if fault.table == edit.table and mine & {fault.key, *re.split(r"[/, ]", fault.key)}:
            return True
    return False


def searches(path: Path) -> object:
    """Return every row of full text."""
    with closing(apsw.Connection(str(path))) as raw:
        return [raw.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() for table in FULL_TEXT]


def _alike(before: Value, after: Value) -> bool:
    """Return whether two vectors are one by the measure of `deep`."""
    if not isinstance(before, bytes) or not isinstance(after, bytes) or len(before) != len(after):
        return False
    one, other = (np.frombuffer(part, np.float32).astype(np.float64) for part in (before, after))
    length = float(np.linalg.norm(other))
    return bool(abs(length - 1) < 1.1e-3 and float(one @ other) >= 0.9989 * length)


def _written(value: Value) -> str:
    return value.hex()[:32] if isinstance(value, bytes) else str(value)


def _short(faults: list[Fault]) -> str:
    return "; ".join(f"{fault.table} {fault.key}: {fault.reason}"[:160] for fault in faults[:3])


def every_edit(judge: Judge, rng: random.Random) -> Iterator[tuple[Table, Column | str]]:
    """Give every table with each of its columns, and with each thing that can be done to a row."""
    for table in judge.tables:
        for what in (*table.columns, *ROW_KINDS):
            yield table, what


def one(judge: Judge, rng: random.Random, table: Table, what: Column | str) -> tuple[Edit | None, str | None]:
    """Make one edit and judge it: gives the edit, None where the schema lets none pass, and what is wrong."""
    tamperer = Tamperer(judge.copy(), rng)
    edit = tamperer.row(table, what) if isinstance(what, str) else tamperer.column(table, what)
    return edit, None if edit is None else judge.judge(edit)


@dataclass
class Tampered(Outcome):
    """What came of it: `edits` by table; `refused` are those that the schema let not pass."""

    edits: dict[str, int] = field(default_factory=dict)
    refused: int = 0


def run(job: Job) -> Tampered:
    """Edit `count` random rows in random ways."""
    result = job.begun(Tampered)
    base = job.folder / "base"
    if not (base / "points.json").exists():
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir()
        rich = build(base / "memory.db")
        points = {name: point.model_dump() for name, point in rich.points.items()}
        (base / "points.json").write_text(json.dumps(points))
    judge = Judge(Rich.kept(base / "memory.db", json.loads((base / "points.json").read_text())), job.folder)
    for number in job.trials(result):
        rng = random.Random(f"{job.seed}/{number}")
        edit, wrong = one(judge, rng, *rng.choice(list(every_edit(judge, rng))))
        if edit is None:
            result.refused += 1
        else:
            result.edits[edit.table] = result.edits.get(edit.table, 0) + 1
        if wrong:
            result.failures.append(f"edit {number}: {wrong}")
    return result


SOAK = Soak("edit random rows of any table behind the store's back; verify must name each", "edits", 1000, run)
