"""Detect: which texts may disagree, by their words alone. Both are marked; nothing is dropped or moved.

No weights are learnt: asked is whether two texts speak of the same thing, and differ in a way that cannot both be so.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

from cmc_mcp.config import Settings
from cmc_mcp.ids import Rid
from cmc_mcp.read.agree import Statement, negated_words
from cmc_mcp.read.near import Cosine
from cmc_mcp.read.subject import amounts, asks, opposites, other_subject
from cmc_mcp.read.words import stem


class Possible(NamedTuple):
    """Two texts, by their names, that may disagree: a score in (0, 1], and why in words."""

    first: Rid
    second: Rid
    score: float
    reason: str


class Sign(NamedTuple):
    """A way in which two texts differ that cannot both be so."""

    strength: float
    reason: str
    words: frozenset[str] = frozenset()  # stems that the sign itself consists of


def _opposites(mine: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    """Return the stems on both sides that are opposite to each other."""
    known = opposites()
    found = {word for x in (mine & known.keys()) - theirs for y in (known[x] & theirs) - mine for word in (x, y)}
    return frozenset(found)


def sign_of(a: Statement, b: Statement, *, is_close: bool = True) -> Sign | None:
    """Return the strongest sign that two texts cannot both be true, or None.

    Exactly one side negated; and, of texts whose vectors are close, opposite words, or numbers or dates on both sides,
    each with one that the other has not.
    """
    x, y = a.asserted, b.asserted
    prefixed = negated_words(x, y)
    if prefixed or bool(x.negations) != bool(y.negations):
        return Sign(1.0, "one of them is negated", frozenset(map(stem, prefixed)))
    if not is_close:
        return None
    pairs = _opposites(x.stems, y.stems)
    if pairs:
        return Sign(0.75, "they use opposite words", pairs)
    if x.dates - y.dates and y.dates - x.dates:
        return Sign(0.75, f"their dates differ: {_listed(x.dates - y.dates)}, {_listed(y.dates - x.dates)}")
    if x.numbers - y.numbers and y.numbers - x.numbers and amounts(x.numbers) != amounts(y.numbers):
        return Sign(0.75, f"their numbers differ: {_listed(x.numbers - y.numbers)}, {_listed(y.numbers - x.numbers)}")
    return None


def _listed(found: frozenset[str]) -> str:
    shown = sorted(found)[:3]
    return " and ".join(shown) + (" and more" if len(found) > len(shown) else "")


def same_matter(a: Statement, b: Statement, sign: Sign, settings: Settings) -> float:
    """Return how much two texts speak of the same thing, in [0, 1]: the share of content words that they have in common.

    What is denied must be said: "no man plays" denies "a man plays on stage", while "no man plays on stage" says
    nothing of "a man plays". So the words of a negated side weigh more; otherwise both sides weigh alike.
    """
    x, y = a.asserted.content - sign.words, b.asserted.content - sign.words
    common = len(x & y)
    if not common:
        return 0.0
    negated, other = (x, y) if a.asserted.negations else (y, x)
    share = settings.possible_denied_share if sign.strength == 1.0 else 0.5
    return share * common / len(negated) + (1.0 - share) * common / len(other)


def _score(a: Statement, b: Statement, cosine: float | None, settings: Settings) -> tuple[float, str]:
    """Return how likely two statements disagree if they are about one subject, and why."""
    sign = sign_of(a, b, is_close=cosine is None or cosine >= settings.possible_cosine_value)
    return (round(sign.strength * same_matter(a, b, sign, settings), 6), sign.reason) if sign else (0.0, "")


def conflict_score(a: Statement, b: Statement, cosine: float | None, settings: Settings) -> tuple[float, str]:
    """Return how likely two texts disagree, in [0, 1], and why; (0, "") when nothing says so.

    The words decide, since a negation moves a vector little and in no known direction; a cosine that is too low for the
    texts to be about one thing rules a conflict out.

    >>> score, why = conflict_score(Statement("the server is up"), Statement("the server is not up"), 0.8, Settings())
    >>> score, why
    (1.0, 'one of them is negated')
    """
    if asks(a.text) or asks(b.text) or (cosine is not None and cosine < settings.possible_cosine):
        return 0.0, ""
    score, reason = _score(a, b, cosine, settings)
    return (0.0, "") if not score or other_subject(a, b, short=settings.slots.short) else (score, reason)


def by_words(texts: Mapping[Rid, Statement], cosine: Cosine, settings: Settings) -> list[Possible]:
    """Return the pairs of texts that may disagree, each once, in the order given; vectors far apart rule a pair out."""
    out = []
    stating = [(name, text) for name, text in texts.items() if not asks(text.text)]
    for (first, a), (second, b) in combinations(stating, 2):
        near = cosine(first, second)
        if near is None or near >= settings.possible_cosine:
            score, reason = _score(a, b, near, settings)
            # the subject last: to compare it costs most
            if score >= settings.possible_min and not other_subject(a, b, short=settings.slots.short):
                out.append(Possible(first, second, score, reason))
    return out
