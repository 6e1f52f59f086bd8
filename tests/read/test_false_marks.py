"""What a stranger found marked wrongly, as kinds: other cases of each are in every pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.memory import Memory
from tests.read.made import opened
from tests.support.embedders import CountingEmbedder

OTHERS = [  # names in another order, or a value that is dated: neither is the newer value
    ("Alice owes Bob 5 euros", "Bob owes Alice 7 euros", "who owes how many euros?"),
    ("JFK to LAX takes 6 hours", "LAX to JFK takes 5 hours", "how many hours does JFK LAX take?"),
    ("Anna beat Ben 3-1", "Ben beat Anna 4-2", "Anna Ben beat"),
    (
        "Von Bonn nach Köln kostet die Fahrt 9 Euro",
        "Von Köln nach Bonn kostet die Fahrt 11 Euro",
        "was kostet die Fahrt?",
    ),
    (
        "De Lyon à Paris le billet coûte 40 euros",
        "De Paris à Lyon le billet coûte 55 euros",
        "combien coûte le billet ?",
    ),
    ("Taxi on 3 May 20 EUR", "Taxi on 4 May 25 EUR", "taxi EUR"),
    ("Gold closed at 1900 on 5 May", "Gold closed at 1950 on 6 May", "where did gold close?"),
    ("Am 5. Mai schloss Gold bei 1900", "Am 6. Mai schloss Gold bei 1950", "wo schloss Gold?"),
    ("Convert 100 dollars to euros: 92", "Convert 100 euros to dollars: 108", "convert 100"),
    ("Max temperature was 31 degrees", "Min temperature was 14 degrees", "temperature"),
    ("The US price is 99", "The EU price is 109", "price"),
    ("Peter's locker code is 4471", "Petra's locker code is 8812", "locker code"),
    ("Martin earns 4000", "Martina earns 4500", "who earns how much?"),
    ("The train to Bern leaves at 9:10", "The train from Bern arrives at 9:40", "train Bern"),
    ("The bus to Bern takes 20 minutes", "The bus from Bern takes 25 minutes", "how long does the bus take?"),
    ("Exam part I: 40 points", "Exam part II: 60 points", "exam points"),
    ("King Henry V ruled 9 years", "King Henry IV ruled 13 years", "how long did King Henry rule?"),
]
SAME = [  # one value, written in two ways
    ("The fee is 5 %", "The fee is 5%", "what is the fee?"),
    ("The price is 12 500 €", "The price is 12500 €", "what is the price?"),
    ("Der Preis ist 12.500 €", "Der Preis ist 12500 €", "Preis"),
    ("The fee is 1,5 Euro", "The fee is 1.5 Euro", "what is the fee?"),
    ("Milo's parcel weighs 1000 g", "Milo's parcel weighs 1 kg", "what does Milo's parcel weigh?"),
    ("The trip takes 90 minutes", "The trip takes 1.5 hours", "how long does the trip take?"),
    ("Phone +49 170 123456", "Phone +49170123456", "phone"),
]
NEWER = [
    ("The team uses Postgres 14", "The team uses Postgres 16", "which Postgres does the team use?"),
    ("Standup is at 9:30", "Standup is at 10:15", "when is standup?"),
    ("The budget for the move is $4,000", "The budget for the move is now $5,000", "what is the budget for the move?"),
    ("The demo is on 3 May", "The demo is on 9 May", "when is the demo?"),
    ("The rent is 900 euros", "The rent is 1100 euros", "what is the rent?"),
    ("Standup is on 3 May at 9:00", "Standup is on 4 May at 10:00", "when is standup?"),
]


def _marks(memory: Memory, query: str) -> set[str]:
    return {note.kind for item in memory.recall(query).items for note in item.conflicts}


@pytest.mark.parametrize(("one", "two", "query"), [*OTHERS, *SAME])
def test_nothing_is_newer_than_what_speaks_of_something_else_or_says_the_same(
    tmp_path: Path, one: str, two: str, query: str
) -> None:
    with opened(tmp_path, embedder=CountingEmbedder()) as memory:
        memory.remember(one)
        memory.remember(two)
        assert not _marks(memory, query) & {"newer", "older"}


@pytest.mark.parametrize(("one", "two", "query"), NEWER)
def test_a_newer_value_is_marked_as_before(tmp_path: Path, one: str, two: str, query: str) -> None:
    with opened(tmp_path, embedder=CountingEmbedder()) as memory:
        memory.remember(one)
        memory.remember(two)
        assert {"newer", "older"} <= _marks(memory, query)


def test_titles_tags_and_stated_times_say_that_a_value_is_not_the_newer_one(tmp_path: Path) -> None:
    ways = [({"title": "alpha"}, {"title": "beta"}), ({"tags": {"host": "a"}}, {"tags": {"host": "b"}})]
    ways.append(({"valid_from": "2026-06-01"}, {"valid_from": "2024-01-01"}))
    for place, (mine, other) in enumerate(ways):
        with opened(tmp_path / str(place), embedder=CountingEmbedder()) as memory:
            memory.remember("The rent is 900 euros", **mine)  # type: ignore[arg-type]
            memory.remember("The rent is 1100 euros", **other)  # type: ignore[arg-type]
            assert not _marks(memory, "what is the rent?") & {"newer", "older"}


@pytest.mark.parametrize(
    ("was", "now", "again", "query"),
    [
        ("The alarm code is 4456", "The alarm code is 9917", "Alarm code: 4456", "what is the alarm code?"),
        ("Rent is 900 euros", "Rent is 1000 euros", "The rent is 900 euros", "what is the rent?"),
        ("The demo is on 3 May", "The demo is on 9 May", "Demo: 3 May", "when is the demo?"),
    ],
)
def test_what_was_superseded_and_is_told_again_in_other_words_is_not_the_newer_value(
    tmp_path: Path, was: str, now: str, again: str, query: str
) -> None:
    with opened(tmp_path, embedder=CountingEmbedder()) as memory:
        old = memory.remember(was).added[0]
        new = memory.revise(old, content=now).added[0]
        echo = memory.as_principal("bob").remember(again).added[0]
        items = {item.id: item for item in memory.recall(query).items}
        assert [(note.with_id, note.kind) for note in items[echo].conflicts] == [(new, "possible")]
        assert "repeat" in items[echo].conflicts[0].reason
        names = list(items)
        assert names.index(new) < names.index(echo)


def test_passages_without_a_word_are_scored_without_a_warning(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": sign} for sign in ("👍", ">", "...", "✓")])
        assert {item.text for item in memory.recall("👍").items} >= {"👍"}
