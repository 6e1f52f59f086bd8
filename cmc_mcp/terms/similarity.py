"""How alike two words are, letter by letter."""

from __future__ import annotations

from typing import Final

SIMILARITY_MIN: Final = 0.5
_FIRST_OTHER: Final = "\u0370"  # letters of other alphabets than Latin
_FIRST_SYLLABLE: Final = "\uac00"
_LAST_SYLLABLE: Final = "\ud7a3"
_LETTERS_MIN, _LETTERS_MIN_ELSEWHERE, _SYLLABLES_MIN = 4, 3, 2
_HEAD_MIN: Final = 5  # letters of a Latin word that another ends in
_TYPO_MIN: Final = 5
_TWO_TYPOS_MIN: Final = 8


def letters_min(word: str) -> int:
    """Return how long a word must be at least, by its alphabet, for words near it to mean something."""
    first = word[:1]
    if _FIRST_SYLLABLE <= first <= _LAST_SYLLABLE:
        return _SYLLABLES_MIN
    return _LETTERS_MIN_ELSEWHERE if first >= _FIRST_OTHER else _LETTERS_MIN


def begins(word: str, term: str) -> float:
    """Return the similarity of a term that begins with a word."""
    return 0.5 + 0.5 * len(word) / len(term)


def similarity(word: str, term: str) -> float:
    """Return how alike a word of a question and a term are, from 0 to 1; below `SIMILARITY_MIN` they are not.

    They may begin alike, the term may end in the word, the word in the term, or one may be the other mistyped.

    >>> similarity("backup", "backups") > similarity("backup", "packbackup") > SIMILARITY_MIN
    True
    >>> similarity("kubernets", "kubernetes") > SIMILARITY_MIN > similarity("cattle", "battle")
    True
    """
    if term[0] != word[0]:
        return _ending(word, term)
    best = max(_beginning(word, term), _ending(word, term))
    size = len(word)
    if best < SIMILARITY_MIN and size >= _TYPO_MIN:
        most = 1 if size < _TWO_TYPOS_MIN else 2
        typos = distance(word, term, most)
        if typos <= most:
            best = 1 - typos / size
    return best


def _beginning(word: str, term: str) -> float:
    size = len(word)
    least = max(letters_min(word), -(-6 * size // 10))
    if least > size or not term.startswith(word[:least]):
        return 0.0
    common = _common(word, term)
    if common == size:
        return begins(word, term)
    return common / size if common == len(term) else 0.9 * common / max(size, len(term))


def _ending(word: str, term: str) -> float:
    size, best = len(word), 0.0
    if term.endswith(word) and size >= letters_min(word):
        best = 0.45 + 0.5 * size / len(term)
    if word.endswith(term) and len(term) >= (_HEAD_MIN if word[0] < _FIRST_OTHER else _LETTERS_MIN_ELSEWHERE):
        best = max(best, 0.9 * len(term) / size)
    return best


def _common(word: str, term: str) -> int:
    """Count the letters that two words begin with alike."""
    for place, (one, other) in enumerate(zip(word, term, strict=False)):
        if one != other:
            return place
    return min(len(word), len(term))


def distance(word: str, term: str, most: int) -> int:
    """Count the typos between two words: letters left out, added, wrong, or swapped with the next; more than `most` as one more.

    Each letter takes part in one typo (optimal string alignment).

    >>> distance("recieve", "receive", 2), distance("abc", "xyz", 1)
    (1, 2)
    """
    if len(set(word).difference(term)) > most or len(set(term).difference(word)) > most:
        return most + 1  # each typo brings or takes one letter at most
    for typos in range(most + 1):
        if _are_within(word, term, typos):
            return typos
    return most + 1


def _are_within(word: str, term: str, typos: int) -> bool:
    """Return whether two words are at most so many typos apart."""
    if abs(len(word) - len(term)) > typos:
        return False
    if not typos or word == term:
        return word == term
    start, left = _common(word, term), typos - 1
    word, term = word[start:], term[start:]
    return (
        _are_within(word[1:], term[1:], left)
        or _are_within(word[1:], term, left)
        or _are_within(word, term[1:], left)
        or (len(word) > 1 and word[:2] == term[1::-1] and _are_within(word[2:], term[2:], left))
    )
