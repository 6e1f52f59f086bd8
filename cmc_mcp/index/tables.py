"""Tables: the metadata of a collection's entries in memory, and which of them pass a filter."""

from __future__ import annotations

import json
import threading
import zlib
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from cmc_mcp.canon import facts_hash
from cmc_mcp.errors import IntegrityError
from cmc_mcp.ids import START, Pid, Seq
from cmc_mcp.model.entries import metadata_of
from cmc_mcp.model.filters import Where, compiled, signature
from cmc_mcp.store.ports import ReadView

_KNOWN_MAX: Final = 200_000  # bodies of facts whose metadata stay decoded, of one collection
_KNOWN_BYTES_MAX: Final = 65_536
_FILTERS_MAX: Final = 32


@dataclass(slots=True)
class _Table:
    """The metadata of every body of facts that entries of one collection ever had. Facts never change: it only grows."""

    seq: Seq = START
    facts: list[Pid] = field(default_factory=list)
    gone: set[Pid] = field(default_factory=set)  # erased
    known: dict[Pid, Mapping[str, JsonValue] | bytes] = field(default_factory=dict)  # past a bound, compressed
    passing: OrderedDict[Hashable, tuple[int, list[Pid]]] = field(default_factory=OrderedDict)


class Tables:
    """The rows that filters are evaluated over, by collection: a cache of the ledger. An erasure starts a new one.

    A filter is applied once to each body of facts; the selection then decides which of them hold at a read point.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._tables: dict[Pid, _Table] = {}

    def passing(self, view: ReadView, origin: Pid, where: Where) -> tuple[Pid, ...]:
        """Return the bodies of facts that pass a filter, of those that entries of a collection ever had."""
        with self._guard:
            table = self._table(view, origin)
            key = signature(where)
            done, found = table.passing.pop(key, (0, []))
            if done < len(table.facts):
                test = compiled(where)
                found = [*found, *(pid for pid in table.facts[done:] if test(_metadata(table, pid)))]
            table.passing[key] = (len(table.facts), found)
            while len(table.passing) > _FILTERS_MAX:
                table.passing.popitem(last=False)
            return tuple(found)

    def metadata(self, view: ReadView, origin: Pid) -> dict[Pid, Mapping[str, JsonValue]]:
        """Return the metadata of every body of facts that entries of a collection ever had, by number."""
        with self._guard:
            table = self._table(view, origin)
            return {pid: _metadata(table, pid) for pid in table.facts}

    def _table(self, view: ReadView, origin: Pid) -> _Table:
        head = view.head().seq
        table = self._tables.setdefault(origin, _Table())
        if table.seq < head:
            _follow(view, origin, table, head)
        return table


def _follow(view: ReadView, origin: Pid, table: _Table, head: Seq) -> None:
    """Bring a table to a transaction. What was erased is left out, until it is told again and so is there again."""
    rows = [row for row in view.facts_of_origin(origin, table.seq, head) if row[0] not in table.known]
    rows += (
        [(row.pid, row.hash, row.body) for row in view.payload_rows(sorted(table.gone)).values()] if table.gone else []
    )
    for pid, hash_, body in rows:
        if body is None:
            table.gone.add(pid)
            continue
        if facts_hash(body) != hash_:
            raise IntegrityError(
                "stored facts do not match their hash; run `cmc verify`", table="payloads", key=str(pid)
            )
        table.gone.discard(pid)
        if pid not in table.known:
            table.facts.append(pid)
            small = len(table.known) < _KNOWN_MAX and len(body) <= _KNOWN_BYTES_MAX
            table.known[pid] = metadata_of(json.loads(body)) if small else zlib.compress(body, 1)
    table.seq = head


def _metadata(table: _Table, pid: Pid) -> Mapping[str, JsonValue]:
    known = table.known[pid]
    return metadata_of(json.loads(zlib.decompress(known))) if isinstance(known, bytes) else known
