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
from cmc_mcp.memory import Memory

PACKAGE: Final = "agent-memory-integrity"
VERSION: Final = "0.6.3"
KEY: Final = bytes(range(32))
Path_ = Literal["read", "proved", "audit"]
PATHS: Final[tuple[Path_, ...]] = ("read", "proved", "audit")
OWNERS: Final = ("agmi", "other")
_COUNT: Final = 50
_SELECT: Final = (
    "SELECT a.rid, p.body FROM atoms a JOIN payloads p ON p.pid = a.content JOIN payloads w ON w.pid = a.witness"
    " WHERE CAST(w.body AS TEXT) LIKE :writer ORDER BY a.rid"
)
_PAYLOAD: Final = (
    "INSERT INTO payloads SELECT max(pid) + 1, 1, :hash, 0, :size, 0, :body FROM payloads WHERE ws = 1"
    " HAVING NOT EXISTS (SELECT 1 FROM payloads WHERE ws = 1 AND hash = :hash)"
)
_CONTENT: Final = "(SELECT pid FROM payloads WHERE ws = 1 AND hash = :hash)"
_POINT: Final = (f"UPDATE atoms SET content = {_CONTENT} WHERE rid = :rid",)
_INSERT: Final = (
    "INSERT INTO records SELECT (SELECT max(rid) + 1 FROM records WHERE ws = 1), ws, kind, randomblob(16) FROM records"
    " WHERE rid = :rid",
    f"INSERT INTO atoms SELECT (SELECT max(rid) FROM records WHERE ws = 1), ws, modality, media_type, {_CONTENT}, origin,"
    " discriminator, witness, seq, traits, speaker FROM atoms WHERE rid = :rid",
    "INSERT INTO pieces SELECT ws, (SELECT max(rid) FROM records WHERE ws = 1), valid_from, tx_from, valid_to, tx_to, facts"
    " FROM pieces WHERE rid = :rid",
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
    from agmi.adapters.base import MemoryAdapter  # type: ignore[import-not-found,unused-ignore]

    class Cmc(Adapter, MemoryAdapter):  # type: ignore[misc,unused-ignore]
        def snapshot_store(self) -> object:
            self._raw([])  # the journal goes into the file
            return self._copy_store(self.file)

        def restore_store(self, token: object) -> None:
            self._restore_store(token, self.file)

    return Cmc(path)


class Adapter:
    """What the suite asks of a memory. Records are notes of the writer `agmi`; a second context is another writer's."""

    supports_replay = supports_metadata = supports_snapshot = True

    def __init__(self, path: Path_) -> None:
        self.name, self._path = f"cmc, {path}", path
        self.verify_detail: str | None = None

    def setup(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cmc-agmi-"))
        self.file = self.folder / "memory.db"

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def reload(self) -> None:
        """Nothing is open between calls, so that every one reopens the store."""

    # ------------------------------------------------------------------ through the product
    def _open(self, owner: str = OWNERS[0]) -> Memory:
        return Memory.open(self.file, principal=owner, embedder=None)

    def _write(self, owner: str, first: int, n: int) -> None:
        """Remember some notes, and keep the head outside the store, as whoever wrote would."""
        with self._open(owner) as memory:
            for number in range(first, first + n):
                memory.remember(f"Record {number} of {owner}: the budget is {100 + number}", tags={"n": str(number)})
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
            with self._open() as memory:
                if self._path == "audit":
                    answer = memory.verify(checkpoint=self.point.checkpoint, public_key=self.point.public_key)
                    self.verify_detail = answer.faults[0].reason if answer.faults else None
                    return answer.holds
                proves = {"trust": "proved", "head": self.head} if self._path == "proved" else {}
                memory.recall("budget of the record", limit=_COUNT, budget_tokens=20_000, **cast("Any", proves))
        except CmcError as error:
            self.verify_detail = f"{type(error).__name__}: {error}"
            return False
        return True

    # ------------------------------------------------------------------ behind its back
    def _raw(self, statements: Sequence[tuple[str, dict[str, Any]]]) -> list[tuple[Any, ...]]:
        """Run statements on the file and return the rows of the last."""
        db, rows = apsw.Connection(str(self.file)), list[tuple[Any, ...]]()
        try:
            db.execute("PRAGMA journal_mode=DELETE").fetchall()
            for statement, bindings in statements:
                rows = db.execute(statement, bindings).fetchall()
        finally:
            db.close()
        return rows

    def _records(self, owner: str) -> list[Any]:
        from agmi.adapters.base import Record  # type: ignore[import-not-found,unused-ignore]

        rows = self._raw([(_SELECT, {"writer": f'%"{owner}"%'})])
        return [Record(n, {"id": rid, "text": body.decode(), "owner": owner}) for n, (rid, body) in enumerate(rows)]

    def read_all_raw(self) -> list[Any]:
        return self._records(OWNERS[0])

    def read_other_raw(self) -> list[Any]:
        return self._records(OWNERS[1])

    def _rid(self, seq: int) -> int:
        return cast("int", self.read_all_raw()[seq].fields["id"])

    def payload_of(self, record: Any) -> str:
        return str(record.fields["text"])

    def owner_of(self, record: Any) -> str:
        return str(record.fields["owner"])

    def mutate_payload(self, record: Any) -> Any:
        record.fields["text"] += ", and another thing"
        return record

    def write_raw(self, record: Any) -> None:
        """Write other content under a record; one that is not there is inserted, with all else as the last one has it."""
        rows = self.read_all_raw()
        like = rows[min(record.seq, len(rows) - 1)].fields["id"]
        self._content(like, self.payload_of(record), _POINT if record.seq < len(rows) else _INSERT)

    def replay_onto(self, victim_seq: int, donor: Any) -> None:
        self._content(self._rid(victim_seq), self.payload_of(donor), _POINT)

    def _content(self, rid: int, text: str, statements: Sequence[str]) -> None:
        """Make the payload of a text under its right hash where there is none, and run statements with it."""
        body = text.encode()
        bindings = {"rid": rid, "body": body, "size": len(body), "hash": payload_hash(body)}
        self._raw([(statement, bindings) for statement in (_PAYLOAD, *statements)])

    def delete_raw(self, seq: int) -> None:
        rid = {"rid": self._rid(seq)}
        self._raw([(f"DELETE FROM {table} WHERE rid = :rid", rid) for table in ("pieces", "atoms", "records")])

    def read_meta(self, seq: int) -> dict[str, object]:
        rows = self._raw([("SELECT facts FROM pieces WHERE rid = :rid", {"rid": self._rid(seq)})])
        return {"facts": rows[0][0]}

    def write_meta(self, seq: int, meta: dict[str, object]) -> None:
        """Give a record the tags of another: genuine bytes in another's place."""
        other = self.read_meta((seq + 1) % len(self.read_all_raw()))
        self._raw([("UPDATE pieces SET facts = :facts WHERE rid = :rid", other | {"rid": self._rid(seq)})])


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
    each = len(results) // len(PATHS)
    rows = {path: results[n * each : (n + 1) * each] for n, path in enumerate(PATHS)}
    for path, row in rows.items():
        words = {"safe": "reported" if path == "audit" else "rejected", "VULNERABLE": "accepted"}
        print(
            " | ".join(
                [f"{path:7}", *(f"T{n} {words.get(found.status, found.status)}" for n, found in enumerate(row, 1))]
            )
        )
        for found in row:
            print(f"    {found.attack}: {found.detail or found.error or ''}"[:200])
    if options.json:
        said = [{"path": path, **vars(found)} for path, row in rows.items() for found in row]
        options.json.write_text(json.dumps(said, indent=1) + "\n")
    return 0 if all(found.status == "safe" for found in (*rows["proved"], *rows["audit"])) else 1


if __name__ == "__main__":
    sys.exit(main())
