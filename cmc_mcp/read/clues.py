"""Clues: the speakers, times and phrases that a question names, beside the words it searches with."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cmc_mcp.model.traits import YEAR, speaker_key
from cmc_mcp.read.words import capitals, words

_WORD: Final = re.compile(r"\w+(?:['’]s)?(?!\w)|\w+")
_POSSESSIVE: Final = re.compile(r"['’]s\Z")
_PLAIN: Final = re.compile(r"\w+")
_LONE: Final = re.compile(r"[\ud800-\udfff]")
_YEARS_MAX: Final = 40  # a longer span is told by its ends alone
_PHRASES_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Clues:
    """The clues of a question.

    `named` are the numbers of the speakers it names, `names` the words that do; `text` is the question without them,
    which is what is embedded. `years` are the first and the last that it names, `months` are 1 to 12. `phrases`
    are pairs of words that stand together in it, lower case; and single words that are names by their capitals alone, as written.
    """

    text: str
    named: frozenset[int]
    names: frozenset[str]
    years: tuple[int, int] | None
    months: frozenset[int]
    phrases: tuple[str, ...]

    @property
    def year_terms(self) -> list[str]:
        """The years to look for as words."""
        if self.years is None or self.years[1] - self.years[0] > _YEARS_MAX:
            return [] if self.years is None else [str(year) for year in self.years]
        return [str(year) for year in range(self.years[0], self.years[1] + 1)]


def askable(query: str) -> str:
    r"""Return a question in the one form in which it is searched with: composed (NFC), without half of a surrogate pair.

    >>> askable("Cafe\u0301"), askable("a \ud800 b") == "a \ufffd b"
    ('Café', True)
    """
    return unicodedata.normalize("NFC", _LONE.sub("\ufffd", query))


class Naming:
    """The words of a question that could be the names of speakers; read once, whoever is looked up."""

    def __init__(self, query: str) -> None:
        self._query = query
        self._capitals = capitals(query)
        self._spans = [(match, _POSSESSIVE.sub("", match.group())) for match in _WORD.finditer(query)]
        self._keys = {place: speaker_key(word) for place, (_, word) in enumerate(self._spans) if self._may_name(word)}
        self.keys = sorted(set(self._keys.values()))
        self._read: dict[frozenset[int], Clues] = {}

    def clues(self, found: Collection[int]) -> Clues:
        """Return the clues of the question, where `found` are those of its `keys` that are speakers."""
        speakers = frozenset(found)
        if speakers not in self._read:
            self._read[speakers] = self._clues(speakers)
        return self._read[speakers]

    def _clues(self, found: frozenset[int]) -> Clues:
        query, spans, keys = self._query, self._spans, self._keys
        hits = [place for place, key in keys.items() if key in found]
        years = [int(year) for year in YEAR.findall(query)]
        return Clues(
            text=_without(query, [spans[place][0].span() for place in hits]) or query,
            named=frozenset(keys[place] for place in hits),
            names=frozenset(spans[place][1] for place in hits),
            years=(min(years), max(years)) if years else None,
            months=_months(query),
            phrases=_phrases(query, self._capitals),
        )

    def _may_name(self, word: str) -> bool:
        """Return whether a word may name somebody: a capitalised one, or any where script or writer lack capitals."""
        if word.casefold() in words().asking:
            return word.lower() in self._capitals
        return not word[0].islower() or self._query == self._query.lower()


def clues_of(query: str, known: Callable[[Sequence[int]], Collection[int]]) -> Clues:
    """Read a question; `known` returns those of some speakers that the workspace has at the read point.

    The speakers are the store's own, never a list of names: a question names its subject, while the turns that answer
    it name the other person, so the name draws its vector to greetings (+.26 of dense R@10 on LoCoMo).

    >>> clues_of("When did Maya's tour of 2019 end?", lambda keys: {speaker_key("Maya")}).text
    'When did tour of 2019 end?'
    """
    naming = Naming(query)
    return naming.clues(known(naming.keys) if naming.keys else ())


def _without(query: str, spans: Sequence[tuple[int, int]]) -> str:
    out, at = [], 0
    for start, end in spans:
        out.append(query[at:start])
        at = end
    left = " ".join("".join([*out, query[at:]]).split())
    return left if _PLAIN.search(left) else ""


def _months(query: str) -> frozenset[int]:
    known, named = words(), set()
    for word in _PLAIN.findall(query):
        number = known.months.get(word.lower())
        if number and not (word.islower() and word in known.months_too):
            named.add(number)
    return frozenset(named)


def _phrases(query: str, named: frozenset[str]) -> tuple[str, ...]:
    asking, said = words().asking, _PLAIN.findall(query)
    pairs = [f"{one} {two}" for one, two in pairwise(map(str.lower, said)) if not (one in asking and two in asking)]
    exact = [word for word in said if not word.islower() and word.lower() in named and word.lower() in asking]
    return tuple(dict.fromkeys((*exact, *pairs)))[:_PHRASES_MAX]


def phrase_share(text: str, phrases: Sequence[str]) -> float:
    """Return the share of phrases that stand in a text, 0 to 1; punctuation between words does not count.

    A phrase with a capital has to stand there as it is written.

    >>> phrase_share("The red-brick house.", ("red brick", "brick wall"))
    0.5
    """
    if not phrases:
        return 0.0
    as_written = f" {' '.join(_PLAIN.findall(unicodedata.normalize('NFC', text)))} "
    lower = as_written.lower()
    return sum(f" {phrase} " in (lower if phrase.islower() else as_written) for phrase in phrases) / len(phrases)
