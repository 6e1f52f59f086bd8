"""Slots: which of the first statements has a newer value for what an earlier one says, and so comes before it.

"The budget is now $5,000" and "the budget is $4,000" fill one slot, though no key says so. Sorting everything by time
costs more than it gives (`docs/recall.md`), so only the newer statement of a pair moves, to right before the
older one; both stay. A pair is one that the question itself joins: the newer answers as much of it as the older does.
Words such as "now" or "changed" are not looked for: they were measured and said nothing that the values do not. Nor is
a pair kept to one session: it raised the figures of the set it was chosen on, but only by how that set was written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cmc_mcp.config import Slots
from cmc_mcp.model.names import name_key
from cmc_mcp.model.time import SINCE_ALWAYS
from cmc_mcp.read.agree import SLOT_WORD, STEM, Statement
from cmc_mcp.read.subject import amounts, other_subject
from cmc_mcp.read.words import words as word_lists
from cmc_mcp.terms.passage import passage_terms
from cmc_mcp.terms.query import query_terms

_RATIO: Final = re.compile(r"\d+[/:]\d+")  # "4/5" and "5/5" differ, though their numbers are the same
_VALUES_SHOWN: Final = 3
_OTHER_TIMES: Final = frozenset(
    (
        "after", "ago", "before", "between", "earlier", "first", "former", "formerly", "history", "initial",
        "initially", "original", "originally", "previous", "previously", "since", "until", "used",
    )
)  # fmt: skip
"""English words of a question about times or earlier values; the newest is not what it asks for, so nothing is paired."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A statement in the order of the answer.

    `order` is what tells earlier from later, among those that are all dated, or all are not: microseconds, or places in the
    ledger; None for a passage of a document or for code, which supersede nothing. `speaker` is empty when not known.
    `score` is the one that it was ranked by.
    """

    said: Statement
    order: tuple[int, ...] | None
    speaker: str
    score: float
    is_dated: bool = False
    valid_from: int = SINCE_ALWAYS
    title: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


class Pairing(NamedTuple):
    """Two statements of one slot, by their places among the candidates; `score` is in (0, 1]."""

    older: int
    newer: int
    score: float
    reason: str


def slot_pairs(
    query: str, candidates: Sequence[Candidate], cosine: Callable[[int, int], float | None], settings: Slots
) -> list[Pairing]:
    """Pair statements of which the later has another value for what the question asks, each in one pair at most.

    The score is the product of three: the cosine of the two; the share of what the older answers of the question that
    the newer answers too (its terms weighed by how few of the candidates hold them); and how near in rank score they
    are. Each must also hold a number, a date or a name with digits that the other does not. `cosine` takes places among
    the candidates; where it knows none, the words that both share stand for it. Pairs come by the place of the older,
    each with its best newer one; about 0.2 ms. A question about earlier values or times ("before", "originally") pairs
    nothing.

    >>> old = Candidate(Statement("The budget for the move is $4,000"), (1,), "", 0.9)
    >>> new = Candidate(Statement("The budget for the move is now $5,000"), (2,), "", 0.8)
    >>> slot_pairs("What is the budget for the move?", [old, new], lambda a, b: 0.93, Slots())
    [Pairing(older=0, newer=1, score=0.826667, reason='5000 for 4000')]
    """
    words = SLOT_WORD().findall(query.casefold())
    if not _OTHER_TIMES.isdisjoint(words):
        return []
    first = [place for place, told in enumerate(candidates[: settings.depth]) if _may_supersede(told, settings)]
    first = [place for place in first if _values(candidates[place].said)]
    if len(first) < 2:
        return []
    terms = {place: candidates[place].said.beginnings for place in first}
    asked = _weights(words, list(terms.values()))
    scored = (
        (place, pairing)
        for place in first
        for other in first
        if (pairing := _pairing(place, other, candidates, terms, asked, cosine, settings)) is not None
    )
    paired: list[Pairing] = []
    used: set[int] = set()
    for _, pairing in sorted(scored, key=lambda found: (found[0], -found[1].score, found[1].newer)):
        if not used & {pairing.older, pairing.newer}:
            used |= {pairing.older, pairing.newer}
            paired.append(pairing)
    return paired


def reordered(count: int, pairings: Sequence[Pairing]) -> list[int]:
    """Return the places 0 to `count` - 1 with the newer of each pair right before the older, unless it is before it.

    >>> reordered(5, [Pairing(0, 3, 0.5, ""), Pairing(2, 1, 0.5, "")])
    [3, 0, 1, 2, 4]
    """
    brought = {pair.older: pair.newer for pair in pairings if pair.newer > pair.older}
    moved = set(brought.values())
    return [
        place
        for slot in range(count)
        if slot not in moved
        for place in ((brought[slot], slot) if slot in brought else (slot,))
    ]


def brought_forward(query: str, pairings: Sequence[Pairing], texts: Sequence[str]) -> list[Pairing]:
    """Return the pairs whose newer statement comes first: those whose older value the question does not itself name.

    >>> pairs, texts = [Pairing(0, 1, 0.9, "")], ["The printer is at 10.0.0.4", "The printer is at 10.0.0.5"]
    >>> brought_forward("where is the printer?", pairs, texts) == pairs, brought_forward("10.0.0.4", pairs, texts)
    (True, [])
    """
    named = frozenset(term.term for term in query_terms(query) if not term.term.isalpha())
    return [pair for pair in pairings if not named or not _named_alone(named, texts[pair.older], texts[pair.newer])]


def _named_alone(named: frozenset[str], older: str, newer: str) -> bool:
    """Return whether the older text holds an identifier or number of the question, and the newer none instead."""
    was, now = (named & (found.counts.keys() | found.extras.keys()) for found in map(passage_terms, (older, newer)))
    return now < was


def _may_supersede(told: Candidate, settings: Slots) -> bool:
    return told.order is not None and told.score > 0 and len(told.said.text) <= settings.chars_max


def _pairing(
    old: int,
    new: int,
    candidates: Sequence[Candidate],
    terms: dict[int, frozenset[str]],
    asked: dict[str, float],
    cosine: Callable[[int, int], float | None],
    settings: Slots,
) -> Pairing | None:
    older, newer = candidates[old], candidates[new]
    if older.order is None or newer.order is None or newer.order <= older.order:
        return None
    if (older.speaker, older.is_dated) != (
        newer.speaker,
        newer.is_dated,
    ):  # when it was said and recorded do not compare
        return None
    if _are_apart(older, newer):
        return None
    answered = sum(weight for term, weight in asked.items() if term in terms[old])
    if not answered:
        return None
    again = sum(weight for term, weight in asked.items() if term in terms[old] and term in terms[new])
    low, high = sorted((older.score, newer.score))
    score = again / answered * low / high
    if score < settings.bar:
        return None
    shared = _shared(terms[old], terms[new])
    if not older.speaker and shared < settings.shared_words:
        return None
    near = cosine(old, new)
    score = round(score * (shared if near is None else near), 6)
    if score < settings.bar:
        return None
    was, now = _values(older.said), _values(newer.said)
    if not (was - now and now - was) or amounts(was) == amounts(now) or older.said.notation == newer.said.notation:
        return None
    if other_subject(older.said, newer.said, short=settings.short_spoken if older.speaker else settings.short):
        return None
    return Pairing(old, new, min(score, 1.0), f"{_listed(now - was)} for {_listed(was - now)}")


def _are_apart(older: Candidate, newer: Candidate) -> bool:
    """Return whether titles or tags name different things, or the one told later holds from an earlier time."""
    titles = {name_key(title) for title in (older.title, newer.title) if title}
    if len(titles) > 1 or any(newer.tags.get(name, value) != value for name, value in older.tags.items()):
        return True
    return SINCE_ALWAYS < newer.valid_from < older.valid_from


def _weights(words: Sequence[str], texts: Sequence[frozenset[str]]) -> dict[str, float]:
    """Weigh the question's terms by how few of the texts hold them, in the question's order."""
    asking = word_lists().asking
    stems = dict.fromkeys(word[:STEM] for word in words if word not in asking)
    return {term: math.log1p(len(texts) / (0.5 + sum(term in text for text in texts))) for term in stems}


def _shared(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the share of the words that both say, of who says fewer: without numbers, which may differ."""
    said = [frozenset(term for term in terms if not term.isdigit()) or terms for terms in (a, b)]
    return len(said[0] & said[1]) / max(1, min(map(len, said)))


def _values(said: Statement) -> frozenset[str]:
    """Return what may fill a slot: numbers, dates, names with digits, ratios."""
    found = said.asserted
    named = {name for name in found.names if any(map(str.isdigit, name))}
    return found.numbers | found.dates | named | frozenset(_RATIO.findall(said.text))


def _listed(values: frozenset[str]) -> str:
    return ", ".join(sorted(values)[:_VALUES_SHOWN])
