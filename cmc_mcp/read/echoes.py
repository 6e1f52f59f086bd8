"""Echoes: memories that tell again what was superseded, word for word, in the same claim or by somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cmc_mcp.atoms.succession import Succession
from cmc_mcp.atoms.superseded import Superseded, superseded_claims
from cmc_mcp.config import Settings
from cmc_mcp.documents.loading import Loaded
from cmc_mcp.ids import Rid, Seq
from cmc_mcp.model.facts import claim_of
from cmc_mcp.read.claims import Claims
from cmc_mcp.read.point import Point
from cmc_mcp.read.precedence import Relevance
from cmc_mcp.store.ports import LedgerView


class Echo(NamedTuple):
    """What stands in place of what a memory tells again; `is_itself` where it is that memory that was superseded."""

    standing: tuple[Rid, ...]
    is_itself: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What is found once at a read point, however many memories it is asked of."""

    claims: Claims
    succession: Succession
    superseded: Superseded
    seq: Seq

    @classmethod
    def at(
        cls, view: LedgerView, point: Point, relevance: Relevance, settings: Settings, superseded: Superseded
    ) -> Known:
        """Begin at a read point."""
        succession = Succession(view, point.head.seq, lambda rid: holds(view, point, rid))
        return cls(Claims(view, point, relevance, settings), succession, superseded, point.head.seq)


def holds(view: LedgerView, point: Point, rid: Rid) -> bool:
    """Return whether a record holds at a read point."""
    return any(p.valid_from <= point.valid_at < p.valid_to for p in view.intervals(rid, point.head.seq))


def echoes_of(view: LedgerView, loaded: Sequence[Loaded], known: Known) -> dict[Rid, Echo]:
    """Return those of some memories that are superseded, or tell again what is.

    A memory that ever took the place of the superseded one does not echo it, nor does one that says what stands in its
    place: whoever agrees with the winner does not lose.
    """
    if not known.superseded.follow(view, known.seq):
        return {}
    out: dict[Rid, Echo] = {}
    for item in loaded:
        rid = item.row.rid
        if rid in known.superseded and (standing := known.succession.standing(rid)):
            out[rid] = Echo(standing, True)
        elif item.data is not None and (standing := _by_text(view, item, known) or _by_claim(view, item, known)):
            out[rid] = Echo(standing, False)
    return out


def _by_text(view: LedgerView, item: Loaded, known: Known) -> tuple[Rid, ...]:
    rid, mine = item.row.rid, known.superseded.key_of(item.row, item.text)
    for older in known.superseded.told(mine):
        if older == rid or known.succession.succeeds(rid, older):
            continue
        standing = known.succession.standing(older)
        if standing and not known.superseded.tells(view, standing, mine, older):
            return standing
    return ()


def _by_claim(view: LedgerView, item: Loaded, known: Known) -> tuple[Rid, ...]:
    claim = claim_of(item.fields)
    if claim is None or claim.many:
        return ()
    topic = known.claims.topic(claim)
    for older in superseded_claims(view, claim):
        if older == item.row.rid or known.succession.succeeds(item.row.rid, older):
            continue
        standing = tuple(
            rid for rid in known.succession.standing(older)
            if rid in topic.places and topic.ordered[topic.places[rid]].value != claim.value
        )  # fmt: skip
        if standing:
            return standing
    return ()
