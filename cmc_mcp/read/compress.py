"""Compress: the sentences of one text that say most, and most for the question, in their order. No model."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from cmc_mcp.config import Compress
from cmc_mcp.model.modality import BINARY
from cmc_mcp.model.patterns import late
from cmc_mcp.model.results import Item
from cmc_mcp.read.units import UNSPACED, pieces, units

Level = Literal["full", "detailed", "brief", "reference"]

LEVELS: Final[tuple[Level, ...]] = ("full", "detailed", "brief", "reference")
ELLIPSIS: Final = "…"

_CONSTANTS: Final = Compress()
_DAY_US: Final = 86_400_000_000
_WORDS_AT_LEAST: Final = 3
_TOKEN_CHARS_MAX: Final = 16  # more than the tokens of prose have
_MARK_TOKENS: Final = 2  # of an ellipsis and the space or line end beside it
_HEADING_TOKENS: Final = 8  # of what a heading says of an excerpt
_WINDOW_TOKENS_MIN: Final = 8  # of a window in a unit, whatever the target
_WINDOW_PIECES: Final = (48, 16, 6)  # characters of what a window is made of
_WINDOW_STEPS: Final = 2  # so many pieces a window has room for, where smaller ones make it so
_PLACED_CHARS_MIN: Final = 4
_PLACES_MAX: Final = 16  # of one word of the question in one text
_GRAM_WEIGHT: Final = 0.5
_GRAMS_MAX: Final = 64
_UNSPACED: Final = late(f"[{UNSPACED}]{{2,}}")


Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What compressing leaves of a text: `tokens` of its `original` ones."""

    text: str
    level: Level
    tokens: int
    original: int


def level_of(age_us: int, priority: float, constants: Compress) -> Level:
    """Choose how much of a memory of this age (microseconds) and priority (0 to 1) is kept where room is short.

    Source: docs/design/scores.md §8.

    >>> level_of(8 * 86_400_000_000, 0.5, Compress()), level_of(8 * 86_400_000_000, 0.9, Compress())
    ('detailed', 'full')
    """
    days = constants.days_important if priority >= constants.important else constants.days
    return LEVELS[sum(age_us >= limit * _DAY_US for limit in days)]


def share_of(level: Level, constants: Compress) -> float:
    """Return the share of the tokens that a level keeps."""
    return constants.shares[LEVELS.index(level)]


def named_level(tokens: int, original: int, constants: Compress) -> Level:
    """Return the level of `tokens` out of `original`: the least whose share is not smaller.

    >>> [named_level(tokens, 100, Compress()) for tokens in (15, 30, 41, 99, 100)]
    ['reference', 'brief', 'detailed', 'detailed', 'full']
    """
    if tokens >= original:
        return "full"
    for level in ("reference", "brief"):
        if tokens <= share_of(level, constants) * original:
            return level
    return "detailed"


