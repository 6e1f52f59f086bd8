"""Full text as rows, beside a dictionary of all passages: whatever is written, packed, changed and erased in which order."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import IntegrityError
from cmc_mcp.ids import Rid, Ws
from cmc_mcp.store import postings as packed
from cmc_mcp.store.postings import BLOCK, SPANS, Made, made_of
from cmc_mcp.store.sql.postings import TABLES, Checking, Postings, Rewritten
from cmc_mcp.store.sql.schema import MIGRATIONS
from tests.support import stores

WS = Ws(3)
WORDS = (
    "alpha",
    "beta",
    "getUserName",
    "v4.21",
    "Привет",
    "我喜欢吃苹果",
    "Straße",
    "the",
    "кошка",
    "3f9a77c",
    "US and us",
)


def fresh() -> apsw.Connection:
    """A file in memory with the tables of all migrations."""
    connection = apsw.Connection(":memory:")
    for migration in MIGRATIONS:
        for statement in migration.up:
            connection.execute(statement).fetchall()
    connection.execute("INSERT INTO workspaces(ws, name) VALUES(?, 'one')", (WS,))
    return connection


class Full:
    """Full text as units of work write it, and the dictionary beside it. Records come with gaps, so that blocks fill soon."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.connection = rng, fresh()
        self.rows = Postings(self.connection, WS)
        self.texts: dict[Rid, tuple[str, str]] = {}
        self.last = packed.rid_of(WS, 0)

    def said(self) -> tuple[str, str]:
        """A heading, mostly none, and a text."""
        words = [self.rng.choice(WORDS) + self.rng.choice(("", "s", str(self.rng.randint(0, 9)))) for _ in range(5)]
        return ("", "Head " + words[0])[self.rng.random() < 0.3], " ".join(words)

    def write(self) -> None:
        """Write some passages with one unit."""
        before = self.last
        for _ in range(self.rng.randint(1, 4)):
            self.last = Rid(self.last + self.rng.choice((1, 2, 300, BLOCK, self.rng.randint(1, SPANS[1]))))
            self.texts[self.last] = self.said()
            made = made_of(*self.texts[self.last])
            self.connection.execute(
                "INSERT INTO passage_terms(rid, ws, length, terms) VALUES(?, ?, ?, ?)",
                (self.last, WS, made.length, packed.forward(made.terms)),
            )
        self.rows.pack(before, self.last)

    def change(self) -> None:
        """Erase some passages, give some another text, and bring some back."""
        told: dict[Rid, Rewritten] = {}
        for rid in self.rng.sample(sorted(self.texts), min(len(self.texts), 3)):
            before = made_of(*self.texts.pop(rid))
            after = None
            if self.rng.random() < 0.5:
                self.texts[rid] = self.said()
                after = made_of(*self.texts[rid])
            told[rid] = Rewritten(before, after)
        back = Rid(self.rng.randint(packed.rid_of(WS, 1), self.last))
        if back not in self.texts and back not in told:
            self.texts[back] = self.said()
            told[back] = Rewritten(None, made_of(*self.texts[back]))
        self.rows.change(told, self.last)

    def made(self) -> dict[Rid, Made]:
        """What every passage is found by."""
        return {rid: made_of(*said) for rid, said in sorted(self.texts.items())}

    def everything(self) -> list[object]:
        """Every row of full text."""
        return [sorted(self.connection.execute(f"SELECT * FROM {table}").fetchall()) for table in TABLES]

    def faults(self) -> set[str]:
        """The tables with faults."""
        texts = [(rid, *said) for rid, said in sorted(self.texts.items())]
        pages = [texts[place : place + 2] for place in range(0, len(texts), 2)]
        return {table for table, _, _ in Checking(self.rows, self.connection, WS, self.last).faults(pages)}


def built(seed: int, steps: int) -> Full:
    """Full text after some steps."""
    full = Full(random.Random(seed))
    full.write()
    for _ in range(steps):
        (full.change if full.rng.random() < 0.4 else full.write)()
    return full


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(0, 12))
def test_what_is_read_is_what_a_dictionary_of_all_passages_says(seed: int, steps: int) -> None:
    full = built(seed, steps)
    made = full.made()
    low = packed.rid_of(WS, 0)
    tail = {rid: (length, packed.read_forward(row)) for rid, length, row in full.rows.unpacked(low, full.last)}
    end = packed.unpacked_from(full.last)
    assert tail == {rid: (one.length, dict(one.terms)) for rid, one in made.items() if packed.ordinal(rid) >= end}
    terms = sorted({term for one in made.values() for term in one.terms} | {"never"})
    found = full.rows.entries(terms, low, full.last, full.last)
    for term in terms:
        numbers, counts = packed.unpacked([(first, row) for word, first, row in found if word == term])
        wanted = {packed.ordinal(rid): one.terms[term] for rid, one in made.items() if term in one.terms}
        assert dict(zip(numbers.tolist(), map(tuple, counts.tolist()), strict=True)) == {
            number: counts for number, counts in wanted.items() if number < end
        }
        assert numbers.tolist() == sorted(numbers.tolist())
    first: dict[str, Rid] = {}
    for rid, one in made.items():
        for term in packed.words_of(one.terms) if packed.ordinal(rid) < end else ():
            first.setdefault(term, rid)
    rids, words = full.rows.words(low, full.last)
    assert dict(zip(words, rids, strict=True)) == first
    assert list(zip(rids, words, strict=True)) == sorted(
        zip(rids, words, strict=True), key=lambda one: (one[0], one[1].encode())
    )
    assert full.faults() == set()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(0, 12))
