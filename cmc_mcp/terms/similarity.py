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
    size, common = len(word), _common(word, term)
    if common < max(letters_min(word), -(-6 * size // 10)):
        return 0.0
    if common == size:
        return begins(word, term)
    return common / size if common == len(term) else 0.9 * common / max(size, len(term))


def _ending(word: str, term: str) -> float:
    size, best = len(word), 0.0
    if size >= letters_min(word) and term.endswith(word):
        best = 0.45 + 0.5 * size / len(term)
    if len(term) >= (_HEAD_MIN if word[0] < _FIRST_OTHER else _LETTERS_MIN_ELSEWHERE) and word.endswith(term):
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

    Each letter takes part in one typo (optimal string alignment), and only places at most `most` apart are compared.

    >>> distance("recieve", "receive", 2), distance("abc", "xyz", 1)
    (1, 2)
    """
    far = most + 1
    if abs(len(word) - len(term)) > most:
        return far
    before: list[int] = []
    row = [place if place <= most else far for place in range(len(term) + 1)]
    for at, letter in enumerate(word, 1):
        two_before, before = before, row
        row = [far] * (len(term) + 1)
        row[0] = min(at, far)
        for place in range(max(1, at - most), min(len(term), at + most) + 1):
            least = min(before[place] + 1, row[place - 1] + 1, before[place - 1] + (letter != term[place - 1]))
            if at > 1 and place > 1 and letter == term[place - 2] and word[at - 2] == term[place - 1]:
                least = min(least, two_before[place - 2] + 1)
            row[place] = min(least, far)
        if min(row) >= far:
            return far
    return row[-1]