class Outline:
    """A text cut into units that are scored for a question, from which excerpts of any size are made.

    A unit (see `units`) counts by how central it is and by how much of the question it holds, in the shares 1 -
    `constants.match` and `constants.match`. `words` returns the stems of a text, `question` holds those of the question,
    `original` the text's own count where that is known.

    Centrality is the mean cosine of a unit to all of them: degree centrality in LexRank (Erkan and Radev 2004).
    """

    def __init__(
        self,
        text: str,
        count: Callable[[str], int],
        words: Callable[[str], Collection[str]],
        question: Collection[str] = (),
        constants: Compress = _CONSTANTS,
        original: int | None = None,
        *,
        code: bool = False,
    ) -> None:
        self.text, self._count, self._words, self._constants = text, count, words, constants
        self.tokens = count(text) if original is None else original
        self._asked = _Asked(question)
        spans = units(text, code=code)
        bags = [dict.fromkeys(words(text[start:end])) for start, end in spans]
        self._places = self._asked.places(text, bags)
        self._spans = _whole(spans, self._places)
        if len(self._spans) < len(spans):
            bags = [dict.fromkeys(words(text[start:end])) for start, end in self._spans]
        match = self._matches(bags)
        scores = _scores(bags, match, constants.match)
        self._order = sorted(range(len(scores)), key=lambda unit: (-scores[unit], unit))
        if any(match):
            answer = max(self._order, key=lambda unit: match[unit])  # of equals the first, which scores best
            self._order.remove(answer)
            self._order.insert(0, answer)
        self._sizes: dict[int, int] = {}

    def excerpt(self, target: int) -> Excerpt:
        """Keep what says most in at most `target` tokens: the unit that answers before any other, else a window in it.

        The order is kept, and what is left out is marked with "…". The excerpt is never longer than the text; where the
        target is too small for anything, it has a few words.
        """
        whole = Excerpt(self.text, "full", self.tokens, self.tokens)
        if self.tokens <= target or not self._spans:
            return whole
        kept, gone = self._kept(target), 1
        made = self._made(kept, target)
        tokens = self._count(made)
        while tokens > target and len(kept) > 1:
            del kept[-min(gone, len(kept) - 1) :]
            gone *= 2  # counting the whole again is what costs
            made = self._made(kept, target)
            tokens = self._count(made)
        if tokens >= self.tokens:
            return whole
        return Excerpt(made, named_level(tokens, self.tokens, self._constants), tokens, self.tokens)

    def window(self, target: int) -> str:
        """Return what stands around the best match in at most `target` tokens, wherever units end.

        It is for texts that no answer holds: never more than the target, if only the mark for what is left out.
        """
        if self.tokens <= target:
            return self.text
        if not self._spans:
            return ELLIPSIS
        best, reach = self._spans[self._order[0]], _TOKEN_CHARS_MAX * target
        first = bisect_left(self._spans, (best[0] - reach,))
        last = bisect_left(self._spans, (best[1] + reach,)) - 1
        around = self._spans[first][0], self._spans[last][1]
        room = target - 2 * _MARK_TOKENS
        per_char = _WINDOW_STEPS * self.tokens / len(self.text)
        sizes = [size for size in _WINDOW_PIECES if size * per_char <= room]
        made = self._window(best, around, room, (*sizes, 1))
        return made if self._count(made) <= target else ELLIPSIS

    def _made(self, kept: Sequence[int], target: int) -> str:
        if kept:
            return _written(self.text, self._spans, sorted(kept))
        unit = self._spans[self._order[0]]
        return self._window(unit, unit, max(target - 2 * _MARK_TOKENS, _WINDOW_TOKENS_MIN), _WINDOW_PIECES)

    def _kept(self, target: int) -> list[int]:
        """Choose units, best first: each that still fits with the marks beside it; none where the best does not."""
        kept: dict[int, None] = {}
        used = _MARK_TOKENS
        for unit in self._order:
            if used + _MARK_TOKENS >= target:
                break
            tokens = self._size(unit, target) + _MARK_TOKENS * (unit - 1 not in kept)
            if used + tokens <= target:
                kept[unit] = None
                used += tokens
            elif not kept:
                break
        return list(kept)

    def _size(self, unit: int, target: int) -> int:
        """Count a unit once; one that is far too long for the target is not counted, since counting is what costs."""
        start, end = self._spans[unit]
        if end - start > _TOKEN_CHARS_MAX * target:
            return target
        if unit not in self._sizes:
            self._sizes[unit] = self._count(self.text[start:end])
        return self._sizes[unit]

    def _matches(self, bags: Sequence[dict[str, None]]) -> list[float]:
        """Return how much of the question each unit holds: its words by their rarity here, and what only its letters show."""
        match = _weighed(bags, self._asked.words)
        rarity = math.log(1 + len(bags))
        for start, end in self._places:
            for unit in range(bisect_left(self._spans, (start + 1,)) - 1, len(self._spans)):
                a, b = self._spans[unit] if unit >= 0 else (0, 0)
                if a >= end:
                    break
                match[unit] += rarity * (b > start)
        for gram in self._asked.grams:
            holding = [unit for unit, (a, b) in enumerate(self._spans) if self.text.find(gram, a, b) >= 0]
            weight = _GRAM_WEIGHT * math.log((1 + len(bags)) / max(1, len(holding)))
            for unit in holding:
                match[unit] += weight
        return match

    def _window(self, unit: Span, around: Span, room: int, sizes: Sequence[int]) -> str:
        """Return what stands around the best match in a unit: pieces of one of these sizes, as many as have room."""
        places = self._asked.written(self.text, *unit)
        found: list[Span] = []
        size = best = 0
        for size in sizes:
            if size == 1:  # a word of the question may by itself be too long
                places = [place for place in places if self._count(self.text[slice(*place)]) <= room]
            found = _whole(pieces(self.text, *unit, size), places)
            best = self._best(found, places)
            if self._count(self.text[slice(*found[best])]) <= room:
                break
        before = pieces(self.text, around[0], unit[0], size)
        found = [*before, *found, *pieces(self.text, unit[1], around[1], size)]
        first = last = best = best + len(before)
        used = self._count(self.text[slice(*found[best])])
        grows = [True, True]
        while any(grows):
            for side, place in ((0, last + 1), (1, first - 1)):
                tokens = self._count(self.text[slice(*found[place])]) + 1 if 0 <= place < len(found) else room + 1
                grows[side] = grows[side] and used + tokens <= room
                if grows[side]:
                    used += tokens
                    first, last = min(first, place), max(last, place)
        while last > first and self._count(self.text[found[first][0] : found[last][1]]) > room:
            first, last = (first, last - 1) if last > best else (first + 1, last)
        a, b = found[first][0], found[last][1]
        left, right = self.text[:a], self.text[b:]
        opening = ELLIPSIS + _gap(left[-2:]) if left and not left.isspace() else ""
        return opening + self.text[a:b] + (_gap(right[:2]) + ELLIPSIS if right and not right.isspace() else "")

    def _best(self, found: Sequence[tuple[int, int]], places: Sequence[tuple[int, int]]) -> int:
        """Return the piece that holds most of the question, the first of equals."""
        own = _weighed([dict.fromkeys(self._words(self.text[a:b])) for a, b in found], self._asked.words)
        for place, (a, b) in enumerate(found):
            own[place] += sum(s < b and a < e for s, e in places)
            own[place] += _GRAM_WEIGHT * sum(self.text.find(gram, a, b) >= 0 for gram in self._asked.grams)
        wide = [(mine + (sum(own[max(0, n - 1) : n + 2]) - mine) / 2) * (mine > 0) for n, mine in enumerate(own)]
        return max(range(len(found)), key=lambda place: (wide[place], -place))


