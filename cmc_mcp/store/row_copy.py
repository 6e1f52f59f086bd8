"""Moving a workspace between stores: its rows as they are, under the numbers of another workspace.

Both backends keep the same tables (`store/sql/schema.py`), so a row is copied and not made again: ids, hashes, roots and
order stay. What differs is the workspace's number, which surrogate keys carry in their high bits. Rows go table by table,
each in the order of its key, many in a transaction: where a copy stopped is the last key of each table. Until it is complete
the workspace stands under a name that nobody can open, which holds the hash of the state that is being copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cmc_mcp.errors import Conflict, IntegrityError
from cmc_mcp.ids import NO_WORKSPACE, START, ModelNumber, Ws
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.sql.connection import Connection, Row
from cmc_mcp.store.sql.ledger import NO_HEAD
from cmc_mcp.store.tables import Table, in_order_of_moving

if TYPE_CHECKING:
    from cmc_mcp.store.ports import Objects
    from cmc_mcp.store.postgres.store import PostgresStore
    from cmc_mcp.store.rows import Head
    from cmc_mcp.store.sqlite.store import SqliteStore

    AnyStore = SqliteStore | PostgresStore

_MARK: Final = "~"  # no name of a workspace begins so
_NUMBERS: Final = ("rid", "pid", "vid", "node")  # numbers of the workspace; 0 is none
_ROWS: Final = 20_000  # in one transaction, about
_BYTES: Final = 32 * 1024 * 1024


def place_for(store: AnyStore, name: str, head: Head, *, create: bool) -> tuple[Ws, str]:
    """Return the number of the workspace that a copy of a state goes to (0: none yet), and its name until it is complete.

    An empty workspace of that name is taken; a copy of the same state, whole or interrupted, is continued.

    Raises:
        Conflict: the workspace has something in it, or an interrupted copy of another state.
    """
    marked = f"{_MARK}{name}@{head.seq}:{head.hash.hex()}"
    for number, found in store.workspaces():
        if found == marked:
            return number, marked
        if found.startswith(f"{_MARK}{name}@"):
            raise Conflict(
                f"the target has an incomplete copy of another state of {name} (transaction "
                f"{found.partition('@')[2].partition(':')[0]}); nothing was written. Give a new target, or remove this one "
                "and start again"
            )
        if found == name and (there := store.head(number)) != NO_HEAD:
            if (there.seq, there.hash) == (head.seq, head.hash):
                return number, name  # an earlier call completed it
            raise Conflict(
                f"the target has a workspace {name} with {there.seq:,} transactions in it, and a copy goes only into an empty "
                "one; nothing was written. Give another target"
            )
    return store.workspace(name, create=create), marked


class Mover:
    """Copies the rows of one workspace into another store, from one read transaction."""

    def __init__(self, source: AnyStore, kept: Objects, ws: Ws, target: AnyStore, objects: Objects) -> None:
        self._source, self._kept, self._from = source, kept, ws
        self._target, self._objects = target, objects
        self._to, self._marked = NO_WORKSPACE, ""
        self.upto = START
        self._models: dict[ModelNumber, ModelNumber] = {}
        self._tables = in_order_of_moving(source.registry.tables)
        self._done = self._total = 0

    def copy(self, name: str, progress: Progress | None = None) -> Ws:
        """Copy everything that is not there yet; return the number of the target's workspace.

        Raises:
            Conflict: the target holds another state; see `place_for`.
            StoreError: a store refused; the copied rows are kept, and the next call continues from there.
        """
        report = progress or (lambda done, total: None)
        with self._source.reader(self._from) as view:
            head, connection = view.head(), view.connection
            self.upto = head.seq
            self._to, self._marked = place_for(self._target, name, head, create=True)
            with _transaction(self._target) as target:
                target.execute(
                    "UPDATE workspaces SET name = ?, epoch = ? WHERE ws = ?",
                    (self._marked, view.erasure_count(), self._to),
                )
            self._total = sum(_count(connection, table.name, self._from) for table in self._tables)
            with self._target.reader(self._to) as seen:
                self._done = sum(_count(seen.connection, table.name, self._to) for table in self._tables)
            self._copy_models(connection)
            for table in self._tables:
                self._table(connection, table, report)
        return self._to

    def finish(self, name: str) -> None:
        """Name a complete copy.

        Raises:
            Conflict: somebody made a workspace of that name meanwhile.
        """
        if self._marked == name:
            return
        with _transaction(self._target) as target:
            if target.execute("SELECT 1 FROM workspaces WHERE name = ?", (name,)).fetchone():
                raise Conflict(
                    f"somebody made a workspace {name} in the target meanwhile, so the copy was not given that name; give "
                    "another target"
                )
            target.execute("UPDATE workspaces SET name = ? WHERE ws = ?", (name, self._to))
        if self._target.backend == "postgres":  # whose planner is blind to what came in at once until it has looked
            with self._target.exclusive() as target:
                target.execute("ANALYZE")

    def _copy_models(self, source: Connection) -> None:
        """Add the embedding models, in order, and note the number that each has in the target."""
        names = "name, digest, precision, dimension"
        mine = list(
            source.execute(f"SELECT model, {names} FROM embedding_models WHERE ws = ? ORDER BY model", (self._from,))
        )
        with _transaction(self._target) as target:
            asked = f"SELECT {names}, model FROM embedding_models WHERE ws = ?"
            there = {row[:4]: row[4] for row in map(tuple, target.execute(asked, (self._to,)))}
            for _, *model in mine:
                if tuple(model) not in there:
                    target.execute(
                        f"INSERT INTO embedding_models(ws, {names}) VALUES(?, ?, ?, ?, ?)", (self._to, *model)
                    )
            there = {row[:4]: row[4] for row in map(tuple, target.execute(asked, (self._to,)))}
        self._models = {number: there[tuple(model)] for number, *model in mine}

    # ------------------------------------------------------------------ one table
    def _table(self, source: Connection, table: Table, report: Progress) -> None:
        with self._target.reader(self._to) as view:
            columns = _columns(self._source.backend, source, table.name)
            if columns != _columns(self._target.backend, view.connection, table.name):
                raise IntegrityError(f"the two stores keep {table.name} otherwise; open both once with this version")
            after = self._last(view.connection, table)
        columns = [name for name in columns if name != table.own]
        places = [columns.index(name) for name in table.key]
        values = ", ".join("?" * len(columns))
        insert = f"INSERT INTO {table.name}({', '.join(columns)}) VALUES({values})"
        translate = self._translation(table, columns)
        ended = False
        while not ended:
            rows = size = 0
            with _transaction(self._target) as target:
                while not ended and rows < _ROWS and size < _BYTES:
                    page = _page(source, table, columns, self._from, after)
                    ended = len(page) < table.page
                    if not page:
                        break
                    after = tuple(page[-1][place] for place in places)
                    if table.beside == "objects":
                        self._copy_objects(page, columns)
                    target.executemany(insert, translate(page))
                    rows += len(page)
                    size += sum(len(value) for row in page for value in row if isinstance(value, bytes))
            self._done += rows
            report(self._done, self._total)

    def _last(self, target: Connection, table: Table) -> Row | None:
        """Return the last key that was copied, as the source has it."""
        order = ", ".join(f"{key} DESC" for key in table.key)
        row = target.execute(
            f"SELECT {', '.join(table.key)} FROM {table.name} WHERE ws = ? ORDER BY {order} LIMIT 1", (self._to,)
        ).fetchone()
        if row is None:
            return None
        back = {theirs: ours for ours, theirs in self._models.items()}
        models = table.numbers("model")
        return tuple(
            back[value] if name in models else value - self._by(table, name, value)
            if isinstance(value, int) else value
            for name, value in zip(table.key, row, strict=True)
        )  # fmt: skip

    # ------------------------------------------------------------------ rows
    def _by(self, table: Table, column: str, value: int) -> int:
        """Return the offset between a number in the target and in the source."""
        if column not in table.numbers(*_NUMBERS) or not value >> table.shift:  # 0 is none
            return 0
        return (self._to - self._from) << table.shift

    def _translation(self, table: Table, columns: Sequence[str]) -> Callable[[list[Row]], list[Row]]:
        shift, by = table.shift, (self._to - self._from) << table.shift
        workspace = columns.index("ws")
        numbers = [columns.index(name) for name in sorted(table.numbers(*_NUMBERS))]
        changes: dict[str, Callable[[Any], Any]] = {
            "model": self._models.__getitem__,
            "vids": lambda vids: _shifted(vids, by),
        }
        if self._target.backend != "sqlite":
            from cmc_mcp.store.postgres.connection import Vector

            changes["vector"] = Vector
        others = [(columns.index(c.name), changes[c.number]) for c in table.columns if c.number in changes]

        def translate(page: list[Row]) -> list[Row]:
            out = []
            for given in page:
                row = list(given)
                row[workspace] = self._to
                for place in numbers:
                    if row[place] >> shift:  # 0 is none
                        row[place] += by
                for place, change in others:
                    row[place] = change(row[place])
                out.append(tuple(row))
            return out

        return translate

    def _copy_objects(self, page: list[Row], columns: Sequence[str]) -> None:
        object_, hash_ = columns.index("object"), columns.index("hash")
        for row in page:
            if row[object_]:
                self._objects.put(self._to, row[hash_], self._kept.get(self._from, row[hash_]))


def _count(connection: Connection, table: str, ws: Ws) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table} WHERE ws = ?", (ws,)).fetchone()
    return int(row[0]) if row else 0


def _page(source: Connection, table: Table, columns: Sequence[str], ws: Ws, after: Row | None) -> list[Row]:
    """Return the next rows of a table in the order of its key."""
    key = ", ".join(table.key)
    condition, bound = "ws = ?", list[object]([ws])
    if key in table.numbers(*_NUMBERS):  # one range, which SQLite is to look up
        low = (ws << table.shift) - 1 if after is None else after[0]
        condition, bound = f"+ws = ? AND {key} > ? AND {key} < ?", [ws, low, (ws + 1) << table.shift]
    elif after is not None:
        marks = ", ".join("?" * len(after))
        condition, bound = f"ws = ? AND ({key}) > ({marks})", [ws, *after]
    return list(
        source.execute(
            f"SELECT {', '.join(columns)} FROM {table.name} WHERE {condition} ORDER BY {key} LIMIT {table.page}", bound
        )
    )


def _columns(backend: str, connection: Connection, table: str) -> list[str]:
    asked = (
        "SELECT name FROM pragma_table_info(?)"
        if backend == "sqlite"
        else "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(?) AND attnum > 0 AND NOT attisdropped"
    )
    return sorted(str(name) for (name,) in connection.execute(asked, (table,)))


def _shifted(vids: bytes, by: int) -> bytes:
    import numpy as np

    return (np.frombuffer(vids, np.int64) + by).tobytes()


@contextmanager
def _transaction(store: Any) -> Iterator[Connection]:
    """Run the block in a transaction of the target: its rows are committed together, or not at all."""
    with store.exclusive() as connection:
        connection.execute("BEGIN IMMEDIATE" if store.backend == "sqlite" else "BEGIN")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if store.backend == "sqlite" and connection.in_transaction:
                connection.execute("ROLLBACK")  # the other's pool does it
            raise
