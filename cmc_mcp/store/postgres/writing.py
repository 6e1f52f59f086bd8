"""A write transaction that outlives its connection: what the server takes back is done again, as long as nobody came between.

The workspace's lock is the server's own (`pg_advisory_xact_lock`), held until the transaction ends. While a unit works, the
statements that write are kept; when the server takes the transaction back (a deadlock, a restart), the lock is taken again,
the head compared with the one the unit began at, and the statements are run again. An acknowledged write is never lost and
never doubled: after a COMMIT without an answer the ledger is asked, under the lock, whether it has the transaction's hash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors as pg

from cmc_mcp import errors
from cmc_mcp.ids import Ws
from cmc_mcp.store.postgres.connection import Connection, first_line, is_lost, may_try_again
from cmc_mcp.store.postgres.pool import Pool
from cmc_mcp.store.rows import Head
from cmc_mcp.store.sql.connection import Row, Rows
from cmc_mcp.store.sql.ledger import head_of

T = TypeVar("T")
TRIES_MAX: Final = 5
PAUSES_S: Final = (0.05, 0.2, 0.8, 2.0)
LOCK_CLASS: Final = 0x434D4331  # "CMC1": the application's number among those that share the server's locks


class _Nothing:
    """What a statement that only writes finds."""

    def __iter__(self) -> Iterator[Row]:
        return iter(())

    def fetchone(self) -> Row | None:
        return None

    def fetchall(self) -> list[Row]:
        return []


NOTHING: Final = _Nothing()
Written = tuple[str, list[Any]]
"""A statement that writes, and the rows it is run for."""


class Writing:
    """The connection of one unit of work. What it writes is sent together: a unit takes few round trips."""

    def __init__(self, pool: Pool, ws: Ws, pause: Callable[[float], None] = time.sleep) -> None:
        self._pool, self._ws, self._pause = pool, ws, pause
        self._done: list[Written] = []
        self._waits: list[Written] = []
        self._before: Head | None = None
        self._c: Connection | None = None
        self._retried(lambda _: None)

    # ------------------------------------------------------------------ what a unit does
    def execute(self, statement: str, bindings: Any = None) -> Rows:
        """Run one statement. One that only writes waits for the next that asks, or for the end."""
        if not statement.startswith("SELECT"):
            self._waits.append((statement, [bindings]))
            return NOTHING
        return self._retried(lambda connection: connection.execute(statement, bindings))

    def executemany(self, statement: str, rows: Iterable[Any]) -> None:
        """Run one statement for each of some rows; it waits as `execute` says."""
        self._waits.append((statement, list(rows)))

    def begun_at(self, head: Head) -> None:
        """Record the head at which the unit began: no other may follow before the commit."""
        self._before = head

    # ------------------------------------------------------------------ how it ends
    def commit(self, after: Head | None) -> None:
        """Commit. `after` is the head that the unit leaves; None when it wrote nothing.

        Raises:
            OutcomeUnknown: the server did not come back to say whether the change was kept; psycopg.Error: it was not.
        """
        for attempt in range(TRIES_MAX):
            sent = False
            try:
                connection = self._connection()
                sent = True
                connection.send(self._taken(), "COMMIT")
                self._leave()
                return
            except psycopg.Error as error:
                self._drop()
                if after is None and is_lost(error):
                    return
                if not may_try_again(error):
                    raise
                if self._was_kept(after, error, attempt, sent=sent and is_lost(error)):
                    self._drop()
                    return
        raise errors.Busy("others held what this needed, every time it was tried; nothing was changed, try again")

    def abandon(self) -> None:
        """Roll back and discard the transaction."""
        self._drop()

    def _was_kept(self, after: Head | None, failure: psycopg.Error, attempt: int, *, sent: bool) -> bool:
        """Find out, under the lock, whether a COMMIT without an answer was done; if not, make ready to send it again."""
        try:
            connection = self._begun(attempt)
            if after is not None and sent:
                row = connection.execute(
                    "SELECT hash FROM transactions WHERE ws = ? AND seq = ?", (self._ws, after.seq)
                ).fetchone()
                if row is not None and row[0] == after.hash:
                    return True
            self._replay(connection)
        except (errors.StoreError, psycopg.Error) as error:
            self._drop()
            if not sent or isinstance(error, errors.Busy):
                raise
            raise errors.OutcomeUnknown(
                f"the connection was lost while the change was being committed ({first_line(failure)}), so it is not known "
                "whether it was kept; call again with the same idempotency key, or look with `history`",
                transaction=0 if after is None else after.seq,
            ) from error
        return False

    # ------------------------------------------------------------------ within
    def _retried(self, action: Callable[[Connection], T]) -> T:
        attempt = 0
        while True:
            try:
                connection = self._connection(attempt)
                if self._waits:
                    connection.send(self._taken())
                return action(connection)
            except psycopg.Error as error:
                self._drop()
                attempt += 1
                if not may_try_again(error) or attempt >= TRIES_MAX:
                    raise

    def _connection(self, attempt: int = 0) -> Connection:
        """Return the connection, inside the transaction with all that was done so far."""
        if self._c is None:
            self._replay(self._begun(attempt))
        assert self._c is not None
        return self._c

    def _begun(self, attempt: int) -> Connection:
        """Acquire a connection and the lock; a server that restarts is waited for, within a bound."""
        while True:
            if attempt:
                self._pause(PAUSES_S[min(attempt, len(PAUSES_S)) - 1])
            try:
                self._c = connection = self._pool.take()
                connection.run(
                    f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({LOCK_CLASS}, {int(self._ws)})"
                )
                return connection
            except (psycopg.Error, errors.StoreError) as error:
                self._drop()
                lost = is_lost(error) if isinstance(error, psycopg.Error) else not isinstance(error, errors.Busy)
                attempt += 1
                if isinstance(error, pg.LockNotAvailable) or not lost or attempt >= TRIES_MAX or self._pool.closed:
                    raise
                self._pool.forget()

    def _replay(self, connection: Connection) -> None:
        if self._before is None:
            return
        if head_of(connection, self._ws) != self._before:
            raise errors.Busy("another server wrote to this workspace while the connection was lost; try again")
        if self._done:
            connection.send(self._done)

    def _taken(self) -> list[Written]:
        """Return the waiting work and mark it as done; a transaction that begins again repeats the work."""
        waits, self._waits = self._waits, []
        self._done += waits
        return waits

    def _leave(self) -> None:
        connection, self._c = self._c, None
        if connection is not None:
            self._pool.give(connection)

    def _drop(self) -> None:
        if self._c is not None:
            self._c.rollback()
        self._leave()
