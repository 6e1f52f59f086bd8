"""Lexical: BM25 over the workspace's own statistics at the read point. Full text finds and counts, this scores."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Final

from cmc_mcp.config import Settings
from cmc_mcp.ids import Rid
from cmc_mcp.index.lexicon import Lexicon, Postings, Weighted, met
from cmc_mcp.read.clues import askable
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.terms.normal import normalised
from cmc_mcp.terms.passage import passage_terms
from cmc_mcp.terms.query import QueryTerm, query_terms, widened

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rids = npt.NDArray[np.int64]
    Scores = npt.NDArray[np.float64]

_EVERY_MAX: Final = 4  # of a query of frequent words only, the rarest are tried together first
_WIDENED_MAX: Final = 24  # words of a question
_PAGE: Final = 2_000
_TELLS: Final = 0.1  # a term of no more weight says little of what is asked
_ROUNDED: Final = 1e-9  # the same weights, added in another order


def _frequent(passages: int, settings: Settings) -> int:
    return max(settings.frequent_min, min(settings.frequent_max, passages // 8), passages // 200)


@dataclass(frozen=True, slots=True)
class _Sought:
    """A term that is looked for, or the terms near one, which count as one; `beside` one that is known itself."""

    term: str
    word: str
    weight: float
    held: Postings | Weighted
    beside: bool = False

    @property
    def n(self) -> int:
        """In how many passages it is."""
        return len(self.held.rids)


class LexicalSearch:
    """A search of a selection by the words of a query.

    A frequent term adds to the scores of what the others find, and brings candidates of its own only where they find too
    few. Frequent is what is in an eighth of the passages, within the bounds of the settings (or a 200th of very many).

    Function words are searched where a question consists of them, and where no other word of it is known to a search that
    is `alone`. Beside a search by meaning they would only say which passages are long.

    A word is widened by the terms near it that the workspace has at the read point: inflections, compounds, typos.

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
        self._head, self._named = selection.point.head, frozenset(names)
        query = askable(query)
        every = query_terms(query) if self._head.passages else ()
        said = [term for term in every if settings.function_words or not term.function] or list(every)
        text = normalised(query)
        searched, found = self._first_known(said, text)
        if alone and not any(postings.rids.size for postings in found.values()) and len(said) < len(every):
            searched, found = self._first_known(every, text)
        self.terms = {one.term: len(found[one.term].rids) for one in searched}
        """In how many passages each term of the question is."""
        self.asks_only = all(one.function for one in said)
        self._main = _main_terms(searched, text)
        telling = {one.word for one in searched if not one.function and one.word not in self._named}
        self._asked = {w: one for w, one in self._main.items() if w in telling} or self._main
        cap = _frequent(self._head.passages, settings)
        sought = [_Sought(one.term, one.word, one.weight, found[one.term]) for one in searched]
        known = [one for one in (*sought, *self._near(searched)) if one.n]
        known.sort(key=lambda one: (one.beside, one.n, one.term))
        self._rare = [one for one in known if one.n < cap]
        self._common = [one for one in known if one.n >= cap]
        self._extra: dict[Rid, float] = {}  # what frequent terms add to passages

    @property
    def frequent(self) -> list[str]:
        """The frequent terms, the rarest first."""
        return [one.term for one in self._common]

    def _first_known(self, terms: Sequence[QueryTerm], text: str) -> tuple[list[QueryTerm], dict[str, Postings]]:
        """Return the first terms of a question, as many as are searched with, and where each is.

        Of a question that is longer, later ones are taken where none of the first is anywhere; parts of words do not count.
        """
        most = max(1, self._settings.terms_max)
        for start in range(0, len(terms), most):
            part = list(terms[start : start + most])
            found = self._postings(one.term for one in part)
            if any(found[one.term].rids.size for one in _main_terms(part, text).values()):
                return part, found
        part = list(terms[:most])
        return part, self._postings(one.term for one in part)

    def _postings(self, terms: Iterable[str]) -> dict[str, Postings]:
        return self._lexicon.postings(self._selection.view, terms, self._head.last_rid)

    def _near(self, searched: Sequence[QueryTerm]) -> list[_Sought]:
        """Return what is near the words of a question; of many words, those first that are not known."""
        view, upto = self._selection.view, self._head.last_rid
        wider = sorted(
            widened(searched, lambda term: self.terms.get(term, 0) > 0), key=lambda one: self.terms[one[0].term] > 0
        )
        some = wider[:_WIDENED_MAX]
        near = self._lexicon.near(view, [term.term for term, _ in some], upto, self._settings.heading_weight)
        return [
            _Sought(f"{one.term}~", one.word, weight, near[one.term], self.terms[one.term] > 0)
            for one, weight in some
            if one.term in near
        ]

    def best(self, k: int) -> list[tuple[Rid, float]]:
        """Find the best `k` as (rid, BM25), best first, ties in recorded order."""
        import numpy as np

        found = self._candidates(k, max(k, self._settings.lexical_candidates))
        scores = self._scores(self._rare, found)
        if self._common and len(found):
            # the frequent terms are looked up for those alone that they may carry into the first k
            some = np.sort(np.argsort(-scores, kind="stable")[: 4 * k])
            found, scores = found[some], scores[some]
            extra = self._scores(self._common, found)
            scores += extra
            self._extra.update(zip(found.tolist(), extra.tolist(), strict=True))
        if len(found) < k and self._common:
            others = self._of_frequent(k - len(found), found)
            extra = self._scores(self._common, others)
            self._extra.update(zip(others.tolist(), extra.tolist(), strict=True))
            scores = np.concatenate([scores, self._scores(self._rare, others) + extra])
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
        whole, text = np.zeros(len(every)), np.zeros(len(every))
        for one in self._rare:
            there, places = met(every, one.held.rids)
            if not len(there):
                continue
            whole[there] = one.held.whole(places, self._settings.heading_weight)
            tf = whole[mine]
            if has_context:
                text[there] = one.held.in_text(places)
                tf = tf + (text[theirs] * counted).sum(axis=1)
                text[there] = 0.0
            whole[there] = 0.0
            if one.word in self._named:
                tf = np.where(named, 0.0, tf)
            scores += self._part(one, tf, norm)
        return scores

    def holds_any(self, words: Sequence[str], rids: Rids) -> npt.NDArray[np.bool_]:
        """Return which passages (ascending) hold any of some rare words in their text."""
        import numpy as np

        held = np.zeros(len(rids), np.bool_)
        cap = _frequent(self._head.passages, self._settings)
        for found in self._postings(words).values() if words else ():
            if 0 < len(found.rids) < cap:
                there, places = met(rids, found.rids)
                held[there] |= found.text[places] > 0
        return held

    def names_any(self, rids: Rids) -> npt.NDArray[np.bool_]:
        """Return which passages (ascending) hold the name of a speaker whom the question names."""
        import numpy as np

        held = np.zeros(len(rids), np.bool_)
        for one in (*self._rare, *self._common):
            if one.word in self._named and not one.beside:
                there, places = met(rids, one.held.rids)
                held[there] |= one.held.whole(places, 1.0) > 0
        return held

    def _candidates(self, least: int, most: int) -> Rids:
        """Return the passages of the rarest terms: a whole term at a time, to `most` or past `least`."""
        import numpy as np

        sizes = np.cumsum([one.n for one in self._rare])
        sure = int(sizes.searchsorted(most, "right"))  # these are not too many, whatever the filter leaves of them
        found = _distinct([np.zeros(0, np.int64), *(one.held.rids for one in self._rare[:sure])])
        found = found[self._selection.passing(found)]
        for one in self._rare[sure:]:
            rids = one.held.rids
            rids = rids[self._selection.passing(rids)]
            if len(found) >= least and len(found) + len(rids) > most:
                break
            found = _distinct([found, rids])
        return found

    def _of_frequent(self, count: int, known: Rids) -> Rids:
        """Return the newest passages that hold the rarest frequent terms, together if there are any, else one by one."""
        import numpy as np

        out: dict[Rid, None] = {}
        seen = set(known.tolist())
        first, last = self._selection.bounds()
        tries = [self._common[:_EVERY_MAX]] if len(self._common) > 1 else []
        for some in [*tries, *([one] for one in self._common)]:
            rids = reduce(_in_both, (one.held.rids for one in some))
            rids = rids[np.searchsorted(rids, first) : np.searchsorted(rids, last, "right")]
            for end in range(len(rids), 0, -_PAGE):
                page = rids[max(0, end - _PAGE) : end][::-1]
                for rid in page[self._selection.passing(page)].tolist():
                    if rid not in seen and len(out) < count:
                        out[rid] = None
                        seen.add(rid)
                if len(out) >= count:
                    break
            if len(out) >= count:
                break
        return np.array(sorted(out), np.int64)

    def _scores(self, sought: Sequence[_Sought], rids: Rids) -> Scores:
        """Score passages (ascending) by some of the terms."""
        import numpy as np

        scores = np.zeros(len(rids), np.float64)
        if not len(rids):
            return scores
        norm = self._norm(rids)
        for one in sought:
            there, places = met(rids, one.held.rids)
            scores[there] += self._part(one, one.held.whole(places, self._settings.heading_weight), norm[there])
        return scores

    def _worth(self, weight: float, n: int) -> float:
        """Return what a word says of what is asked, as if more passages were there that hold none of them.

        Without those, the words of a workspace of few passages would all be frequent.
        """
        passages = self._head.passages + self._settings.relevance.passages
        return weight * math.log(1 + (passages - n + 0.5) / (n + 0.5))

    def asked(self) -> float:
        """Return the weight of the question's words, the rare ones counting most.

        Function words and speakers are among them only where it has no other words.
        """
        return sum(self._worth(one.weight, self.terms[one.term]) for one in self._asked.values())

    def held(self, rids: Rids) -> Scores:
        """Return the weight of those of the question's words that each passage (ascending) holds, however often.

        Of a word that is written otherwise there, what is near it counts by how near it is.
        """
        import numpy as np

        held: dict[str, Scores] = {}
        for one in (*self._rare, *self._common):
            if one.word in self._asked:
                if one.word not in held:
                    held[one.word] = np.zeros(len(rids), np.float64)
                there, places = met(rids, one.held.rids)
                whole = one.held.whole(places, 1.0)
                share = np.minimum(1.0, whole) if isinstance(one.held, Weighted) else whole > 0
                mine = self._worth(one.weight, one.n) * share
                held[one.word][there] = np.maximum(held[one.word][there], mine)
        out = np.zeros(len(rids), np.float64)
        for word, mine in held.items():
            main = self._asked[word]
            out += np.minimum(mine, self._worth(main.weight, self.terms[main.term]))
        return out

    def shares(self, rids: Rids) -> Scores:
        """Return the share of the question's words that each passage (ascending) holds, however long it is: 0 to 1."""
        asked = self.asked()
        return self.held(rids) / asked if asked > 0 else self.held(rids)

    def is_all(self, held: Scores) -> bool:
        """Return whether one of some passages holds every word that says what is asked, by what each holds (`held`).

        None does where the question consists of function words.
        """
        if self.asks_only or not len(held):
            return False
        return bool(held.max() >= self.asked() * (1.0 - _ROUNDED))

    def lengths(self, rids: Rids) -> Scores:
        """Return the lengths of passages in terms, headings included."""
        return self._lexicon.lengths(self._selection.view, rids)

    def _norm(self, rids: Rids) -> Scores:
        settings, average = self._settings, self._head.tokens / self._head.passages
        norm: Scores = settings.bm25_k1 * (
            1 - settings.bm25_b + settings.bm25_b * self.lengths(rids) / (average or 1.0)
        )
        return norm

    def ideal(self) -> float:
        """Return the score of a passage of average length that holds every word of the question once."""
        return sum(self._weight(one.weight, self.terms[one.term]) for one in self._main.values())

    def _weight(self, weight: float, n: int) -> float:
        return weight * math.log(1 + (self._head.passages - n + 0.5) / (n + 0.5))

    def _part(self, one: _Sought, tf: Scores, norm: Scores) -> Scores:
        """Return one term's share of the scores; a word in the heading counts as `heading_weight` of one in the text."""
        return self._weight(one.weight, one.n) * (self._settings.bm25_k1 + 1) * tf / (tf + norm)


def question_words(query: str) -> dict[str, str]:
    """Return the terms of a question, each with the word as written, in order."""
    return {term.term: term.word for term in query_terms(askable(query)) if term.weight > _TELLS}


def words_of(text: str) -> list[str]:
    """Return what a text is found by."""
    found = passage_terms(text)
    return [*found.counts, *found.extras]


def _main_terms(searched: Iterable[QueryTerm], text: str) -> dict[str, QueryTerm]:
    """Return of each word that a question says the term that stands for it most: of an emoji it says no word, nor back."""
    out: dict[str, QueryTerm] = {}
    for one in searched:
        if one.word in text and (one.word not in out or one.weight > out[one.word].weight):
            out[one.word] = one
    return out


def _in_both(one: Rids, other: Rids) -> Rids:
    import numpy as np

    return np.intersect1d(one, other, assume_unique=True)


def _distinct(parts: list[Rids]) -> Rids:
    """Join, sort, and drop what repeats: for a few thousand, sorting beats hashing."""
    import numpy as np

    joined = np.sort(np.concatenate(parts))
    keep = np.ones(len(joined), np.bool_)
    np.not_equal(joined[1:], joined[:-1], out=keep[1:])
    return joined[keep]
