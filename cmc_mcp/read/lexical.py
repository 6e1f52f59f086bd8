"""Lexical: BM25 over the workspace's own statistics at the read point. Full text finds and counts, this scores."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from cmc_mcp.config import Settings
from cmc_mcp.ids import Rid
from cmc_mcp.index.lexicon import Lexicon, Postings, in_text, weighted
from cmc_mcp.read.clues import askable
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.read.words import capitals, words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rids = npt.NDArray[np.int64]
    Scores = npt.NDArray[np.float64]

Counting = Callable[[Sequence[tuple[str, str]]], dict[str, int]]
"""Returns in how many passages each of some terms is, given as (stem, word)."""

_EVERY_MAX: Final = 4  # of a query of frequent words only, the rarest are tried together first
_PAGE: Final = 2_000
_ROUNDED: Final = 1e-9  # the same weights, added in another order


def _frequent(passages: int, settings: Settings) -> int:
    return max(settings.frequent_min, min(settings.frequent_max, passages // 8), passages // 200)


def _rarity(passages: int, holding: int) -> float:
    return math.log(1 + (passages - holding + 0.5) / (holding + 0.5))


class LexicalSearch:
    """A search of a selection by the words of a query.

    A frequent term adds to the scores of what the others find, and brings candidates of its own only where they find too
    few. Frequent is what is in an eighth of the passages, within the bounds of the settings (or a 200th of very many).

    Function words are searched where a question consists of them, and where no other word of it is known to a search that
    is `alone`. Beside a search by meaning they would only say which passages are long.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009).
    """

    def __init__(
        self,
        selection: Selection,
        query: str,
        settings: Settings,
        lexicon: Lexicon,
        names: Collection[str] = (),
        *,
        alone: bool = True,
    ) -> None:
        self._selection, self._settings, self._lexicon = selection, settings, lexicon
        query = askable(query)
        self._head = selection.point.head
        view, upto = selection.view, self._head.last_rid
        every = view.terms(query) if self._head.passages else {}
        cap = _frequent(self._head.passages, settings)

        def counted(words: Sequence[tuple[str, str]]) -> dict[str, int]:
            return {stem: lexicon.frequency(view, word, upto, cap) for stem, word in words}

        said = _said(every, query, settings)
        words, self.terms = self._first_known(said, counted)
        if alone and not any(self.terms.values()) and len(said) < len(every):
            words, self.terms = self._first_known(list(every.items()), counted)
        words = self._decomposed(words, counted)
        known = sorted((stem for stem, n in self.terms.items() if n), key=lambda stem: (self.terms[stem], stem))
        self._word = dict(words)
        self._names = {stem for stem, word in words if word in names}
        self._rare = [stem for stem in known if self.terms[stem] < cap]
        self.frequent = [stem for stem in known if self.terms[stem] >= cap]
        self._postings: dict[str, Postings] = {}
        self._extra: dict[Rid, float] = {}  # what frequent terms add to passages
        self._asks_only = not _says_something(said, query)
        self._rarity = self._rarities(every.keys() - dict(said).keys() | self._names)
        self._held: dict[Rid, float] = {}  # of frequent terms, what passages hold of `asked`

    def _first_known(
        self, words: Sequence[tuple[str, str]], counted: Counting
    ) -> tuple[list[tuple[str, str]], dict[str, int]]:
        """Return the first words of a question, as many as are searched with, and in how many passages each is.

        Of a question that is longer, later ones are taken where none of the first is anywhere.
        """
        most = max(1, self._settings.terms_max)
        for start in range(0, len(words), most):
            part = list(words[start : start + most])
            found = counted(part)
            if any(found.values()):
                return part, found
        part = list(words[:most])
        return part, counted(part)

    def _decomposed(self, words: list[tuple[str, str]], counted: Counting) -> list[tuple[str, str]]:
        """Add the words that are stored with their accents apart (NFD), where full text takes these for other words."""
        out = []
        for stem, word in words:
            apart = unicodedata.normalize("NFD", word)
            spelled = {} if apart == word else self._selection.view.terms(apart)
            others = [one for one in spelled.items() if one[0] != stem]
            found = {one: n for one, n in counted(others).items() if n and one not in self.terms}
            if found and not self.terms[stem]:
                del self.terms[stem]
            else:
                out.append((stem, word))
            self.terms |= found
            out += [one for one in others if one[0] in found]
        return out

    def best(self, k: int) -> list[tuple[Rid, float]]:
        """Find the best `k` as (rid, BM25), best first, ties in recorded order."""
        import numpy as np

        found, drivers = self._candidates(k, max(k, self._settings.lexical_candidates))
        scores = self._scores(found)
        if self.frequent and len(found):
            # the frequent terms are looked up for those alone that they may carry into the first k
            some = np.sort(np.argsort(-scores, kind="stable")[: 4 * k])
            found, scores = found[some], scores[some]
            extra = self._frequent_scores(found, drivers)
            scores += extra
            self._extra.update(zip(found.tolist(), extra.tolist(), strict=True))
        if len(found) < k and self.frequent:
            others = self._of_frequent(k - len(found), found)
            extra = self._frequent_scores(others, [])
            self._extra.update(zip(others.tolist(), extra.tolist(), strict=True))
            scores = np.concatenate([scores, self._scores(others) + extra])
            found = np.concatenate([found, others])
        order = np.lexsort((found, -scores))[:k]
        return list(zip(found[order].tolist(), scores[order].tolist(), strict=True))

    def in_context(self, rids: Rids, around: Rids, shares: Scores, named: npt.NDArray[np.bool_]) -> Scores:
        """Score passages (ascending) with a share of their neighbours' words (`around` as `Selection.neighbours` gives).

        The frequent terms count for those alone that words found. Where `named` is set, the names of speakers count
        for nothing: who speaks is known better than by a word.
        """
        import numpy as np

        scores = np.fromiter((self._extra.get(rid, 0.0) for rid in rids.tolist()), np.float64, len(rids))
        if not len(rids):
            return scores
        every = _distinct([rids, around[around > 0]])
        mine, theirs = np.searchsorted(every, rids), np.searchsorted(every, np.where(around > 0, around, every[0]))
        far = self._settings.context_far
        counted = (around > 0) * np.array([far, 1.0, 1.0, far]) * shares[:, None]
        has_context = bool(counted.any())
        norm = self._norm(rids)
        for stem in self._rare:
            counts = self._of(stem).of(every)
            tf = weighted(counts[mine], self._settings.heading_weight)
            if has_context:
                tf = tf + (in_text(counts)[theirs] * counted).sum(axis=1)
            if stem in self._names:
                tf = np.where(named, 0.0, tf)
            scores += self._part(stem, tf, norm)
        return scores

    def holds_any(self, words: Sequence[str], rids: Rids) -> npt.NDArray[np.bool_]:
        """Return which passages (ascending) hold any of some rare words in their text."""
        import numpy as np

        held = np.zeros(len(rids), np.bool_)
        cap = _frequent(self._head.passages, self._settings)
        for word in words:
            if 0 < self._lexicon.frequency(self._selection.view, word, self._head.last_rid, cap) < cap:
                held |= in_text(self._lexicon.postings(self._selection.view, word, self._head.last_rid).of(rids)) > 0
        return held

    def _candidates(self, least: int, most: int) -> tuple[Rids, list[str]]:
        """Return the passages of the rarest terms, and which these are: a whole term at a time, to `most` or past `least`."""
        import numpy as np

        parts: list[Rids] = [np.zeros(0, np.int64)]
        drivers: list[str] = []
        total = 0
        for stem in self._rare:
            rids = self._of(stem).rids
            rids = rids[self._selection.passing(rids)]
            if total >= least and total + len(rids) > most:
                parts = [_distinct(parts)]  # passages of several terms were counted more than once
                total = len(parts[0])
                if total >= least and total + len(rids) > most:
                    break
            parts.append(rids)
            total += len(rids)
            drivers.append(stem)
        return _distinct(parts), drivers

    def _of(self, stem: str) -> Postings:
        if stem not in self._postings:
            view = self._selection.view
            self._postings[stem] = self._lexicon.postings(view, self._word[stem], self._head.last_rid)
        return self._postings[stem]

    def _of_frequent(self, count: int, known: Rids) -> Rids:
        """Return the newest passages that hold the rarest frequent terms, together if there are any, else one by one."""
        import numpy as np

        out: dict[Rid, None] = {}
        seen = set(known.tolist())
        first, last = self._selection.bounds()
        tries = [self.frequent[:_EVERY_MAX]] if len(self.frequent) > 1 else []
        for stems in [*tries, *([stem] for stem in self.frequent)]:
            words = [self._word[stem] for stem in stems]
            rows = self._selection.view.holding(words, Rid(first - 1), min(last, self._head.last_rid), every=True)
            while len(out) < count and (
                page := list(islice(rows, _PAGE if not self._selection.limits.is_open else count))
            ):
                rids = np.array(page, np.int64)
                for rid in rids[self._selection.passing(rids)].tolist():
                    if rid not in seen and len(out) < count:
                        out[rid] = None
                        seen.add(rid)
            if len(out) >= count:
                break
        return np.array(sorted(out), np.int64)

    def _scores(self, rids: Rids) -> Scores:
        """Score passages (ascending) by all but the frequent terms."""
        import numpy as np

        scores = np.zeros(len(rids), np.float64)
        if not len(rids):
            return scores
        norm = self._norm(rids)
        for stem in self._rare:
            scores += self._part(stem, self._of(stem).tf(rids, self._settings.heading_weight), norm)
        return scores

    def _frequent_scores(self, rids: Rids, drivers: list[str]) -> Scores:
        """Score passages (ascending), each of which holds a driver, by the frequent terms."""
        import numpy as np

        scores = np.zeros(len(rids), np.float64)
        if not len(rids):
            return scores
        words = [self._word[stem] for stem in self.frequent]
        rows = self._selection.view.counts(rids.tolist(), [self._word[stem] for stem in drivers], words)
        if not rows:
            return scores
        places = np.searchsorted(rids, np.array([rid for rid, _ in rows], np.int64))
        counts = np.frombuffer(b"".join([blob for _, blob in rows]), "<u2").reshape(len(rows), len(words))
        norm, held = self._norm(rids[places]), np.zeros(len(rids), np.float64)
        for column, stem in enumerate(self.frequent):
            scores[places] += self._part(stem, weighted(counts[:, column], self._settings.heading_weight), norm)
            held[places] += self._rarity.get(stem, 0.0) * (counts[:, column] > 0)
        self._held.update(zip(rids.tolist(), held.tolist(), strict=True))
        return scores

    def _rarities(self, others: Collection[str]) -> dict[str, float]:
        """Return the weights of the words that say what is asked, as if more passages were there that hold none of them.

        Without those, the words of a workspace of few passages would all be frequent. `others` are function words and the
        names of speakers.
        """
        content = [stem for stem in self._word if stem not in others]
        passages = self._head.passages + self._settings.relevance.passages
        return {stem: _rarity(passages, self.terms[stem]) for stem in content or self._word}

    def asked(self) -> float:
        """Return the weight of the question's words, the rare ones counting most.

        Function words and speakers are among them only where it has no other words.
        """
        return sum(self._rarity.values())

    def held(self, rids: Rids) -> Scores:
        """Return the weight of those of the question's words that each passage (ascending) holds, however often.

        The frequent terms count for those alone that words found.
        """
        import numpy as np

        held = np.fromiter((self._held.get(rid, 0.0) for rid in rids.tolist()), np.float64, len(rids))
        for stem in self._rare:
            if stem in self._rarity:
                held += self._rarity[stem] * (self._of(stem).of(rids) > 0)
        return held

    def hold_all(self, rids: Rids) -> bool:
        """Return whether one of some passages (ascending) holds every word that says what is asked.

        None does where the question consists of function words.
        """
        if self._asks_only or not len(rids):
            return False
        return bool(self.held(rids).max() >= self.asked() * (1.0 - _ROUNDED))

    def lengths(self, rids: Rids) -> Scores:
        """Return the lengths of passages in tokens, headings included."""
        lengths: Scores = self._lexicon.lengths(self._selection.view, rids).astype("float64")
        return lengths

    def _norm(self, rids: Rids) -> Scores:
        settings = self._settings
        average = max(1, self._head.tokens) / self._head.passages  # passages of signs alone hold no word
        lengths = self.lengths(rids)
        norm: Scores = settings.bm25_k1 * (1 - settings.bm25_b + settings.bm25_b * lengths / average)
        return norm

    def ideal(self) -> float:
        """Return the score of a passage of average length that holds every word of the question once."""
        return sum(self._weight(stem) for stem in self.terms)

    def _weight(self, stem: str) -> float:
        return _rarity(self._head.passages, self.terms[stem])

    def _part(self, stem: str, tf: Scores, norm: Scores) -> Scores:
        """Return one term's share of the scores; a word in the heading counts as `heading_weight` of one in the text."""
        return self._weight(stem) * (self._settings.bm25_k1 + 1) * tf / (tf + norm)


def _said(terms: Mapping[str, str], query: str, settings: Settings) -> list[tuple[str, str]]:
    """Return the search terms as (stem, word), without function words unless they are all that was said."""
    asking, named = words().asking, capitals(query)
    said = [
        (s, w) for s, w in terms.items() if settings.function_words or w.lower() not in asking or w.lower() in named
    ]
    return said or list(terms.items())


def _says_something(said: Sequence[tuple[str, str]], query: str) -> bool:
    """Return whether not all of the words that are searched are function words."""
    asking, named = words().asking, capitals(query)
    return any(word.lower() not in asking or word.lower() in named for _, word in said)


def _distinct(parts: list[Rids]) -> Rids:
    """Join, sort, and drop what repeats: for a few thousand, sorting beats hashing."""
    import numpy as np

    joined = np.sort(np.concatenate(parts))
    keep = np.ones(len(joined), np.bool_)
    np.not_equal(joined[1:], joined[:-1], out=keep[1:])
    return joined[keep]
