"""Full text in SQL: written with each passage, packed by the commit that fills a block, rewritten where words are erased.

The rows are those of `store/postings.py`. A unit works on what its transaction sees, so `last` is the record number that the
last transaction left: until the unit itself packs, the blocks are those of that number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Final, NamedTuple, cast

from cmc_mcp.ids import Rid, Ws
from cmc_mcp.store import postings as rows
from cmc_mcp.store.postings import BLOCK, FAN, Counts, Made, Place, Terms, Text
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.terms.near import is_looked_for

TABLES: Final = ("passage_terms", "postings", "passage_lengths", "vocabulary")
_FAULTS_MAX: Final = 20  # that are named of a table
_FAULT: Final = "full text does not match what it was made of; `cmc rebuild` mends it"
_AMONG: Final = "term IN (SELECT unhex(value) FROM json_each(?))"

Fault = tuple[str, str, str]
"""A table, the key of a row, and what is wrong."""


class Rewritten(NamedTuple):
    """What a passage had and has; None is no passage."""

    before: Made | None
    after: Made | None


class Postings:
    """The rows of full text of one workspace."""

    def __init__(self, connection: Connection, ws: Ws) -> None:
        self._c, self._ws = connection, ws

    # ------------------------------------------------------------------ packing
    def pack(self, before: Rid, after: Rid) -> None:
        """Pack the blocks that were filled when the last record number moved; their forward rows go."""
        here = set(rows.places(before))
        start, end = rows.unpacked_from(before), rows.unpacked_from(after)
        if start == end:
            return
        found = self._forward(start, end)
        made = {place: _of_forward(place, found) for place in rows.places(after) if place not in here}
        self._learn(made, [*rows.places(before)])
        for place, new in made.items():
            self._write(place, new, [Place(0, b) for b in _parts(place) if Place(0, b) in here])
        self._keep_lengths(found, start, end)
        self._c.execute(
            "DELETE FROM passage_terms WHERE ws = ? AND rid >= ? AND rid < ?", (self._ws, *self._range(start, end))
        )

    def _range(self, start: int, end: int) -> tuple[Rid, Rid]:
        return rows.rid_of(self._ws, start), rows.rid_of(self._ws, end)

    def _forward(self, start: int, end: int) -> list[tuple[int, int, bytes]]:
        """Return forward rows as (number, length, terms), ascending."""
        found = self._c.execute(
            "SELECT rid, length, terms FROM passage_terms WHERE +ws = ? AND rid >= ? AND rid < ? ORDER BY rid",
            (self._ws, *self._range(start, end)),
        )
        return [(rows.ordinal(rid), length, terms) for rid, length, terms in found.fetchall()]

    def _write(self, place: Place, new: Mapping[str, bytearray], parts: Sequence[Place]) -> None:
        """Write a block: of what was packed before, and of forward rows."""
        made: dict[bytes, bytearray] = {}
        for part in parts:
            for term, row in self.block(part):
                made.setdefault(term, bytearray()).extend(rows.shifted(row, part.first - place.first))
        for word, more in new.items():
            made.setdefault(rows.data(word), bytearray()).extend(more)
        if parts:
            self._c.execute(
                "DELETE FROM postings WHERE ws = ? AND level = 0 AND block >= ? AND block <= ?",
                (self._ws, parts[0].block, parts[-1].block),
            )
        self._c.executemany(
            "INSERT INTO postings(ws, level, block, term, entries) VALUES(?, ?, ?, ?, ?)",
            [(self._ws, *place, term, bytes(made[term])) for term in sorted(made)],
        )

    def block(self, place: Place) -> list[tuple[bytes, bytes]]:
        """Return the rows of a block as (term, entries), by term."""
        found = self._c.execute(
            "SELECT term, entries FROM postings WHERE ws = ? AND level = ? AND block = ? ORDER BY term",
            (self._ws, *place),
        )
        return cast("list[tuple[bytes, bytes]]", found.fetchall())

    def _learn(self, made: Mapping[Place, Mapping[str, bytearray]], known: Sequence[Place]) -> None:
        """Write the words of passages that are in no block yet, each with the first record that has it."""
        first: dict[str, int] = {}
        for place, packed in made.items():
            for term, row in packed.items():
                first.setdefault(term, place.first + (row[0] | row[1] << 8))
        new = {rows.data(term) for term in filter(is_looked_for, first)}
        for place in reversed(known):
            if new:
                new -= {term for term, _ in self._among(place, new, "length(entries)")}
        told = sorted((first[rows.term_of(term)], term) for term in new)
        self._c.executemany(
            "INSERT INTO vocabulary(ws, rid, term) VALUES(?, ?, ?)",
            [(self._ws, rows.rid_of(self._ws, number), term) for number, term in told],
        )

    def _among(self, place: Place, terms: Iterable[bytes], what: str = "entries") -> list[tuple[bytes, bytes]]:
        """Return the rows of some terms in a block."""
        wanted = json.dumps([term.hex() for term in sorted(terms)])
        found = self._c.execute(
            f"SELECT term, {what} FROM postings WHERE ws = ? AND level = ? AND block = ? AND {_AMONG}",
            (self._ws, *place, wanted),
        )
        return cast("list[tuple[bytes, bytes]]", found.fetchall())

    def _keep_lengths(self, found: Sequence[tuple[int, int, bytes]], start: int, end: int) -> None:
        lengths = {number: length for number, length, _ in found}
        self._c.executemany(
            "INSERT INTO passage_lengths(ws, block, lengths) VALUES(?, ?, ?)",
            [
                (self._ws, block, rows.packed_lengths(lengths, block * BLOCK))
                for block in range(start // BLOCK, end // BLOCK)
            ],
        )

    # ------------------------------------------------------------------ changing what is written
    def change(self, changes: Mapping[Rid, Rewritten], last: Rid) -> None:
        """Have passages that are written hold other terms, or none; no term that only they had is left."""
        by_place: dict[Place, dict[int, Rewritten]] = {}
        for rid, change in changes.items():
            number = rows.ordinal(rid)
            place = rows.place_of(number, last)
            if place is not None:
                by_place.setdefault(place, {})[number] = change
            elif change.after is None:
                self._c.execute("DELETE FROM passage_terms WHERE ws = ? AND rid = ?", (self._ws, rid))
            else:
                self._c.execute(
                    "INSERT INTO passage_terms(rid, ws, length, terms) VALUES(?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (rid, self._ws, change.after.length, rows.forward(change.after.terms)),
                )
                self._c.execute(
                    "UPDATE passage_terms SET length = ?, terms = ? WHERE ws = ? AND rid = ?",
                    (change.after.length, rows.forward(change.after.terms), self._ws, rid),
                )
        for place, some in sorted(by_place.items()):
            self._change_block(place, some)
        touched: set[str] = set()
        for some in by_place.values():
            for change in some.values():
                touched.update(change.before.terms if change.before else (), change.after.terms if change.after else ())
        if touched:
            self._relearn(touched, last)

    def _change_block(self, place: Place, changes: Mapping[int, Rewritten]) -> None:
        told: dict[bytes, dict[int, Counts | None]] = {}
        for number, (before, after) in changes.items():
            for word in before.terms if before else ():
                told.setdefault(rows.data(word), {})[number - place.first] = None
            for word in after.terms if after else ():
                told.setdefault(rows.data(word), {})[number - place.first] = after.terms[word] if after else None
        stored = dict(self._among(place, told))
        for term, entries in sorted(told.items()):
            row = stored.get(term, b"")
            for offset, counts in entries.items():
                row = rows.changed(row, offset, counts)
            self._replace(place, term, row, there=term in stored)
        for number, (_, after) in changes.items():
            block, offset = divmod(number, BLOCK)
            found = self._c.execute(
                "SELECT lengths FROM passage_lengths WHERE ws = ? AND block = ?", (self._ws, block)
            ).fetchone()
            if found is not None:
                self._c.execute(
                    "UPDATE passage_lengths SET lengths = ? WHERE ws = ? AND block = ?",
                    (rows.with_length(found[0], offset, after.length if after else None), self._ws, block),
                )

    def _replace(self, place: Place, term: bytes, row: bytes, *, there: bool) -> None:
        key = (self._ws, *place, term)
        if not there:
            if row:
                self._c.execute(
                    "INSERT INTO postings(ws, level, block, term, entries) VALUES(?, ?, ?, ?, ?)", (*key, row)
                )
        elif row:
            self._c.execute(
                "UPDATE postings SET entries = ? WHERE ws = ? AND level = ? AND block = ? AND term = ?", (row, *key)
            )
        else:
            self._c.execute("DELETE FROM postings WHERE ws = ? AND level = ? AND block = ? AND term = ?", key)

    def _relearn(self, terms: Iterable[str], last: Rid) -> None:
        """Write anew which record of a block is the first with each of some words."""
        words = [rows.data(term) for term in rows.words_of(terms)]
        first: dict[bytes, int] = {}
        for place in rows.places(last):
            for term, row in self._among(place, words) if len(first) < len(words) else ():
                first.setdefault(term, place.first + rows.offsets(row)[0])
        wanted = json.dumps([term.hex() for term in words])
        self._c.execute(f"DELETE FROM vocabulary WHERE ws = ? AND {_AMONG}", (self._ws, wanted))
        self._c.executemany(
            "INSERT INTO vocabulary(ws, rid, term) VALUES(?, ?, ?)",
            [(self._ws, rows.rid_of(self._ws, number), term) for term, number in sorted(first.items())],
        )

    # ------------------------------------------------------------------ filling
    def clear(self) -> None:
        """Remove every row of the workspace, and of workspaces that are none."""
        for table in TABLES:
            self._c.execute(f"DELETE FROM {table} WHERE ws = ? OR ws NOT IN (SELECT ws FROM workspaces)", (self._ws,))

    def fill(self, texts: Iterable[Sequence[Text]], last: Rid, seen: Callable[[Rid, int], None] | None = None) -> None:
        """Write all rows anew from the texts of passages, ascending; `seen` is told the length of each."""
        self.clear()
        reached = rows.rid_of(self._ws, 0)
        for page in texts:
            for start, some in groupby(page, lambda text: rows.ordinal(text[0]) // BLOCK * BLOCK):
                if start > rows.unpacked_from(reached):
                    self.pack(reached, upto := rows.rid_of(self._ws, start - 1))
                    reached = upto
                made = [(rid, rows.made_of(heading, text)) for rid, heading, text in some]
                self._c.executemany(
                    "INSERT INTO passage_terms(rid, ws, length, terms) VALUES(?, ?, ?, ?)",
                    [(rid, self._ws, length, rows.forward(terms)) for rid, (length, terms) in made],
                )
                for rid, (length, _) in made if seen else ():
                    assert seen is not None
                    seen(rid, length)
        self.pack(reached, last)

    # ------------------------------------------------------------------ reading
    def unpacked(self, after: Rid, upto: Rid) -> list[tuple[Rid, int, bytes]]:
        """Return the forward rows in (after, upto] as (record, length, terms), ascending."""
        found = self._c.execute(
            "SELECT rid, length, terms FROM passage_terms WHERE +ws = ? AND rid > ? AND rid <= ? ORDER BY rid",
            (self._ws, after, upto),
        )
        return [(rid, length, terms) for rid, length, terms in found.fetchall()]

    def entries(self, terms: Sequence[str], after: Rid, upto: Rid, last: Rid) -> list[tuple[str, int, bytes]]:
        """Return the rows of terms in the blocks that touch (after, upto] as (term, first number of the block, entries)."""
        wanted = json.dumps([rows.data(term).hex() for term in terms])
        low, high = rows.ordinal(after) if after > rows.rid_of(self._ws, 0) else -1, rows.ordinal(upto)
        out: list[tuple[str, int, bytes]] = []
        for level in (1, 0):
            span = rows.SPANS[level]
            blocks = [
                block
                for at, block in rows.places(last)
                if at == level and block * span <= high and (block + 1) * span > low + 1
            ]
            if blocks:
                found = self._c.execute(
                    "SELECT term, block, entries FROM postings WHERE ws = ? AND level = ?"
                    f" AND block IN (SELECT value FROM json_each(?)) AND {_AMONG}",
                    (self._ws, level, json.dumps(blocks), wanted),
                )
                out += [(rows.term_of(term), block * span, row) for term, block, row in found.fetchall()]
        return sorted(out)

    def lengths(self, after: int, last: Rid) -> list[tuple[int, bytes]]:
        """Return the packed lengths of blocks from the one of a number on, as (first number, lengths), ascending."""
        found = self._c.execute(
            "SELECT block, lengths FROM passage_lengths WHERE ws = ? AND block >= ? ORDER BY block",
            (self._ws, after // BLOCK),
        )
        return [(block * BLOCK, lengths) for block, lengths in found.fetchall() if block * BLOCK <= rows.ordinal(last)]

    def words(self, after: Rid, upto: Rid) -> tuple[list[Rid], list[str]]:
        """Return the words that first stand in packed records of (after, upto], each with its record, in order of both.

        They come as one row: they may be many, and each row costs more than it holds.
        """
        found = self._c.execute(
            "SELECT group_concat(rid), CAST(group_concat(term, x'0a') AS BLOB) FROM"
            " (SELECT rid, term FROM vocabulary WHERE ws = ? AND rid > ? AND rid <= ? ORDER BY rid, term)",
            (self._ws, after, upto),
        ).fetchall()
        rids, terms = found[0]
        return ([], []) if rids is None else (cast("list[Rid]", list(map(int, rids.split(",")))), rows.terms_of(terms))


class Checking:
    """Compares the rows of full text with what passages make."""

    def __init__(self, postings: Postings, connection: Connection, ws: Ws, last: Rid) -> None:
        self._postings, self._c, self._ws, self._last = postings, connection, ws, last
        self._first: dict[bytes, int] = {}

    def faults(self, texts: Iterable[Sequence[Text]]) -> list[Fault]:
        """Return what is not what the texts of all passages, ascending, make: of each table the first few."""
        out: list[Fault] = []
        for table, found in self._by_table(texts).items():
            out += [(table, key, _FAULT) for key in islice(found, _FAULTS_MAX)]
        return out

    def _by_table(self, texts: Iterable[Sequence[Text]]) -> dict[str, list[str]]:
        out: dict[str, list[str]] = {table: [] for table in TABLES}
        places = list(rows.places(self._last))
        told = groupby(
            ((rid, rows.made_of(heading, text)) for page in texts for rid, heading, text in page),
            lambda one: rows.place_of(rows.ordinal(one[0]), self._last),
        )
        empty = iter(places)
        for place, some in told:
            if place is None:
                out["passage_terms"] += self._tail(dict(some))
                break
            for other in empty:
                if other == place:
                    break
                self._block(other, {}, out)
            self._block(place, {rows.ordinal(rid): made for rid, made in some}, out)
        else:
            out["passage_terms"] += self._tail({})
        for other in empty:
            self._block(other, {}, out)
        self._strays(places, out)
        return out

    def _block(self, place: Place, made: Mapping[int, Made], out: dict[str, list[str]]) -> None:
        wanted = {
            rows.data(term): bytes(row)
            for term, row in rows.packed(((n, _one_by_one(one.terms)) for n, one in made.items()), place.first).items()
        }
        for term in rows.words_of(map(rows.term_of, wanted)):
            self._first.setdefault(rows.data(term), place.first + rows.offsets(wanted[rows.data(term)])[0])
        stored = dict(self._postings.block(place))
        out["postings"] += [
            f"{place.level}/{place.block}/{_shown(term)}"
            for term in sorted(wanted.keys() | stored.keys())
            if wanted.get(term) != stored.get(term)
        ]
        lengths = {number: one.length for number, one in made.items()}
        first, end = place.first // BLOCK, (place.first + rows.SPANS[place.level]) // BLOCK
        kept: dict[int, bytes] = dict(
            self._c.execute(
                "SELECT block, lengths FROM passage_lengths WHERE ws = ? AND block >= ? AND block < ?",
                (self._ws, first, end),
            ).fetchall()
        )
        out["passage_lengths"] += [
            str(block) for block in range(first, end) if kept.get(block) != rows.packed_lengths(lengths, block * BLOCK)
        ]

    def _tail(self, made: Mapping[Rid, Made]) -> list[str]:
        wanted = {rid: (one.length, rows.forward(one.terms)) for rid, one in made.items()}
        found = self._c.execute("SELECT rid, length, terms FROM passage_terms WHERE ws = ? ORDER BY rid", (self._ws,))
        stored = {rid: (length, terms) for rid, length, terms in found.fetchall()}
        return [str(rid) for rid in sorted(wanted.keys() | stored.keys()) if wanted.get(rid) != stored.get(rid)]

    def _strays(self, places: Sequence[Place], out: dict[str, list[str]]) -> None:
        known = set(places)
        blocks = self._c.execute("SELECT DISTINCT level, block FROM postings WHERE ws = ?", (self._ws,)).fetchall()
        out["postings"] += [f"{level}/{block}" for level, block in sorted(blocks) if Place(level, block) not in known]
        end = rows.unpacked_from(self._last) // BLOCK
        stray = self._c.execute(
            "SELECT block FROM passage_lengths WHERE ws = ? AND (block < 0 OR block >= ?)", (self._ws, end)
        ).fetchall()
        out["passage_lengths"] += [str(block) for (block,) in stray]
        wanted = {(rows.rid_of(self._ws, number), term) for term, number in self._first.items()}
        stored = {
            (rid, term)
            for rid, term in self._c.execute("SELECT rid, term FROM vocabulary WHERE ws = ?", (self._ws,)).fetchall()
        }
        out["vocabulary"] += [f"{rid}/{_shown(term)}" for rid, term in sorted(wanted ^ stored)]


def _shown(term: bytes) -> str:
    return term.hex()[:32]


def _parts(place: Place) -> range:
    """Return the numbers of the blocks of the lowest level that a block is made of."""
    return range(place.block * FAN, (place.block + 1) * FAN) if place.level else range(0)


def _of_forward(place: Place, found: Sequence[tuple[int, int, bytes]]) -> dict[str, bytearray]:
    """Return the rows of a block that forward rows make."""
    first, end = place.first, place.first + rows.SPANS[place.level]
    here = ((number, rows.by_counts(terms)) for number, _, terms in found if first <= number < end)
    return rows.packed(here, first)


def _one_by_one(terms: Terms) -> Iterator[tuple[Counts, tuple[str]]]:
    return ((counts, (term,)) for term, counts in terms.items())
