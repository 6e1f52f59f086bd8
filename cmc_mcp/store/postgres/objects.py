"""Objects in a table of the same database: what several servers share without another service, and one dump copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import IntegrityError, StoreError
from cmc_mcp.ids import PayloadHash, Ws
from cmc_mcp.store.postgres.store import PostgresStore


class TableObjects:
    """Objects as rows. Each is written by itself before the change that names it, so an orphan is harmless."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def put(self, workspace: Ws, hash_: PayloadHash, data: bytes) -> None:
        """Write an object durably; one that is there already stays.

        Raises:
            StoreError: the object cannot be written.
        """
        with self._store.exclusive() as connection:
            connection.execute("INSERT INTO objects VALUES(?, ?, ?) ON CONFLICT DO NOTHING", (workspace, hash_, data))

    def get(self, workspace: Ws, hash_: PayloadHash) -> bytes:
        """Read an object, checked against its hash.

        Raises:
            IntegrityError: the object is missing or damaged.
        """
        with self._store.reader(workspace) as view:
            row = view.connection.execute(
                "SELECT body FROM objects WHERE ws = ? AND hash = ?", (workspace, hash_)
            ).fetchone()
        if row is None:
            raise IntegrityError("an object is missing; bring it back from a backup", table="objects", key=hash_.hex())
        data = bytes(row[0])
        if payload_hash(data) != hash_:
            raise IntegrityError(
                "an object does not match its hash; bring it back from a backup", table="objects", key=hash_.hex()
            )
        return data

    def delete(self, workspace: Ws, hash_: PayloadHash) -> None:
        """Remove an object durably, if it is there."""
        with self._store.exclusive() as connection:
            connection.execute("DELETE FROM objects WHERE ws = ? AND hash = ?", (workspace, hash_))

    def copy_to(self, folder: Path) -> None:
        """Refuse: the database's own tools copy them with it."""
        raise StoreError(
            f"the objects are part of the database, and `pg_dump` copies them; nothing was written to {folder}"
        )

    def hashes(self, workspace: Ws) -> Iterator[PayloadHash]:
        """Return the hash of every object of a workspace, sorted."""
        with self._store.reader(workspace) as view:
            rows = view.connection.execute(
                "SELECT hash FROM objects WHERE ws = ? ORDER BY hash", (workspace,)
            ).fetchall()
        return iter([PayloadHash(bytes(hash_)) for (hash_,) in rows])