def test_the_rows_are_the_same_however_they_came_about(seed: int, steps: int) -> None:
    full = built(seed, steps)
    rows = full.everything()
    texts = [(rid, *said) for rid, said in sorted(full.texts.items())]
    seen: dict[Rid, int] = {}
    full.rows.fill([texts[:3], texts[3:]], full.last, seen.__setitem__)
    assert full.everything() == rows
    assert seen == {rid: one.length for rid, one in full.made().items()}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_range_is_read_with_the_blocks_that_touch_it(seed: int) -> None:
    full = built(seed, 6)
    low, rng = packed.rid_of(WS, 0), full.rng
    after, upto = sorted((Rid(rng.randint(low, full.last)), Rid(rng.randint(low, full.last))))
    end = packed.unpacked_from(full.last)
    for term in ("alpha", "head", "苹果"):
        rows = [(first, row) for _, first, row in full.rows.entries([term], after, upto, full.last)]
        numbers, _ = packed.unpacked(rows)
        inside = [number for number in numbers.tolist() if after - low < number <= upto - low]
        wanted = [packed.ordinal(rid) for rid, one in full.made().items() if term in one.terms and after < rid <= upto]
        assert inside == [number for number in wanted if number < end]


@pytest.mark.parametrize("packs", [0, BLOCK, SPANS[1]])
def test_no_word_of_what_was_erased_is_in_any_row(packs: int) -> None:
    full = built(7, 10)
    full.last = canary = Rid(full.last + 1)
    made = made_of("Zyxwvucanary heading", "qwertzcanary 数据秘 v7.77")
    full.rows.change({canary: Rewritten(None, made)}, full.last)
    before, full.last = full.last, Rid(full.last + packs)
    full.rows.pack(before, full.last)
    words = ("canar", "数据", "据秘", "7·77")
    assert all(word.encode() in repr_of(full) for word in words)
    full.rows.change({canary: Rewritten(made, None)}, full.last)
    assert not any(word.encode() in repr_of(full) for word in words)
    assert full.faults() == set()


def repr_of(full: Full) -> bytes:
    """Return every value of every row, as bytes."""
    rows = [row for table in TABLES for row in full.connection.execute(f"SELECT * FROM {table}").fetchall()]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)


EDITS = {
    "passage_terms": ("UPDATE {} SET length = length + 1", "UPDATE {} SET terms = x''", "DELETE FROM {}"),
    "postings": (
        "UPDATE {} SET entries = CAST(substr(entries, 1, 4) || x'07' AS BLOB) WHERE rowid_",
        "DELETE FROM {} WHERE rowid_",
        "UPDATE {} SET block = block + 50 WHERE rowid_",
        "UPDATE {} SET term = CAST('others' AS BLOB) WHERE rowid_",
    ),
    "passage_lengths": ("UPDATE {} SET lengths = zeroblob(4096)", "DELETE FROM {}", "UPDATE {} SET block = block + 90"),
    "vocabulary": ("UPDATE {} SET rid = rid + 1", "DELETE FROM {}", "UPDATE {} SET term = CAST('others' AS BLOB) WHERE rowid_"),
}  # fmt: skip


@pytest.mark.parametrize(("table", "edit"), [(table, edit) for table, edits in EDITS.items() for edit in edits])
def test_an_edited_table_is_named(table: str, edit: str) -> None:
    full = built(11, 9)
    full.write()
    if table == "passage_terms":  # there is a last record that is in no block
        full.last = Rid(full.last + 1)
        full.texts[full.last] = full.said()
        full.rows.change({full.last: Rewritten(None, made_of(*full.texts[full.last]))}, full.last)
    assert full.faults() == set()
    key = ", ".join(name for name in ("level", "block", "rid", "term") if name in columns(full, table))
    one = f"({key}) = (SELECT {key} FROM {table} LIMIT 1)"
    full.connection.execute(edit.format(table).replace("rowid_", one))
    assert full.faults() == {table}


def columns(full: Full, table: str) -> list[str]:
    """The columns of a table."""
    return [str(row[1]) for row in full.connection.execute(f"PRAGMA table_info({table})")]


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1), st.tuples(*[st.integers(0, 255)] * 3)
    )
)
def test_a_forward_row_is_read_as_it_was_written(terms: dict[str, packed.Counts]) -> None:
    assert packed.read_forward(packed.forward(terms)) == terms


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_no_term_holds_what_parts_terms_in_a_row(text: str) -> None:
    terms = made_of("", text).terms
    assert packed.read_forward(packed.forward(terms)) == terms
    assert max(map(len, terms), default=0) <= 128


def test_a_read_that_broke_off_at_a_damaged_row_leaves_nothing_half_read(tmp_path: Path) -> None:
    with stores.memory(tmp_path / "memory.db") as memory:
        memory.remember_many([{"content": f"heron number {word}"} for word in ("one", "two", "three")])
        edit = "UPDATE passage_terms SET terms = ? WHERE rid = (SELECT max(rid) FROM passage_terms)"
        connection = stores.raw(tmp_path / "memory.db")
        sound = connection.execute("SELECT terms FROM passage_terms ORDER BY rid DESC LIMIT 1").fetchall()[0][0]
        connection.execute(edit, (b"not,counts heron",))
        for _ in range(2):
            with pytest.raises(IntegrityError):
                memory.recall("heron")
        connection.execute(edit, (sound,))
        connection.close()
        with stores.memory(tmp_path / "memory.db") as fresh:
            found = memory.recall("heron").items
            assert len(found) == 3 and found == fresh.recall("heron").items
