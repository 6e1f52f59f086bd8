"""The ledger's rows: transactions, records, intervals and payloads of one workspace, inside one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from cmc_mcp.errors import IntegrityError
from cmc_mcp.ids import END, NO_PAYLOAD, NO_RECORD, START, PayloadHash, Pid, Rid, Seq, Vid, Ws
from cmc_mcp.kernel.identity import ID_BYTES
from cmc_mcp.kernel.intervals import NOTHING, Interval, Intervals, leaf
from cmc_mcp.kernel.kinds import FACTS, Record
from cmc_mcp.kernel.transaction import GENESIS, OPEN, Change
from cmc_mcp.merkle.state import EMPTY_ROOT
from cmc_mcp.model.facts import Facts
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.rows import Head, IntervalRow, PayloadRow, RecordKey, RootSpan, TransactionRow, checked, post_order
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.tables import WORKSPACE_SHIFT

NO_HEAD: Final = Head(START, 0, GENESIS, EMPTY_ROOT, EMPTY_ROOT, 0, 0, 0, NO_RECORD, NO_PAYLOAD, Vid(0))
_CACHED_FACTS_MAX: Final = 50_000
_TX = (
    "seq, recorded_us, principal, verb, arguments_hash, arguments, hash, state_root, control_root, changes, atoms,"
    " passages, tokens, last_rid, last_pid, last_vid"
)
_HEAD = "seq, recorded_us, hash, state_root, control_root, atoms, passages, tokens, last_rid, last_pid, last_vid"


class FactsCache:
    """Decoded facts of one workspace, shared by its views; an erasure starts a new erasure count and drops it."""

    def __init__(self) -> None:
        self._known: tuple[int, dict[Pid, Facts]] = (-1, {})  # one value, so that threads see both halves or neither

    def at(self, erasure_count: int) -> dict[Pid, Facts]:
        """Return the facts cached since the last erasure."""
        known = self._known
        if erasure_count != known[0]:
            known = self._known = (erasure_count, {})
        return known[1]


class LedgerRows:
    """Reads of one workspace. Everything it answers belongs to one committed state."""

    def __init__(self, connection: Connection, ws: Ws, cache: FactsCache, registry: Registry) -> None:
        self._c = connection
        self.ws = ws
        self.registry = registry
        self._cache_of_facts = cache
        self._facts: dict[Pid, Facts] | None = None

    @property
    def connection(self) -> Connection:
        """The connection, inside its transaction, for what goes beyond a workspace."""
        return self._c

    def erasure_count(self) -> int:
        """Return how often something was erased, or let in again: what was cached before is dropped."""
        row = self._c.execute("SELECT epoch FROM workspaces WHERE ws = ?", (self.ws,)).fetchone()
        return cast(int, row[0]) if row else 0

    def unfinished(self) -> bool:
        """Return whether an erase of this workspace may have left bytes to destroy."""
        row = self._c.execute("SELECT pages_pending FROM workspaces WHERE ws = ?", (self.ws,)).fetchone()
        return bool(row and row[0])

    # ------------------------------------------------------------------ ledger
    def head(self) -> Head:
        """Return the last transaction, or the empty state before the first."""
        return head_of(self._c, self.ws)

    def head_at(self, seq: Seq) -> Head:
        """Return the state that transaction `seq` left."""
        if seq == 0:
            return NO_HEAD
        row = self._c.execute(
            f"SELECT {_HEAD} FROM transactions WHERE ws = ? AND seq = ?",
            (self.ws, seq),
        ).fetchone()
        if row is None:
            raise IntegrityError(f"transaction {seq} is missing from the ledger", table="transactions", key=str(seq))
        return Head(*row)

    def heads_at(self, seqs: Iterable[Seq]) -> dict[Seq, Head]:
        """Return the states that some transactions left, in one query."""
        rows = self._c.execute(
            f"SELECT {_HEAD} FROM transactions WHERE ws = ?1 AND seq IN (SELECT value FROM json_each(?2))",
            (self.ws, json.dumps(sorted(seqs))),
        )
        return {row[0]: Head(*row) for row in rows}

    def times_of(self, seqs: Iterable[Seq]) -> dict[Seq, int]:
        """Return when some transactions were recorded (microseconds), in one query."""
        rows = self._c.execute(
            "SELECT seq, recorded_us FROM transactions WHERE ws = ?1 AND seq IN (SELECT value FROM json_each(?2))",
            (self.ws, json.dumps(sorted(set(seqs)))),
        )
        return dict(rows)

    def transaction(self, seq: Seq) -> TransactionRow | None:
        """Return one ledger entry."""
        row = self._c.execute(f"SELECT {_TX} FROM transactions WHERE ws = ? AND seq = ?", (self.ws, seq)).fetchone()
        return TransactionRow(*row) if row else None

    def transactions(self, *, before: Seq = END, after: Seq = START, limit: int = -1) -> Iterator[TransactionRow]:
        """Yield ledger entries with after < seq < before, newest first."""
        for row in self._c.execute(
            f"SELECT {_TX} FROM transactions WHERE ws = ? AND seq < ? AND seq > ? ORDER BY seq DESC LIMIT ?",
            (self.ws, before, after, OPEN if limit < 0 else limit),
        ):
            yield TransactionRow(*row)

    def rollbacks(self, after: Seq = START) -> list[TransactionRow]:
        """Return every rollback and undo, oldest first."""
        rows = self._c.execute(
            f"SELECT {_TX} FROM transactions WHERE ws = ? AND seq > ? AND verb IN ('rollback', 'undo') ORDER BY seq",
            (self.ws, after),
        )
        return [TransactionRow(*row) for row in rows]

    def transactions_by(self, principal: Pid, after: Seq) -> list[Seq]:
        """Return the numbers of a principal's transactions, oldest first; a scan, since selective rollbacks are rare."""
        rows = self._c.execute(
            "SELECT seq FROM transactions WHERE ws = ? AND principal = ? AND seq > ? ORDER BY seq",
            (self.ws, principal, after),
        )
        return [seq for (seq,) in rows]

    def seq_at(self, time_us: int) -> Seq:
        """Return the last transaction at or before a time; 0 for none."""
        row = self._c.execute(
            "SELECT seq FROM transactions WHERE ws = ? AND recorded_us <= ? ORDER BY seq DESC LIMIT 1",
            (self.ws, time_us),
        ).fetchone()
        return Seq(row[0]) if row else START

    def roots(self, low: bytes, high: bytes) -> list[RootSpan]:
        """Return the state roots in a range with the first and the last transaction that left each."""
        return list(
            map(
                RootSpan._make,
                self._c.execute(
                    "SELECT state_root, min(seq), max(seq) FROM transactions WHERE ws = ? AND state_root BETWEEN ? AND ?"
                    " GROUP BY state_root LIMIT 3",
                    (self.ws, low, high),
                ),
            )
        )

    def log_node(self, level: int, position: int) -> bytes:
        """Return one node of the RFC 9162 log."""
        row = self._c.execute(
            "SELECT hash FROM log_nodes WHERE ws = ? AND place = ?", (self.ws, post_order(level, position))
        ).fetchone()
        if row is None:
            raise IntegrityError("a node of the log is missing", table="log_nodes", key=f"{level}/{position}")
        node: bytes = row[0]
        return node

    def state_node(self, tree: int, path: int) -> bytes | None:
        """Return one node of the state tree (0) or the control tree (1)."""
        node = node_base(self.ws, tree) + path
        row = self._c.execute("SELECT body FROM state_nodes WHERE ws = ? AND node = ?", (self.ws, node)).fetchone()
        return row[0] if row else None

    # ------------------------------------------------------------------ records and intervals
    def rid(self, record: Record) -> Rid | None:
        """Return the number of a record, if it was ever seen."""
        row = self._c.execute(
            "SELECT rid FROM records WHERE ws = ? AND kind = ? AND key = ?", (self.ws, record.kind, record.key)
        ).fetchone()
        return Rid(row[0]) if row else None

    def record(self, rid: Rid) -> Record:
        """Return the record of a number."""
        row = self._c.execute("SELECT kind, key FROM records WHERE ws = ? AND rid = ?", (self.ws, rid)).fetchone()
        if row is None:
            raise IntegrityError(f"record {rid} is missing", table="records", key=str(rid))
        return Record(*row)

    def records(self, kind: int) -> list[RecordKey]:
        """Return every record of a kind as (rid, key), in order of first recording."""
        return list(
            map(
                RecordKey._make,
                self._c.execute("SELECT rid, key FROM records WHERE ws = ? AND kind = ? ORDER BY rid", (self.ws, kind)),
            )
        )

    def keys_between(self, kind: int, low: bytes, high: bytes, limit: int = 3) -> list[RecordKey]:
        """Return records of a kind whose key lies in a range, for references by prefix."""
        return list(
            map(
                RecordKey._make,
                self._c.execute(
                    "SELECT rid, key FROM records WHERE ws = ? AND kind = ? AND key BETWEEN ? AND ? ORDER BY key LIMIT ?",
                    (self.ws, kind, low, high, limit),
                ),
            )
        )

    def keys_beginning(self, kind: int, beginnings: Sequence[bytes], upto: Rid) -> list[bytes]:
        """Return the keys of 16 bytes that begin with any of some bytes, of records numbered up to `upto`, in one query."""
        ranges = [start.ljust(ID_BYTES, b"\0") + start.ljust(ID_BYTES, b"\xff") for start in sorted(set(beginnings))]
        rows = self._c.execute(
            "WITH wanted(ends) AS (SELECT unhex(value) FROM json_each(?3))"
            " SELECT r.key FROM wanted CROSS JOIN records r ON r.ws = ?1 AND r.kind = ?2"
            " AND r.key BETWEEN substr(ends, 1, 16) AND substr(ends, 17, 16) AND r.rid <= ?4",
            (self.ws, kind, json.dumps([ends.hex() for ends in ranges]), upto),
        )
        return [cast(bytes, key) for (key,) in rows]

    def intervals(self, rid: Rid, seq: Seq | None = None) -> Intervals:
        """Return the intervals of a record: live ones, or those live after transaction `seq`."""
        if seq is None:
            rows = self._c.execute(
                "SELECT valid_from, valid_to, facts FROM pieces WHERE ws = ? AND rid = ? AND tx_to = ?"
                " ORDER BY valid_from",
                (self.ws, rid, OPEN),
            ).fetchall()
        else:
            rows = self._c.execute(
                "SELECT valid_from, valid_to, facts FROM pieces WHERE ws = ? AND rid = ? AND tx_from <= ?"
                " AND tx_to > ? ORDER BY valid_from",
                (self.ws, rid, seq, seq),
            ).fetchall()
        # read whole before facts are asked for: apsw 3.54.0.0 never frees a cursor that lived while another came and went
        found = tuple([Interval(a, b, self.facts(pid)) for a, b, pid in rows])
        return found or NOTHING

    def intervals_of(self, rids: Sequence[Rid], seq: Seq) -> dict[Rid, Intervals]:
        """Return the intervals of several records that were live after transaction `seq`; records without any are left out."""
        found = self._c.execute(
            "SELECT rid, valid_from, valid_to, facts FROM pieces WHERE ws = ?1 AND rid IN (SELECT value FROM json_each(?2))"
            " AND +tx_from <= ?3 AND +tx_to > ?3 ORDER BY rid, valid_from",  # by record, not by the indexes over time
            (self.ws, json.dumps(rids), seq),
        ).fetchall()
        self._load_facts({row[3] for row in found})
        out: dict[Rid, Intervals] = {}
        for rid, start, end, pid in found:
            out[rid] = (*out.get(rid, ()), Interval(start, end, self.facts(pid)))
        return out

    def _load_facts(self, pids: set[Pid]) -> None:
        """Load bodies of facts that are not at hand, in one query."""
        if self._facts is None:
            self._facts = self._cache_of_facts.at(self.erasure_count())
        missing = [pid for pid in pids if pid not in self._facts]
        if len(missing) > 1 and len(self._facts) + len(missing) < _CACHED_FACTS_MAX:
            for pid, row in self.payload_rows(missing).items():
                if row.body is not None and FACTS.hash(row.body) == row.hash:  # the rest is looked at one by one
                    self._facts[pid] = Facts(row.hash, row.body)

    def interval_rows(self, rid: Rid) -> list[IntervalRow]:
        """Return every interval that a record ever had: (valid_from, valid_to, tx_from, tx_to, facts number), in order."""
        return list(
            map(
                IntervalRow._make,
                self._c.execute(
                    "SELECT valid_from, valid_to, tx_from, tx_to, facts FROM pieces WHERE ws = ? AND rid = ?"
                    " ORDER BY tx_from, valid_from",
                    (self.ws, rid),
                ),
            )
        )

    def changed(self, after: Seq, upto: Seq) -> list[Rid]:
        """Return the numbers of records with an interval opened or closed in (after, upto], in order."""
        rows = self._c.execute(
            "SELECT rid FROM pieces WHERE ws = ?1 AND tx_from > ?2 AND tx_from <= ?3 UNION"
            " SELECT rid FROM pieces WHERE ws = ?1 AND tx_to > ?2 AND tx_to <= ?3 AND tx_to < 4611686018427387903"
            " ORDER BY 1",
            (self.ws, after, upto),
        )
        return [rid for (rid,) in rows]

    def change_seqs(self, rid: Rid) -> list[Seq]:
        """Return the transactions that changed a record, oldest first."""
        seqs = {s for _, _, a, b, _ in self.interval_rows(rid) for s in (a, b) if s < OPEN}
        return sorted(seqs)

    def changes_of(self, seq: Seq) -> list[Change]:
        """Rebuild the changes of a transaction from the intervals."""
        out = []
        for rid in self.changed(Seq(seq - 1), seq):
            record = self.record(rid)
            before, after = self.intervals(rid, Seq(seq - 1)), self.intervals(rid, seq)
            out.append(Change(record, leaf(record, before) if before else b"", leaf(record, after) if after else b""))
        return out

    # ------------------------------------------------------------------ payloads
    def facts(self, pid: Pid) -> Facts:
        """Return a body of facts; its bytes are None when they were erased."""
        if self._facts is None:
            self._facts = self._cache_of_facts.at(self.erasure_count())
        found = self._facts.get(pid)
        if found is None:
            row = self.payload_row(pid)
            if row.body is not None and FACTS.hash(row.body) != row.hash:
                raise IntegrityError(
                    "stored facts do not match their hash; run `cmc verify`", table="payloads", key=str(pid)
                )
            found = Facts(row.hash, row.body)
            if len(self._facts) >= _CACHED_FACTS_MAX:
                self._facts.clear()
            self._facts[pid] = found
        return found

    def payload_row(self, pid: Pid) -> PayloadRow:
        """Return a payload row as it is stored, unchecked."""
        row = self._c.execute(
            "SELECT pid, hash, domain, bytes, object, body FROM payloads WHERE ws = ? AND pid = ?", (self.ws, pid)
        ).fetchone()
        if row is None:
            raise IntegrityError(f"payload {pid} is missing", table="payloads", key=str(pid))
        return PayloadRow(*row)

    def payload_rows(self, pids: Iterable[Pid]) -> dict[Pid, PayloadRow]:
        """Return several payload rows at once."""
        rows = self._c.execute(
            "SELECT pid, hash, domain, bytes, object, body FROM payloads WHERE +ws = ?1"  # by number, not by workspace
            " AND pid IN (SELECT value FROM json_each(?2))",
            (self.ws, json.dumps(list(pids))),
        )
        return {row[0]: PayloadRow(*row) for row in rows}

    def payload(self, pid: Pid) -> bytes | None:
        """Return inline bytes, checked against their hash; None when erased or kept as an object."""
        return checked(self.payload_row(pid), self.registry.domains)

    def pid(self, hash_: PayloadHash) -> Pid | None:
        """Return the number of the payload with a hash."""
        row = self._c.execute("SELECT pid FROM payloads WHERE ws = ? AND hash = ?", (self.ws, hash_)).fetchone()
        return Pid(row[0]) if row else None

    def all_payloads(self) -> Iterator[PayloadRow]:
        """Yield every payload row of the workspace."""
        for row in self._c.execute(
            "SELECT pid, hash, domain, bytes, object, body FROM payloads WHERE ws = ? ORDER BY pid", (self.ws,)
        ):
            yield PayloadRow(*row)


def head_of(connection: Connection, ws: Ws) -> Head:
    """Return the last transaction of a workspace, or the empty state before the first."""
    row = connection.execute(
        f"SELECT {_HEAD} FROM transactions WHERE ws = ? ORDER BY seq DESC LIMIT 1",
        (ws,),
    ).fetchone()
    return Head(*row) if row else NO_HEAD


def node_base(ws: Ws, tree: int) -> int:
    """Return the number that paths of a workspace's tree are added to."""
    return ws << (WORKSPACE_SHIFT - 2) | tree << (WORKSPACE_SHIFT - 3)
