"""Rank: normalised scores of words and meaning, summed with what the place of a passage says, by kind of passage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from cmc_mcp.config import Settings, Weights
from cmc_mcp.ids import Pid, Rid
from cmc_mcp.model.traits import (
    CHARS_MAX,
    CHARS_SHIFT,
    FIRST_YEAR_SHIFT,
    HEADING_SHIFT,
    LAST_YEAR_SHIFT,
    MONTH_BITS,
    MONTH_SHIFT,
    PERSON,
    YEAR_BITS,
    year_code,
)
from cmc_mcp.read.clues import Clues
from cmc_mcp.store.rows import MODALITIES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.index.matrix import Described

    Floats = npt.NDArray[np.float64]
    Rids = npt.NDArray[np.int64]

_CODE: Final = MODALITIES.index("code")
_ASSISTANT: Final = 1
_NOTE, _DOCUMENT, _TURN, _CHAT, _CODE_KIND = range(5)
_POOLED: Final = 3  # the best of a source or session that are pooled
_LENGTH_FULL: Final = 6.0  # ln(1 + characters) at which length counts in full: about 400
_YEAR_MASK: Final = (1 << YEAR_BITS) - 1
PARTS: Final = (
    "named", "question", "length", "own", "assistant", "heading", "years", "month", "linked", "above", "pool", "phrase",
)  # fmt: skip
"""The parts of a score beside words and meaning, in the order of `Hit.parts`."""


class Hit(NamedTuple):
    """A candidate and the parts of its score."""

    rid: Rid
    score: float
    dense: float
    lexical: float
    parts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """The divisors of scores: the best of each kind (of words, at least a share of a perfect match).

    So a score does not depend on how many were asked for, but that `sure` is of the first block alone.
    """

    cosine: float
    bm25: float
    sure: float = 1.0  # how much of the question the best passage holds, as a part of what words need to count in full
    unread: float = 0.0  # the share of the question that the model does not read


@dataclass(slots=True)
class Pool:
    """The mean score of the best of each source and session, among the first candidates."""

    origins: dict[Pid, float] = field(default_factory=dict)

    @classmethod
    def of(cls, origins: Rids, scores: Floats, depth: int) -> Pool:
        """Average the scores of the best three of each origin."""
        import numpy as np

        best: dict[Pid, list[float]] = {}
        for place in np.argsort(-scores, kind="stable")[:depth].tolist():
            of_origin = best.setdefault(Pid(int(origins[place])), [])
            if len(of_origin) < _POOLED:
                of_origin.append(float(scores[place]))
        return cls({origin: sum(found) / len(found) for origin, found in best.items() if origin})


class Candidacy:
    """The features of some candidates, one row each, and their scores. Rows are in the order of `rids`, ascending."""

    def __init__(self, rids: Rids, known: Described, settings: Settings) -> None:
        import numpy as np

        self.rids, self._known, self._settings = rids, known, settings
        traits = known.traits
        self.turn = (traits & 1).astype(np.bool_)
        role = traits >> 1 & 3
        kind = np.where(self.turn, np.where(role == PERSON, _TURN, _CHAT), np.where(known.origin > 0, _DOCUMENT, _NOTE))
        self._kind = np.where(known.modality == _CODE, _CODE_KIND, kind)
        self._weights = _table(settings)[self._kind]
        self._role = role
        self.extra: dict[str, Floats] = {}

    def weight(self, name: str) -> Floats:
        """Return one weight for each candidate, by its kind."""
        column: Floats = self._weights[:, _COLUMNS[name]]
        return column

    def context(self, lengths: Floats) -> Floats:
        """Return the share of a neighbour's words that counts for each: less for a longer passage. Lengths are in tokens."""
        return self.weight("context") * self._shortness(lengths)

    def held(self, shares: Floats, lengths: Floats) -> Floats:
        """Return what is added for the share of the question's words that each holds: of a short one, the square counts.

        A vector says little of a long text, as its model reads the beginning alone; so there every word counts.
        """
        short = self._shortness(lengths)
        return self.weight("held") * shares * (1.0 - short * (1.0 - shares))

    def _shortness(self, lengths: Floats) -> Floats:
        import numpy as np

        return np.minimum(1.0, self._settings.context_tokens / np.maximum(lengths, 1.0))

    def add(
        self, clues: Clues, lengths: Floats, holds_year: npt.NDArray[np.bool_], concerned: npt.NDArray[np.bool_]
    ) -> None:
        """Add the share of traits and clues to each score.

        `concerned` is set where a speaker whom the question names is named, or speaks beside.
        """
        import numpy as np

        traits, extra = self._known.traits, self.extra
        chars = (traits >> CHARS_SHIFT & CHARS_MAX).astype(np.float64)
        named = (
            np.isin(self._known.speaker, np.array(sorted(clues.named), np.int64))
            if clues.named
            else np.zeros(len(traits))
        )
        unnamed = 1.0 - np.maximum(named, concerned) if clues.named else np.zeros(len(traits))
        extra["named"] = self.weight("named") * named - self.weight("unnamed") * unnamed
        extra["question"] = -self.weight("question") * (traits >> 3 & 1) * self._shortness(lengths)
        extra["length"] = self.weight("length") * (np.minimum(1.0, np.log1p(chars) / _LENGTH_FULL) - 1.0)
        extra["own"] = self.weight("own") * ((traits >> 4 & 1) - 1) * self._shortness(lengths)
        extra["assistant"] = -self.weight("assistant") * (self._role == _ASSISTANT)
        extra["heading"] = -self.weight("heading") * (traits >> HEADING_SHIFT & 1)
        extra["years"] = self.weight("years") * self._years(clues, holds_year)
        extra["month"] = self.weight("month") * self._month(clues)

    def _years(self, clues: Clues, holds: npt.NDArray[np.bool_]) -> Floats:
        """Return 1 for a passage that names a year asked about, a half for one whose years span the time."""
        import numpy as np

        if clues.years is None:
            return np.zeros(len(self.rids))
        low, high = (year_code(year) for year in clues.years)
        first = self._known.traits >> FIRST_YEAR_SHIFT & _YEAR_MASK
        last = self._known.traits >> LAST_YEAR_SHIFT & _YEAR_MASK
        inside = holds | ((low <= first) & (first <= high)) | ((low <= last) & (last <= high))
        around = (first > 0) & (first <= low) & (last >= high)
        return np.where(inside, 1.0, np.where(around, 0.5, 0.0))

    def _month(self, clues: Clues) -> Floats:
        import numpy as np

        code = self._known.traits >> MONTH_SHIFT & (1 << MONTH_BITS) - 1
        if not clues.months:
            return np.zeros(len(self.rids))
        hits = (code > 0) & np.isin(code % 12 + 1, np.array(sorted(clues.months)))
        if clues.years is not None:
            low, high = (year_code(year) for year in clues.years)
            hits &= (code // 12 >= low) & (code // 12 <= high)
        return hits.astype(np.float64)

    def match(self, cosines: Floats, words: Floats, scale: Scale) -> tuple[Floats, Floats, Floats]:
        """Return the sum of both scores, each divided by its scale, and the two scores.

        Adding scores beat adding reciprocal ranks by .03 (CombSUM; Fox and Shaw, 1994), measured in
        `docs/recall.md`.
        """
        import numpy as np

        near, word, share = np.zeros(len(words)), np.zeros(len(words)), np.ones(len(words))
        if scale.cosine > 0:
            has = ~np.isnan(cosines)
            near = np.where(has, np.maximum(cosines, 0.0), 0.0) / scale.cosine
            # one score alone is the whole, for a question as for a memory without a vector
            sure = scale.sure ** self.weight("sureness") if scale.bm25 > 0 else 0.0
            share = self.weight("lexical") * sure
            # what the model does not read it cannot tell apart: there meaning only orders what words leave equal
            share = np.where(has, share + scale.unread * (self._settings.lexical_unread - share), 1.0)
        if scale.bm25 > 0:
            word = words / scale.bm25
        return share * word + (1.0 - share) * near, near, word

    def note(self, name: str, values: Mapping[Rid, float]) -> None:
        """Add to the scores of some candidates, by record number."""
        import numpy as np

        found = (values.get(rid, 0.0) for rid in self.rids.tolist())
        self.extra[name] = np.fromiter(found, np.float64, len(self.rids))

    def pooled(self, pool: Pool) -> None:
        """Add the share of the best candidates of the same source or session."""
        import numpy as np

        sums = (pool.origins.get(origin, 0.0) for origin in self._known.group.tolist())
        self.extra["pool"] = self.weight("pool") * np.fromiter(sums, np.float64, len(self.rids))

    def placed(self, above: Mapping[Rid, float], weight: float) -> None:
        """Take off what stands below none of the nearest sections, among what stands below any.

        So sections order what they hold, and put nothing before a memory that has no place in any.
        """
        import numpy as np

        nearest = max(above.values(), default=0.0)
        if nearest > 0:
            found = (above.get(rid, 0.0) for rid in self.rids.tolist())
            shares = np.fromiter(found, np.float64, len(self.rids)) / nearest - 1.0
            self.extra["above"] = weight * shares * (~self.turn & (self._known.origin > 0))

    @property
    def origins(self) -> Rids:
        """The source or session of each, 0 for those that have none or are not pooled."""
        import numpy as np

        return np.where(self.weight("pool") > 0, self._known.group, 0)

    def total(self, base: Floats) -> Floats:
        """Add up what was noted, in a fixed order.

        With a pool, the sum is divided by one more than its weight: kinds of passages with a pool and without one stay
        comparable.
        """
        out = base.copy()
        for name in PARTS:
            if name in self.extra:
                out += self.extra[name]
        if "pool" in self.extra:
            out /= 1.0 + self.weight("pool")
        return out

    def hits(self, base: Floats, near: Floats, word: Floats, *, explained: bool) -> list[Hit]:
        """Return the candidates, best first; ties are not ordered yet. Scores are rounded to 1e-6, parts when asked for."""
        import numpy as np

        scores = np.round(self.total(base), 6)
        order = np.argsort(-scores, kind="stable").tolist()
        columns = [self.rids.tolist(), scores.tolist(), np.round(near, 6).tolist(), np.round(word, 6).tolist()]
        if explained:
            zeros = np.zeros(len(scores))
            columns.append([*zip(*(np.round(self.extra.get(name, zeros), 6).tolist() for name in PARTS), strict=True)])
        rows = list(zip(*columns, strict=True))
        return [Hit(*rows[place]) for place in order]


_COLUMNS: Final = {f.name: place for place, f in enumerate(fields(Weights))}


@lru_cache(maxsize=16)
def _table(settings: Settings) -> Floats:
    import numpy as np

    kinds = (settings.note, settings.document, settings.turn, settings.chat, settings.code)
    return np.array([[getattr(kind, name) for name in _COLUMNS] for kind in kinds], np.float64)
