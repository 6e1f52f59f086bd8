"""Settings: every constant of the pipelines, as frozen values. Names and order are under a digest, so they stay."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Final

from cmc_mcp import limits
from cmc_mcp.canon import canonical, payload_hash

PIPELINE_VERSION: Final = "cmc-recall/4"


@dataclass(frozen=True, slots=True)
class Quality:
    """The constants of the scores beside the match (`docs/design/scores.md` §1); `read/quality.py` uses them."""

    confidence_share: float = 0.4
    recency_share: float = 0.3
    authority_share: float = 0.3
    band_a: float = 1.0
    band_b: float = 0.7
    band_c: float = 0.4
    confidence_unknown: float = 0.5
    recency_s: float = 604_800.0  # the age at which recency is a half
    authority_verified: float = 1.0
    authority_official: float = 0.9
    authority_other: float = 0.7
    level_weight: float = 0.8
    link_weight: float = 0.6
    coverage_weight: float = 0.4
    dangling_weight: float = 0.9
    links_full: int = 8  # as many links as this are a density of 1
    conflict_weight: float = 0.5
    stale_weight: float = 0.2
    contradiction_min: float = 0.7  # DD of a hard contradiction
    dissonance_max: float = 0.99  # nothing becomes unreachable
    floor: float = 0.05  # of RS and of decay, before the logarithm


@dataclass(frozen=True, slots=True)
class Compress:
    """The constants of shortening (`docs/design/scores.md` §8); `read/compress.py` and `read/fit.py` use them."""

    passage_tokens: int = 200  # a text of no more is never shortened, whatever the budget
    days: tuple[int, int, int] = (7, 30, 90)  # the ages where less is kept
    days_important: tuple[int, int, int] = (21, 75, 180)
    important: float = 0.85  # the priority from which the second ages hold
    shares: tuple[float, float, float, float] = (1.0, 0.7, 0.4, 0.15)
    match: float = 0.8  # how much the question's words count against centrality


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one kind of passage in its score; `read/rank.py` defines each."""

    lexical: float = 0.5  # the share of words; the rest is meaning
    sureness: float = 3.0  # the power of what part of `lexical_sure` the best passage reaches, below it
    context: float = 0.0  # of a neighbour's words, as a share of one's own
    pool: float = 0.0  # of what the best of the same source or session reach
    named: float = 0.0  # spoken by somebody the question names
    unnamed: float = (
        0.0  # taken off what is neither of a speaker whom the question names, nor beside one, nor names one
    )
    question: float = 0.0  # taken off a question, as long as it is short
    length: float = 0.0  # taken off a short one
    own: float = 0.0  # taken off what does not speak of oneself
    assistant: float = 0.0  # taken off what a model said
    heading: float = 0.0  # taken off a bare heading
    years: float = 0.0  # names a year the question asks about
    month: float = 0.0  # said in a month the question names
    phrase: float = 0.0  # holds pairs of the question's words
    held: float = 0.0  # holds all words that the question is about, however long it is; of a part, the square counts


@dataclass(frozen=True, slots=True)
class Physics:
    """The constants of DVNS (`docs/dvns.md`). Distances are in radii of the wall, stiffnesses in that of its spring."""

    gravity: float = 1.0  # pull of the query on a match of 1
    spring: float = 2.0  # stiffness of a link of weight 1
    rest_length: float = 0.0  # linked candidates this near each other do not pull
    sibling: float = 0.5  # weight of the links of one group, shared by its members
    following: float = 0.025  # weight of the link from one piece of a document to the next
    parent: float = 1.0  # weight of the link from a section to what it holds
    repulsion: float = 0.3  # stiffness between identical candidates
    reach: float = 0.05  # near-duplicates this far apart do not push
    duplicate_line: float = 0.88  # the cosine from which two are near-duplicates (`docs/design/scores.md` §5)
    steps_max: int = 200


@dataclass(frozen=True, slots=True)
class Slots:
    """The constants that decide whether a statement supersedes another; chosen on open splits of `beam_update` and `beam`."""

    bar: float = 0.425  # of the score of a pair; from .4 to .5 little changes
    depth: int = 5  # of the first statements both must be among
    chars_max: int = 1_500  # a longer text holds many values, and not one statement
    shared_words: float = 0.5  # of the shorter, where no speaker says that both are one person's
    short: int = 20  # words of a sentence in which nothing but the value may differ
    short_spoken: int = 12  # the same where both are one speaker's, who need not say it in one way


@dataclass(frozen=True, slots=True)
class RelevanceScale:
    """The constants that say whether anything relevant is stored (`docs/design/scores.md` §9); `read/relevance.py` uses them.

    Set by hand, on a plateau: `docs/recall.md` says on which questions, and what others of the kind reach.
    """

    looked_at: int = 5  # candidates by meaning, and as many by words
    background: float = 0.05  # the cosine of unrelated texts under the bundled model,
    background_foreign: float = 0.5  # and in scripts other than Latin, which that model hardly tells apart
    sample: int = 128  # records from which that cosine is estimated under another model,
    sample_trusted: int = 8  # and how many of them make the estimate count for a half
    words: float = 0.7  # a memory that holds every word, beside one that is the question itself
    words_alone: float = 1.4  # the same where no vector says anything
    passages: int = 100  # added to the number of passages where the rarity of a word is computed
    unseen: float = 3.0  # added to the weight of the question's words: one rare word is not a whole question
    middle: float = 0.65  # the evidence of a score of one half
    steepness: float = 6.0
    weak: float = 0.25  # the score below which nothing relevant is stored
    good: float = 0.6


