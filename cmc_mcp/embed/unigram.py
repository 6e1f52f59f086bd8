"""The likeliest pieces of a text by a SentencePiece vocabulary (Kudo, ACL 2018): text in, numbers out, nothing kept.

Its own few lines, since ``tokenizers`` takes 200 MB for a vocabulary of 250,000 pieces, and keeps words that it has seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from unicodedata import normalize

SPACE: Final = "\u2581"
"""Stands at the beginning of every word."""
_UNKNOWN: Final = -10.0
"""The score of an unknown character, from the lowest of the vocabulary."""
_COMPOSED: Final = re.compile(".[\u0300-\u036f\u3099\u309a]{1,8}|[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?")
"""Letters with their marks, and syllables written as letters; bounded, since NFC takes a minute for a text of marks."""


class Unigram:
    """A vocabulary: its pieces, each with a score, the logarithm of how likely it is. Safe for several threads.

    `special` are pieces that no text may name; `folded` says what single characters are read as.

    >>> small = Unigram(["<unk>", "▁", "▁read", "read", "able", "a"], [0, -5, -3, -4, -3, -6], unknown=0, special={0})
    >>> small.encode("readable read"), small.encode("<unk>")
    ([2, 4, 2], [1, 0])
    """

    def __init__(
        self, pieces: Sequence[str], scores: Iterable[float], *, unknown: int, special: Iterable[int] = (),
        folded: Mapping[int, str] | None = None,
    ) -> None:  # fmt: skip
        left_out = frozenset(special)
        self._scores = list(scores)
        self._ids = {piece: number for number, piece in enumerate(pieces) if number not in left_out}
        self._longest: dict[str, int] = {}
        for piece in self._ids:
            self._longest[piece[0]] = max(self._longest.get(piece[0], 0), len(piece))
        self._unknown = unknown
        self._unknown_score = min(self._scores) + _UNKNOWN
        self._folded = dict(folded or {})

    def encode(self, text: str) -> list[int]:
        """Return the numbers of the pieces of a text, without marks at its ends."""
        if not text.isascii():
            text = _COMPOSED.sub(lambda found: normalize("NFC", found[0]), text)
        ids: list[int] = []
        for word in text.translate(self._folded).replace(SPACE, " ").split():
            ids += self._word(SPACE + word)
        return ids

    def _word(self, word: str) -> list[int]:
        """Find the pieces of the highest sum of scores, by the best way to each place of a word."""
        ids, scores, size = self._ids, self._scores, len(word)
        best = [0.0] + [-float("inf")] * size
        way = [(0, self._unknown)] * (size + 1)
        for start in range(size):
            so_far = best[start]
            if so_far + self._unknown_score > best[start + 1]:
                best[start + 1], way[start + 1] = so_far + self._unknown_score, (start, self._unknown)
            for end in range(start + 1, min(size, start + self._longest.get(word[start], 0)) + 1):
                number = ids.get(word[start:end])
                if number is not None and so_far + scores[number] > best[end]:
                    best[end], way[end] = so_far + scores[number], (start, number)
        found: list[int] = []
        place = size
        while place:
            place, number = way[place]
            if number != self._unknown or found[-1:] != [number]:  # unknown neighbours are one piece
                found.append(number)
        return found[::-1]