class _Asked:
    """The words of a question: as stems, as they are written, and in scripts without spaces as runs of letters."""

    def __init__(self, question: Collection[str]) -> None:
        self.words = list(question)
        written = question.values() if isinstance(question, Mapping) else question
        self._written = dict(zip(self.words, [str(word).lower() for word in written], strict=True))
        runs = [run for word in self._written.values() for run in _UNSPACED().findall(word)]
        self.grams = list(dict.fromkeys(run[n : n + 2] for run in runs for n in range(len(run) - 1)))[:_GRAMS_MAX]

    def places(self, text: str, bags: Sequence[Collection[str]]) -> list[tuple[int, int]]:
        """Return where words of the question stand inside words of the text: within a key, a code, a path."""
        held = {word for bag in bags for word in self.words if word in bag}
        return self.written(text, 0, len(text), held)

    def written(self, text: str, start: int, end: int, but: Collection[str] = ()) -> list[tuple[int, int]]:
        """Return where words of the question, but for some, are written in a span of a text, in order."""
        lower = text[start:end].lower()
        out: list[tuple[int, int]] = []
        if len(lower) != end - start:
            return out
        for word in (word for stem, word in self._written.items() if stem not in but):
            if len(word) < _PLACED_CHARS_MIN and word.isascii() and not word.isdigit():
                continue  # chance has it anywhere
            at, found = lower.find(word), 0
            while at >= 0 and found < _PLACES_MAX:
                out.append((start + at, start + at + len(word)))
                at, found = lower.find(word, at + 1), found + 1
        return sorted(out)


