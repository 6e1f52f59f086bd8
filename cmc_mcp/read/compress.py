"""Compress: the sentences of one text that say most, and most for the question, in their order. No model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from cmc_mcp.config import Compress
from cmc_mcp.model.results import Item
from cmc_mcp.model.sentences import sentences

Level = Literal["full", "detailed", "brief", "reference"]

LEVELS: Final[tuple[Level, ...]] = ("full", "detailed", "brief", "reference")
ELLIPSIS: Final = "…"
PROSE: Final = frozenset({"text", "event", "tool:call", "tool:result"})

_CONSTANTS: Final = Compress()
_DAY_US: Final = 86_400_000_000
_FENCE: Final = re.compile(r"^ {0,3}(?P<mark>`{3,}|~{3,})[^\n]*(?:\n|\Z)", re.MULTILINE)
_ROW: Final = re.compile(r"\n(?=[ \t]*\|)|(?<=\|)[ \t]*+\n")
_LINE: Final = re.compile(r"(?<=[^\w\s])[ \t]*+\n|\n(?=[ \t]*[^\w\s])")
# A mark that opens what follows says nothing without it: "1.", "#### 2.", "-"
_OPENER: Final = re.compile(r"[#>\s]*+(?:[-*+•]|\d{1,3}[.)])?+\s*+")
_WORDS_AT_LEAST: Final = 3
_TOKEN_CHARS_MAX: Final = 16  # more than the tokens of prose have
_MARK_TOKENS: Final = 2  # of an ellipsis and the space or line end beside it
_HEADING_TOKENS: Final = 8  # of what a heading says of an excerpt
_UNIT_CHARS_MAX: Final = 480  # a longer one is cut at line ends too


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


def units(text: str) -> list[tuple[int, int]]:
    """Return the units that are kept or left as a whole, as character spans in order: a sentence, a row of a table, a code fence.

    A very long sentence is cut at line ends too, but never between a letter or digit and another.

    >>> text = "Pi is 3.14.\\n```py\\na. B\\n```\\n1. Use it."
    >>> [text[start:end] for start, end in units(text)]
    ['Pi is 3.14.', '```py\\na. B\\n```', '1. Use it.']
    """
    out: list[tuple[int, int]] = []
    at = 0
    for start, end in _fences(text):
        out += _prose(text, at, start)
        out.append((start, end))
        at = end
    return out + _prose(text, at, len(text))


def _fences(text: str) -> list[tuple[int, int]]:
    """Find fenced code; a fence that is not closed goes to the end. Source: CommonMark 0.31, §4.5."""
    out: list[tuple[int, int]] = []
    opened: re.Match[str] | None = None
    for match in _FENCE.finditer(text):
        mark = match["mark"]
        if opened is None:
            opened = match
        elif mark[0] == opened["mark"][0] and len(mark) >= len(opened["mark"]) and match[0].strip() == mark:
            out.append((opened.start(), match.start() + len(match[0].rstrip())))
            opened = None
    if opened is not None:
        out.append((opened.start(), opened.start() + len(text[opened.start() :].rstrip())))
    return out


def _prose(text: str, start: int, end: int) -> list[tuple[int, int]]:
    part = text[start:end]
    spans: list[tuple[int, int]] = []
    for a, b in sentences(part):
        cut = _cut(part, a, b, _ROW) if "|" in part[a:b] else [(a, b)]
        for c, d in cut:
            spans += _cut(part, c, d, _LINE) if d - c > _UNIT_CHARS_MAX else [(c, d)]
    return [(start + a, start + b) for a, b in _joined(part, spans)]


def _cut(text: str, start: int, end: int, at: re.Pattern[str]) -> list[tuple[int, int]]:
    cuts = [start, *(match.end() for match in at.finditer(text, start, end)), end]
    intervals = [(a, a + len(text[a:b].rstrip())) for a, b in pairwise(cuts)]
    return [(a, b) for a, b in intervals if a < b]


def _joined(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join the opening of a list item or heading to what it opens."""
    out: list[tuple[int, int]] = []
    opens = False
    for start, end in spans:
        if opens:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
        opens = _OPENER.fullmatch(text, *out[-1]) is not None
    return out


