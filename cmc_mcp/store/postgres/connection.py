"""Connections: how the server is reached, with which settings, and what its failures become."""

from __future__ import annotations

import array
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import psycopg
from psycopg import errors as pg
from psycopg.adapt import AdaptersMap, Buffer, Dumper, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Format, TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from cmc_mcp import errors
from cmc_mcp.limits import LOCK_WAIT_MS_MAX
from cmc_mcp.store.postgres.dialect import translated as spoken

SCHEMA: Final = "cmc"
SERVER_MIN: Final = 16
VECTOR_MIN: Final = (0, 8)
CONNECT_S: Final = 10
STATEMENT_MS: Final = 300_000
IDLE_MS: Final = 120_000
_IDLE: Final = "idle_in_transaction_session_timeout"
_PREPARED_MAX: Final = 1_000
_LOST: Final = (psycopg.OperationalError, psycopg.InterfaceError)
_RETRIED: Final = (pg.SerializationFailure, pg.DeadlockDetected)
_OURS: Final = (  # operational errors that a sound connection gives
    pg.QueryCanceled,
    pg.LockNotAvailable,
    pg.DiskFull,
    pg.OutOfMemory,
    pg.ConfigurationLimitExceeded,
    *_RETRIED,
)
_SWAPPED: Final = sys.byteorder == "little"


class Vector(bytes):
    """An fp32 vector in this machine's byte order, to be written as pgvector's type."""