def _whole(spans: Sequence[tuple[int, int]], places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join the units that a cut parts within a place."""
    out = list(spans)
    for start, end in reversed(places):
        first = max(0, bisect_left(out, (start + 1,)) - 1)
        last = bisect_left(out, (end,)) - 1
        if first < last and out[first][1] > start:
            out[first : last + 1] = [(out[first][0], out[last][1])]
    return out


def compress(
    text: str,
    target: int,
    count: Callable[[str], int],
    words: Callable[[str], Collection[str]],
    question: Collection[str] = (),
) -> Excerpt:
    """Compress one text to a target in tokens; see `Outline`.

    >>> text = "It rained all day and all night. The code is 42. Bye for now, my dear friend."
    >>> compress(text, 9, lambda s: len(s.split()), str.split, ["code"]).text
    '… The code is 42. …'
    >>> compress(text, 99, lambda s: len(s.split()), str.split, ["code"]).text == text
    True
    """
    return Outline(text, count, words, question).excerpt(target)


def _weighed(bags: Sequence[dict[str, None]], question: Collection[str]) -> list[float]:
    """Add up the rarity of the question's words in each unit."""
    found = Counter(word for bag in bags for word in question if word in bag)
    asked = {word: math.log((1 + len(bags)) / found[word]) for word in question if word in found}
    return [sum([weight for word, weight in asked.items() if word in bag]) for bag in bags]


def _scores(bags: Sequence[dict[str, None]], match: Sequence[float], match_weight: float) -> list[float]:
    """Score units by centrality and match, both from 0 to 1."""
    found = Counter(word for bag in bags for word in bag)
    rarity = {word: math.log((1 + len(bags)) / n) for word, n in found.items()}
    centre: dict[str, float] = dict.fromkeys(found, 0.0)
    scales: list[float] = []
    for bag in bags:
        norm = math.sqrt(sum([rarity[word] ** 2 for word in bag]))
        scales.append(1.0 / norm if norm else 0.0)
        for word in bag:
            centre[word] += rarity[word] * scales[-1]
    pull = {word: rarity[word] * weight for word, weight in centre.items()}
    central = [
        scale * sum([pull[word] for word in bag]) * min(1.0, len(bag) / _WORDS_AT_LEAST)
        for bag, scale in zip(bags, scales, strict=True)
    ]
    best, top = max(central, default=0.0) or 1.0, max(match, default=0.0) or 1.0
    return [
        round((1 - match_weight) * c / best + match_weight * m / top, 6) for c, m in zip(central, match, strict=True)
    ]


def _written(text: str, spans: Sequence[tuple[int, int]], kept: Sequence[int]) -> str:
    """Write the kept units with the space that was between them, or the mark for what is left out."""
    out = [] if kept[0] == 0 else [ELLIPSIS + _gap(text[: spans[kept[0]][0]])]
    for here, following in pairwise(kept):
        start, end = spans[here]
        between = text[end : spans[following][0]]
        out += [text[start:end], between if following == here + 1 else _gap(between) + ELLIPSIS + _gap(between)]
    start, end = spans[kept[-1]]
    out.append(text[start:end])
    if kept[-1] != len(spans) - 1:
        out.append(_gap(text[end:]) + ELLIPSIS)
    return "".join(out)


def _gap(between: str) -> str:
    return "\n" if "\n" in between else " "


class Passages:
    """Excerpts of memories for one question: what `read/fit.py` shortens with.

    Whatever has a text can be cut, code at its lines. `level` says how much of a memory is kept where room is short;
    without it none is shortened that an answer could hold.
    """

    def __init__(
        self,
        question: Collection[str],
        words: Callable[[str], Collection[str]],
        count: Callable[[str], int],
        level: Callable[[Item], Level] | None = None,
        constants: Compress = _CONSTANTS,
    ) -> None:
        self.constants = constants
        self._question, self._words, self._count, self._level = question, words, count, level
        self._outlines: dict[str, Outline] = {}
        self._made: dict[str, int] = {}  # tokens of the last excerpt

    def shortened(self, whole: Item, tokens: int, share: int, budget: int) -> Item:
        """Cut the text to the least of the share, what its age and priority keep, and the budget.

        But at least `passage_tokens` of the text are kept, or half of the budget if that is less. `tokens` are those of
        the whole item, its heading included.
        """
        constants = self.constants
        least = min(constants.passage_tokens, budget // 2)
        if self._level is None or whole.modality in BINARY or tokens <= min(constants.passage_tokens, budget):
            return whole
        original = self._count(whole.text)
        heading = max(0, tokens - original) + _HEADING_TOKENS
        kept = share_of(self._level(whole), constants)
        target = max(least, min(share - heading, int(kept * original)))
        target = min(target, budget - heading)
        if target <= 0 or (tokens <= budget and original <= max(target, constants.passage_tokens)):
            return whole
        return self._item(whole, self._outline(whole, original), target)

    def widened(self, whole: Item, room: int) -> Item:
        """Return `room` tokens more of what was shortened."""
        return self._item(whole, self._outline(whole), self._made[whole.id] + room)

    def window(self, whole: Item, target: int) -> str:
        """Return at most `target` tokens of a text that no answer holds."""
        return self._outline(whole).window(target)

    def _outline(self, whole: Item, original: int | None = None) -> Outline:
        outline = self._outlines.get(whole.id)
        if outline is None:
            outline = self._outlines[whole.id] = Outline(
                whole.text, self._count, self._words, self._question, self.constants, original,
                code=whole.modality == "code",
            )  # fmt: skip
        return outline

    def _item(self, whole: Item, outline: Outline, target: int) -> Item:
        made = outline.excerpt(target)
        self._made[whole.id] = made.tokens
        if made.level == "full":
            return whole
        return whole.model_copy(update={"text": made.text, "level": made.level, "original_tokens": made.original})
