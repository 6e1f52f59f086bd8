"""The terms that a question looks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from cmc_mcp.terms import characters, emoji
from cmc_mcp.terms.english import FUNCTION_WORDS
from cmc_mcp.terms.normal import normalised
from cmc_mcp.terms.numbers import has_digits, numbers, signed_names
from cmc_mcp.terms.passage import shouted
from cmc_mcp.terms.porter import stem
from cmc_mcp.terms.runs import CJK, LATIN, SYMBOL, UNSPACED, Piece, runs
from cmc_mcp.terms.unspaced import pairs, singles, threes
from cmc_mcp.terms.words import words

_UNKNOWN: Final = 0.6  # the weight of near terms where the word itself is not known
_LATIN: Final = 0.2  # and where it is
_ELSEWHERE: Final = 0.5
_PAIR: Final = 1.0
_KANA_PAIR: Final = 0.2  # of hiragana alone: mostly endings
_CHARACTER: Final = 0.1
_EMOJI: Final = 0.5
_WHOLE: Final = 0.5  # a term of less is a piece of a word, and does not say that the word is known
_NO_NAMES: Final = frozenset(("the", "a", "an"))


class QueryTerm(NamedTuple):
    """A term that a question looks for."""

    term: str
    weight: float
    word: str  # as it is written, normalised; several terms may be of one
    near: float = 0.0  # the weight of terms near it, where it is known; without any, none are looked for
    function: bool = False  # a word that says how the question is put, and searches only where no other is left


def query_terms(text: str) -> tuple[QueryTerm, ...]:
    """Return the terms of a question, in order, each once.

    Function words are among them, marked. One whose capitals say that it is a name is none.

    >>> [(term.term, term.weight) for term in query_terms("the getUserName error") if not term.function]
    [('getusernam', 1.0), ('get', 0.6), ('user', 0.6), ('name', 0.6), ('error', 1.0)]
    >>> [term.term for term in query_terms("what did Will say about the US?") if not term.function]
    ['will', 'sai', 'us', 'US']
    """
    text = normalised(text)
    said = _Said(shouted(text))
    for chunk in text.split():
        for writing, run in runs(chunk):
            said.add_run(writing, run)
        for name in signed_names(chunk):
            said.add(QueryTerm(name, 1.0, name))
    if has_digits(text):
        for digits, written in numbers(text).items():
            said.add(QueryTerm(digits, 1.0, written))
    return said.terms()


def widened(terms: Sequence[QueryTerm], known: Callable[[str], bool]) -> Iterator[tuple[QueryTerm, float]]:
    """Yield the terms whose near terms are looked for too, with the weight of those together.

    It is larger where neither a term nor what was added to it is `known` to the workspace. Of an identifier, parts that are
    known say nothing.
    """
    by_word: dict[str, list[QueryTerm]] = {}
    for term in terms:
        by_word.setdefault(term.word, []).append(term)
    for term in terms:
        if not term.near:
            continue
        if known(term.term):
            yield term, term.near
        elif has_digits(term.term) or not any(known(one.term) for one in by_word[term.word] if one.weight >= _WHOLE):
            yield term, _UNKNOWN


class _Said:
    """The terms of a question so far."""

    def __init__(self, shouted: bool) -> None:
        self._shouted = shouted
        self._terms: dict[str, QueryTerm] = {}
        self._words: list[str] = []  # of which texts are made
        self._places: dict[str, list[int]] = {}  # of function words among them, by term

    def add(self, term: QueryTerm) -> None:
        before = self._terms.get(term.term)
        if before is None or (before.weight, before.near) < (term.weight, term.near):
            self._terms[term.term] = term

    def add_run(self, writing: str | None, run: str) -> None:
        if writing == CJK:
            self._add_cjk(run)
        elif writing == UNSPACED:
            self._words += [run]
            for three in threes(run):
                self.add(QueryTerm(three, 1.0, three))
        elif writing == SYMBOL:
            self.add(QueryTerm(run, 1.0, run))
            for name in emoji.names().get(run, ()):
                self.add(QueryTerm(stem(name), _EMOJI, run))
        else:
            for piece in words(writing, run):
                self._add_piece(piece, _LATIN if writing == LATIN else _ELSEWHERE)

    def _add_cjk(self, run: str) -> None:
        self._words += [run]
        for pair in pairs(run):
            self.add(QueryTerm(pair, _KANA_PAIR if _hiragana().fullmatch(pair) else _PAIR, pair))
        for single in singles(run):
            self.add(QueryTerm(single, _CHARACTER, single))

    def _add_piece(self, piece: Piece, near: float) -> None:
        function = piece.word.lower() in FUNCTION_WORDS
        if piece.term:
            if function:
                self._places.setdefault(piece.term, []).append(len(self._words))
            self._words.append(piece.word)
            self.add(QueryTerm(piece.term, piece.weight, piece.word, near))
        for term, weight in piece.extras:
            self.add(QueryTerm(term, weight, piece.word))
        if piece.capitals and not self._shouted:
            self.add(QueryTerm(piece.capitals, 1.0, piece.word))
        for sign in emoji.named().get(piece.word.lower(), ()) if piece.term and not function else ():
            self.add(QueryTerm(sign, _EMOJI, sign))

    def terms(self) -> tuple[QueryTerm, ...]:
        lower = sum(word[0].islower() for word in self._words)
        telling = len(self._words) > 1 and 2 * lower >= len(self._words)  # capitals are rare enough to say something
        for term, places in self._places.items():
            if not (telling and any(self._names(place) for place in places)):
                self._terms[term] = self._terms[term]._replace(function=True, near=0.0)
        return tuple(self._terms.values())

    def _names(self, place: int) -> bool:
        """Return whether the capitals of a function word say that it is a name."""
        word = self._words[place]
        if len(word) < 2:
            return False
        return word.isupper() or (place > 0 and word[0].isupper() and word.lower() not in _NO_NAMES)


@cache
def _hiragana() -> re.Pattern[str]:
    return re.compile(f"[{characters.HIRAGANA}]+")