class _VectorDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Vector) -> bytes:
        return struct.pack(">HH", len(obj) // 4, 0) + _turned(obj)


class _VectorLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return _turned(bytes(data)[4:])


def _turned(data: bytes) -> bytes:
    values = array.array("f")
    values.frombytes(data)
    if _SWAPPED:
        values.byteswap()
    return values.tobytes()


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where a database is and how it is opened. The password never shows, neither in a repr nor in a message."""

    conninfo: str
    read_only: bool = False

    @classmethod
    def of(cls, url: str, *, read_only: bool = False) -> Address:
        """Read an address such as `postgresql://user@host:5432/database`.

        Raises:
            InvalidInput: the address is malformed.
        """
        try:
            given = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise errors.InvalidInput.at(
                "store",
                f"is not the address of a database ({_option(error)}); write it as postgresql://user@host:5432/database",
            ) from None  # the driver's message may quote the password
        given.setdefault("connect_timeout", CONNECT_S)
        given.setdefault("application_name", "cmc")
        for name, value in (("keepalives_idle", 30), ("keepalives_interval", 10), ("keepalives_count", 3)):
            given.setdefault(name, value)
        return cls(make_conninfo("", **given), read_only)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __str__(self) -> str:
        given = conninfo_to_dict(self.conninfo)
        place = f"{given.get('host', '') or 'localhost'}:{given.get('port', 5432)}"
        return f"{given.get('dbname') or given.get('user') or 'the default database'} at {place}"


def _option(error: psycopg.Error) -> str:
    found = re.search(r'invalid (?:URI query parameter|connection option) "?([\w-]{1,40})"?', str(error))
    return f"it has no parameter {found[1]}" if found else "it is malformed"


class Connection:
    """A connection, spoken to in the shared dialect."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self.raw = raw
        self.since_s = 0.0  # when it was last given back

    def execute(self, statement: str, bindings: Any = None) -> psycopg.Cursor[Any]:
        """Run one statement."""
        cursor = self.raw.cursor()
        cursor.execute(spoken(statement).encode(), bindings or None, binary=True)
        return cursor

    def alone(self, words: str, bindings: Any, without: str) -> list[Any]:
        """Run one query of PostgreSQL's own, planned for what it is bound to, without a method of the planner."""
        with self.raw.pipeline(), self.raw.cursor() as cursor:
            self.run(f"SET LOCAL {without} = off")
            cursor.execute(words.encode(), bindings, prepare=False, binary=True)
            self.run(f"SET LOCAL {without} = on")
            return cursor.fetchall()

    def executemany(self, statement: str, rows: Iterable[Any]) -> None:
        """Run one statement for each of some rows, in one round trip."""
        with self.raw.cursor() as cursor:
            cursor.executemany(spoken(statement).encode(), rows)

    def send(self, written: Iterable[tuple[str, list[Any]]], last: str = "") -> None:
        """Run statements for their rows, and one of PostgreSQL's own after them, in one round trip."""
        with self.raw.pipeline(), self.raw.cursor() as cursor:
            for statement, rows in written:
                for row in rows:
                    cursor.execute(spoken(statement).encode(), row, prepare=len(rows) > 1 or None)
            if last:
                cursor.execute(last.encode())

    def learn(self, address: Address) -> None:
        """Set it up again, after the extension was made."""
        _configure(self.raw, address)

    def run(self, words: str) -> None:
        """Run one statement or several of PostgreSQL's own, in one round trip."""
        self.raw.execute(words.encode())

    def rollback(self) -> None:
        """Roll back a transaction; close a connection that cannot even do that."""
        try:
            if self.raw.info.transaction_status != TransactionStatus.IDLE:
                self.raw.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    @property
    def sound(self) -> bool:
        """Whether the connection stands, outside a transaction."""
        return not self.raw.closed and self.raw.info.transaction_status == TransactionStatus.IDLE

    def close(self) -> None:
        """Close it, whatever state it is in."""
        with suppress(psycopg.Error):
            self.raw.close()


def connect(address: Address) -> Connection:
    """Open a connection with every setting of the store.

    Raises:
        StoreError: the server cannot be reached or refuses; it lacks pgvector, or is too old.
    """
    try:
        raw = psycopg.connect(address.conninfo, autocommit=True, cursor_factory=psycopg.RawCursor, context=_adapters())
    except psycopg.Error as error:
        raise refused(address, error) from error
    try:
        raw.prepared_max = _PREPARED_MAX
        _configure(raw, address)
    except BaseException:
        raw.close()
        raise
    return Connection(raw)


@contextmanager
def patient(address: Address) -> Iterator[Connection]:
    """Open a connection of its own, for maintenance that takes as long as it takes."""
    connection = connect(address)
    try:
        connection.run("SET statement_timeout = 0; SET lock_timeout = 0")
        yield connection
    finally:
        connection.close()


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(int, Int8Dumper)
    adapters.register_dumper(int, Int8BinaryDumper)  # every number is a bigint, so that each statement has one plan
    return adapters


def _configure(raw: psycopg.Connection[Any], address: Address) -> None:
    if raw.info.server_version // 10_000 < SERVER_MIN:
        raise errors.StoreError(
            f"{address} runs PostgreSQL {raw.info.server_version // 10_000}; this version of CMC needs {SERVER_MIN} or later"
        )
    if raw.info.parameter_status("server_encoding") != "UTF8":
        raise errors.StoreError(
            f"{address} is encoded as {raw.info.parameter_status('server_encoding')}; make a database with ENCODING 'UTF8'"
        )
    found = raw.execute(
        "SELECT n.nspname, current_setting('statement_timeout'), current_setting('synchronous_commit'),"
        " to_regtype(quote_ident(n.nspname) || '.vector')::oid::bigint, current_setting('lock_timeout'),"
        f" current_setting('{_IDLE}') FROM (SELECT 1) AS one"
        " LEFT JOIN pg_extension e ON e.extname = 'vector' LEFT JOIN pg_namespace n ON n.oid = e.extnamespace"
    ).fetchone()
    assert found is not None
    place, patience, durable, oid = cast("tuple[str | None, str, str, int | None]", found[:4])
    waits = (patience, *cast("tuple[str, str]", found[4:]))  # what the address or the user sets counts
    path = f"{SCHEMA}, {_identifier(place)}" if place else SCHEMA
    settings = {"search_path": path, "timezone": "UTC", "jit": "off"}  # no query is long enough to be worth compiling
    if durable == "off":
        settings["synchronous_commit"] = "on"  # an answer says that the change is kept
    bounds = {"statement_timeout": STATEMENT_MS, "lock_timeout": LOCK_WAIT_MS_MAX, _IDLE: IDLE_MS}
    settings |= {name: str(bound) for (name, bound), own in zip(bounds.items(), waits, strict=True) if own == "0"}
    calls = ", ".join(f"set_config(${2 * n + 1}, ${2 * n + 2}, false)" for n in range(len(settings)))
    raw.execute(
        f"SELECT {calls}".encode(),
        [word for pair in settings.items() for word in pair],
    )
    if oid is not None:
        _learn_vector(raw, oid)


def _learn_vector(raw: psycopg.Connection[Any], oid: int) -> None:
    raw.adapters.register_loader(oid, _VectorLoader)
    raw.adapters.register_dumper(Vector, type("_Dumper", (_VectorDumper,), {"oid": oid}))


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def is_lost(error: BaseException) -> bool:
    """Return whether the connection is gone, rather than a statement refused."""
    return isinstance(error, _LOST) and not isinstance(error, _OURS)


def may_try_again(error: BaseException) -> bool:
    """Return whether the same transaction may well pass when it is run again."""
    return isinstance(error, _RETRIED) or is_lost(error)


def refused(address: Address, error: psycopg.Error) -> errors.StoreError:
    """Return the error for a failed connection; the message says what to do."""
    said = first_line(error)
    if "does not exist" in said and "database" in said:
        return errors.StoreError(f"{said} at {address}: create it with `createdb`, or give the name of another")
    if "password" in said or "authentication" in said or "pg_hba" in said or "role" in said:
        return errors.StoreError(
            f"{address} refuses to let us in ({said}); check the user, the password and pg_hba.conf"
        )
    return errors.StoreError(
        f"{address} cannot be reached ({said}); nothing was changed. Check the address, and that the server runs"
    )


def first_line(error: BaseException) -> str:
    """Return the server's message on one line."""
    diagnostic = getattr(error, "diag", None)
    said = (diagnostic.message_primary if diagnostic is not None else None) or str(error)
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Turn the driver's failures into ours; each message says what to do."""
    try:
        yield
    except psycopg.Error as error:
        raise _translation(address, error) from error


_SAID: Final[tuple[tuple[type[psycopg.Error], type[errors.CmcError], str], ...]] = (
    (pg.LockNotAvailable, errors.Busy, "another server writes to this workspace; nothing was changed, try again"),
    (
        pg.QueryCanceled,
        errors.StoreError,
        "the database gave up what took too long, or was told to stop; nothing was changed, try again",
    ),
    (pg.SerializationFailure, errors.Busy, "others changed the same rows; nothing was changed, try again"),
    (pg.DeadlockDetected, errors.Busy, "others held what this needed; nothing was changed, try again"),
    (
        pg.DiskFull,
        errors.StoreError,
        "the server's disk is full; nothing was changed. Free some space and try again",
    ),
    (
        pg.InsufficientPrivilege,
        errors.StoreError,
        f"the database user may not do this; grant it the rights on schema {SCHEMA}",
    ),
    (
        pg.ReadOnlySqlTransaction,
        errors.StoreError,
        "the server takes no writes (a standby, or set to read only); connect to the primary",
    ),
    (pg.DataCorrupted, errors.IntegrityError, "the database is damaged; restore it from a backup"),
    (pg.IndexCorrupted, errors.IntegrityError, "an index is damaged; run REINDEX DATABASE"),
)
_MISSING: Final = re.compile(r"relation \"?(?:\w+\.)?(\w+)")


def _translation(address: Address, error: psycopg.Error) -> errors.CmcError:
    said = first_line(error)
    for kind, ours, message in _SAID:
        if isinstance(error, kind):
            return ours(message, detail=said)
    if is_lost(error):
        return errors.StoreError(f"the connection to {address} was lost; nothing was changed, try again", detail=said)
    found = _MISSING.search(said) if isinstance(error, pg.UndefinedTable) else None
    missing = "" if found is None else f"table {found[1]}"
    return errors.StoreError.refused(said, "a backup puts it right", missing)
