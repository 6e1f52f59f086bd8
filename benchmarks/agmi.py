"""The public suite agmi (PyPI: `agent-memory-integrity`) against this memory: `python -m benchmarks.agmi [--json FILE]`.

Its attacks T1 to T9 are run as they are, by its own runner and with its own controls; what is ours is the adapter below:
how its five records are written, and how a raw connection edits them. The suite wants nothing hashed again, so an edit
of content here is of the payload's bytes *and* hash, which is the harder one for us. Three rows: what `recall` refuses by
itself, what it refuses with `trust="proved"` and a head kept elsewhere, what `verify` reports with that head.

The suite is no dependency: `pip install agent-memory-integrity==0.6.3`. Without it this says so, and ends with 2;
`tests/tamper/test_forged.py` holds forgeries of the same kinds, and more, that need nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast

import apsw

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import CmcError
from cmc_mcp.ids import PayloadHash
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import CheckpointResult

PACKAGE: Final = "agent-memory-integrity"
VERSION: Final = "0.6.3"
KEY: Final = bytes(range(32))
Path_ = Literal["read", "proved", "audit"]
PATHS: Final[tuple[Path_, ...]] = ("read", "proved", "audit")
OWNERS: Final = ("agmi", "other")
_COUNT: Final = 50
_SELECT: Final = (
    "SELECT a.rid, p.pid, p.body, w.body, a.witness FROM atoms a JOIN payloads p ON p.pid = a.content"
    " JOIN payloads w ON w.pid = a.witness WHERE CAST(w.body AS TEXT) LIKE ? ORDER BY a.rid"
)


class Result(Protocol):
    """What the suite answers of one attack."""

    attack: str
    detected: bool
    status: str
    detail: str
    error: str | None


def adapter(path: Path_) -> Any:
    """Return the suite's adapter for one way to notice; the suite must be installed."""
    from agmi.adapters.base import MemoryAdapter, Record  # type: ignore[import-not-found,unused-ignore]

    class Cmc(MemoryAdapter):  # type: ignore[misc,unused-ignore]
        """Records are notes of the writer `agmi`; a second context is another writer's."""

        name = f"cmc, {path}"
        supports_replay = supports_metadata = supports_snapshot = True

        def setup(self) -> None:
            self.folder = Path(tempfile.mkdtemp(prefix="cmc-agmi-"))
            self.file = self.folder / "memory.db"
            self.point: CheckpointResult | None = None
            self.head: str | None = None

        def teardown(self) -> None:
            shutil.rmtree(self.folder, ignore_errors=True)

        def reload(self) -> None:
            """Nothing is open between calls, so that every one reopens the store."""

        # -------------------------------------------------------------- through the product
        def _write(self, owner: str, first: int, n: int) -> None:
            with Memory.open(self.file, principal=owner, embedder=None) as memory:
                for number in range(first, first + n):
                    memory.remember(
                        f"Record {number} of {owner}: the budget is {100 + number}", tags={"n": str(number)}
                    )
                self._keep(memory)

        def _keep(self, memory: Memory) -> None:
            """Keep the head outside the store, as whoever wrote would."""
            self.point = memory.checkpoint(KEY)
            self.head = memory.verify().log_root

        def seed(self, n: int) -> None:
            self._write(OWNERS[0], 0, n)

        def seed_other(self, n: int) -> None:
            self._write(OWNERS[1], 500, n)

        def append_genuine(self) -> None:
            self._write(OWNERS[0], 90, 1)

        def verify(self) -> bool:
            """Ask the product whether all is well, by one of its ways; any error of its own is a no."""
            try:
                with Memory.open(self.file, principal=OWNERS[0], embedder=None) as memory:
                    if path == "audit":
                        assert self.point is not None
                        kept = self.point
                        answer = memory.verify(checkpoint=kept.checkpoint, public_key=kept.public_key)
                        self.verify_detail = answer.faults[0].reason if answer.faults else None
                        return answer.holds
                    proves = {"trust": "proved", "head": self.head} if path == "proved" else {}
                    memory.recall("budget of the record", limit=_COUNT, budget_tokens=20_000, **cast("Any", proves))
            except CmcError as error:
                self.verify_detail = f"{type(error).__name__}: {error}"
                return False
            return True

        # -------------------------------------------------------------- behind its back
        def _raw(self) -> apsw.Connection:
            db = apsw.Connection(str(self.file))
            db.execute("PRAGMA journal_mode=DELETE").fetchall()
            return db

        def _records(self, owner: str) -> list[Record]:
            db = self._raw()
            try:
                rows = db.execute(_SELECT, (f'%"principal":"{owner}"%',)).fetchall()
                rows = rows or db.execute(_SELECT, (f'%"{owner}"%',)).fetchall()
            finally:
                db.close()
            return [
                Record(
                    n, {"id": rid, "pid": pid, "text": cast("bytes", body).decode(), "owner": owner, "witness": witness}
                )
                for n, (rid, pid, body, _, witness) in enumerate(rows)
            ]

        def read_all_raw(self) -> list[Record]:
            return self._records(OWNERS[0])

        def read_other_raw(self) -> list[Record]:
            return self._records(OWNERS[1])

        def payload_of(self, record: Record) -> str:
            return str(record.fields["text"])

        def owner_of(self, record: Record) -> str | None:
            return str(record.fields["owner"])

        def mutate_payload(self, record: Record) -> Record:
            record.fields["text"] = f"{record.fields['text']}, and another thing"
            return record

        def write_raw(self, record: Record) -> None:
            rows = self.read_all_raw()
            if record.seq < len(rows):
                self._point(rows[record.seq].fields["id"], str(record.fields["text"]))
            else:
                self._insert(str(record.fields["text"]), rows[-1].fields["id"])

        def replay_onto(self, victim_seq: int, donor: Record) -> None:
            self._point(self.read_all_raw()[victim_seq].fields["id"], str(donor.fields["text"]))

        def _payload(self, db: apsw.Connection, text: str) -> int:
            """Return the number of a payload with its right hash, made where there is none."""
            body = text.encode()
            hash_: PayloadHash = payload_hash(body)
            found = db.execute("SELECT pid FROM payloads WHERE hash = ? AND ws = 1", (hash_,)).fetchall()
            if found:
                return cast("int", found[0][0])
            db.execute(
                "INSERT INTO payloads SELECT max(pid) + 1, 1, ?, 0, ?, 0, ? FROM payloads WHERE ws = 1",
                (hash_, len(body), body),
            )
            return cast("int", db.execute("SELECT max(pid) FROM payloads WHERE ws = 1").fetchall()[0][0])

        def _point(self, rid: object, text: str) -> None:
            db = self._raw()
            try:
                pid = self._payload(db, text)
                db.execute("UPDATE atoms SET content = ? WHERE rid = ?", (pid, cast("int", rid)))
            finally:
                db.close()

        def _insert(self, text: str, like: object) -> None:
            """Insert a record under an id of its own, with everything else as another has it."""
            db, rid = self._raw(), cast("int", like)
            try:
                pid = self._payload(db, text)
                new = cast("int", db.execute("SELECT max(rid) + 1 FROM records WHERE ws = 1").fetchall()[0][0])
                db.execute(
                    "INSERT INTO records SELECT ?, ws, kind, randomblob(16) FROM records WHERE rid = ?", (new, rid)
                )
                db.execute(
                    "INSERT INTO atoms SELECT ?, ws, modality, media_type, ?, origin, discriminator, witness, seq, traits,"
                    " speaker FROM atoms WHERE rid = ?",
                    (new, pid, rid),
                )
                db.execute(
                    "INSERT INTO pieces SELECT ws, ?, valid_from, tx_from, valid_to, tx_to, facts FROM pieces WHERE rid = ?",
                    (new, rid),
                )
            finally:
                db.close()

        def delete_raw(self, seq: int) -> None:
            rid = self.read_all_raw()[seq].fields["id"]
            db = self._raw()
            try:
                for table in ("pieces", "atoms", "records"):
                    db.execute(f"DELETE FROM {table} WHERE rid = ?", (cast("int", rid),))
            finally:
                db.close()

        # -------------------------------------------------------------- labels, and the whole file
        def read_meta(self, seq: int) -> dict[str, object]:
            db = self._raw()
            try:
                rid = cast("int", self.read_all_raw()[seq].fields["id"])
                return {"facts": db.execute("SELECT facts FROM pieces WHERE rid = ?", (rid,)).fetchall()[0][0]}
            finally:
                db.close()

        def write_meta(self, seq: int, meta: dict[str, object]) -> None:
            """Give a record the tags of another: genuine bytes in another's place."""
            rows = self.read_all_raw()
            other = self.read_meta((seq + 1) % len(rows))["facts"]
            db = self._raw()
            try:
                bindings = (cast("int", other), cast("int", rows[seq].fields["id"]))
                db.execute("UPDATE pieces SET facts = ? WHERE rid = ?", bindings)
            finally:
                db.close()

        def snapshot_store(self) -> object:
            self._raw().close()
            return self._copy_store(self.file)

        def restore_store(self, token: object) -> None:
            self._restore_store(token, self.file)

    return Cmc()