class Outline:
    """A text cut into units that are scored for a question, from which excerpts of any size are made.

    A unit (see `units`) counts by how central it is and by how much of the question it holds, in the shares 1 -
    `constants.match` and `constants.match`. `words` gives the stems of a text, `question` those of the question, `original`
    the text's own count where it is known.

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
    ) -> None:
        self.text, self._count, self._constants = text, count, constants
        self.tokens = count(text) if original is None else original
        self._spans = units(text)
        scores = _scores(
            [dict.fromkeys(words(text[start:end])) for start, end in self._spans], question, constants.match
        )
        self._order = sorted(range(len(self._spans)), key=lambda unit: (-scores[unit], unit))
        self._sizes: dict[int, int] = {}

    def excerpt(self, target: int) -> Excerpt:
        """Keep what says most in at most `target` tokens, or one unit where none is so short; never more than the text.

        The order is kept, and what is left out is marked with "…".
        """
        whole = Excerpt(self.text, "full", self.tokens, self.tokens)
        if self.tokens <= target or len(self._spans) < 2:
            return whole
        kept = self._kept(target)
        made = _written(self.text, self._spans, sorted(kept))
        tokens = self._count(made)
        while tokens > target and len(kept) > 1:
            kept.pop()
            made = _written(self.text, self._spans, sorted(kept))
            tokens = self._count(made)
        if tokens >= self.tokens:
            return whole
        return Excerpt(made, named_level(tokens, self.tokens, self._constants), tokens, self.tokens)

    def _kept(self, target: int) -> list[int]:
        """Choose units, best first: each that still fits with the marks beside it; the shortest when none fits."""
        kept: list[int] = []
        used = _MARK_TOKENS
        for unit in self._order:
            if used + _MARK_TOKENS >= target:
                break
            tokens = self._size(unit, target) + _MARK_TOKENS * (unit - 1 not in kept)
            if used + tokens <= target:
                kept.append(unit)
                used += tokens
        return kept or [min(self._order, key=lambda unit: self._spans[unit][1] - self._spans[unit][0])]

    def _size(self, unit: int, target: int) -> int:
        """Count a unit once; one that is far too long for the target is not counted, since counting is what costs."""
        start, end = self._spans[unit]
        if end - start > _TOKEN_CHARS_MAX * target:
            return target
        if unit not in self._sizes:
            self._sizes[unit] = self._count(self.text[start:end])
        return self._sizes[unit]


def compress(
    text: str,
    target: int,
    count: Callable[[str], int],
    words: Callable[[str], Collection[str]],
    question: Collection[str] = (),
    constants: Compress = _CONSTANTS,
) -> Excerpt:
    """Compress one text to a target in tokens; see `Outline`.

    >>> text = "It rained all day and all night. The code is 42. Bye for now, my dear friend."
    >>> compress(text, 9, lambda s: len(s.split()), str.split, ["code"]).text
    '… The code is 42. …'
    >>> compress(text, 99, lambda s: len(s.split()), str.split, ["code"]).text == text
    True
    """
    return Outline(text, count, words, question, constants).excerpt(target)


def _scores(bags: Sequence[dict[str, None]], question: Collection[str], match_weight: float) -> list[float]:
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
    asked = {word: rarity[word] for word in question if word in rarity}
    match = [sum([weight for word, weight in asked.items() if word in bag]) for bag in bags]
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

    Only prose is cut: text, events and what tools gave. Code is given whole or not at all.
    """

    def __init__(
        self,
        question: Collection[str],
        words: Callable[[str], Collection[str]],
        count: Callable[[str], int],
        level: Callable[[Item], Level],
        constants: Compress,
    ) -> None:
        self._question, self._words, self._count, self._level = question, words, count, level
        self._constants = constants
        self._made: dict[str, tuple[Outline, int]] = {}

    def shortened(self, whole: Item, tokens: int, share: int, budget: int) -> Item:
        """Cut the text to the least of the share, what its age and priority keep, and the budget.

        But `passage_tokens` of it are always given where the budget has them. `tokens` are those of the whole item, its
        heading included.
        """
        constants = self._constants
        if whole.modality not in PROSE or tokens <= constants.passage_tokens:
            return whole
        original = self._count(whole.text)
        heading = max(0, tokens - original) + _HEADING_TOKENS
        kept = share_of(self._level(whole), constants)
        target = max(constants.passage_tokens, min(share - heading, int(kept * original)))
        target = min(target, budget - heading)
        if original <= max(target, constants.passage_tokens) or target <= 0:
            return whole
        outline = Outline(whole.text, self._count, self._words, self._question, constants, original)
        return self._item(whole, outline, target)

    def widened(self, whole: Item, room: int) -> Item:
        """Return `room` tokens more of what was shortened."""
        outline, target = self._made[whole.id]
        return self._item(whole, outline, target + room)

    def _item(self, whole: Item, outline: Outline, target: int) -> Item:
        made = outline.excerpt(target)
        self._made[whole.id] = (outline, made.tokens)
        if made.level == "full":
            return whole
        return whole.model_copy(update={"text": made.text, "level": made.level, "original_tokens": made.original})