@dataclass(frozen=True, slots=True)
class Kappa:
    """How sure a memory has to be, by what is at stake; `read/gate.py` uses them."""

    critical: float = 0.95
    important: float = 0.85
    routine: float = 0.7
    low_stakes: float = 0.6

    def of(self, criticality: str) -> float:
        """Return the confidence that a criticality asks for.

        >>> Kappa().of("low-stakes")
        0.6
        """
        value: float = getattr(self, criticality.replace("-", "_"))
        return value


@dataclass(frozen=True, slots=True)
class Settings:
    """Every constant of the pipelines that a caller may set. The defaults were measured (`docs/recall.md`)."""

    inline_bytes: int = limits.INLINE_BYTES
    matrix_bytes_max: int = limits.MATRIX_BYTES_MAX
    dense_candidates: int = 50
    lexical_candidates: int = 1_000  # passages that are scored, unless the rarest term alone has more
    frequent_min: int = 1_024  # a term in fewer passages than this is never frequent
    frequent_max: int = 2_048  # one in more, and in a 200th of the passages, always is
    terms_max: int = 64
    note: Weights = Weights(lexical=0.3, unnamed=0.3, years=0.3, phrase=0.4, held=0.6)
    document: Weights = Weights(unnamed=0.3, pool=0.4, heading=0.4, years=0.3, phrase=0.4, held=0.2)
    turn: Weights = Weights(
        sureness=1.0, context=0.4, pool=0.4, named=0.2, unnamed=0.3, question=0.15, length=0.3, own=0.1, years=0.1, month=0.1,
        phrase=0.4,
    )  # fmt: skip
    chat: Weights = Weights(
        lexical=0.3, unnamed=0.3, sureness=1.0, pool=0.4, assistant=0.35, years=0.1, month=0.1, phrase=0.3
    )
    code: Weights = Weights(lexical=0.2, unnamed=0.3)
    mask_names: bool = True  # embed a question without the speakers it names
    function_words: bool = False  # search with a question's function words too
    context_tokens: int = 60  # of a longer passage, neighbours and being a question count proportionally less
    context_far: float = 0.5  # of the neighbours' neighbours, as a share of the neighbours
    pool_depth: int = 200  # candidates that are pooled by source or session
    phrase_depth: int = 20  # candidates whose text is read for phrases
    node_weight: float = 0.1  # for what stands below the nearest sections, files and classes
    node_candidates: int = 8  # of those that are looked into
    node_decay: float = 0.9  # a level between such a node and a passage
    node_passages_max: int = 20  # a node with more says too little of each
    linked: float = 0.2  # for what the first candidates are linked to: premises, what rests on them, other wordings
    linked_depth: int = 5  # candidates, by meaning and by words, whose links are followed
    lexical_ideal_min: float = 0.4  # BM25 is divided by its best, or by this share of a perfect match if that is more
    lexical_sure: float = 0.45  # the share of a perfect match from which words have their whole share
    heading_weight: float = 0.6
    bm25_k1: float = 0.9
    bm25_b: float = 0.4
    rs_weight: float = 0.0  # λ of docs/design/scores.md §2, until evidence says otherwise
    decay_weight: float = 0.0  # the same for the decay of docs/design/scores.md §1
    quality: Quality = Quality()
    dvns: bool = False  # beside the pool of sessions it lifts no set for sure: `docs/recall.md`
    physics: Physics = Physics()
    navigate_depth: int = 50  # the first candidates that quality, decay and DVNS order
    slots: Slots = Slots()
    supersede: bool = True  # pair statements of one slot, the newer before the older
    dedupe: bool = True  # show what is equal in everything once
    reconcile: bool = True
    compress: Compress = Compress()
    relevance: RelevanceScale = RelevanceScale()
    kappa: Kappa = Kappa()
    both_ends: bool = False  # the strongest at both ends of an answer, in place of the strongest first
    near_window: int = 12  # items that are arranged at once: a page, and whether there is more
    near_window_max: int = 4_096  # candidates that are looked at for them
    occurrences_max: int = 5  # of one text among them; what is more comes later
    wins_relevance: float = 0.5  # of who wins a conflict of equal times
    wins_recency: float = 0.2
    wins_authority: float = 0.3
    possible_conflicts: bool = True  # marks of what may disagree by its words
    possible_min: float = 0.6  # of the score from which it is said
    possible_cosine: float = 0.4  # below it two texts are not compared
    possible_cosine_value: float = 0.7  # the same where no negation says that they disagree
    possible_denied_share: float = 0.75
    cosine_min: float = (
        0.4  # cosines are divided by the best, or by this if that is more: what is far from all counts little
    )
    lexical_unread: float = 0.9  # the share of words where the model does not read the question's script

    @property
    def digest(self) -> str:
        """A short hash over every setting that changes an answer, and the pipeline's version (12 hex digits)."""
        return _digest(self)


@lru_cache(maxsize=64)
def _digest(settings: Settings) -> str:
    moving = {f.name: repr(getattr(settings, f.name)) for f in fields(settings) if f.name != "matrix_bytes_max"}
    return payload_hash(canonical({"version": PIPELINE_VERSION, **moving})).hex()[:12]