def measured() -> list[Result]:
    """Run every attack of the suite on every path."""
    from agmi.attacks.at_rest import AT_REST_ATTACKS_WITH_SNAPSHOT  # type: ignore[import-not-found,unused-ignore]

    return [attack().run(adapter(path)) for path in PATHS for attack in AT_REST_ATTACKS_WITH_SNAPSHOT]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each path, and with `--json` write what was said of each attack."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agmi", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args(arguments)
    try:
        results = measured()
    except ImportError:
        print(f"the suite is not installed: pip install {PACKAGE}=={VERSION}", file=sys.stderr)
        return 2
    for path, start in zip(PATHS, range(0, len(results), len(results) // len(PATHS)), strict=True):
        row = results[start : start + len(results) // len(PATHS)]
        words = {"safe": "reported" if path == "audit" else "rejected", "VULNERABLE": "accepted"}
        print(
            f"{path:7}", *(f"T{n} {words.get(found.status, found.status)}" for n, found in enumerate(row, 1)), sep=" | "
        )
        for found in row:
            print(f"    {found.attack}: {found.detail or found.error or ''}"[:200])
    if options.json:
        rows = [{"path": PATHS[n * len(PATHS) // len(results)], **vars(found)} for n, found in enumerate(results)]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    proves = [found.status for found in results[len(results) // len(PATHS) :]]
    return 0 if all(status == "safe" for status in proves) else 1


if __name__ == "__main__":
    sys.exit(main())
