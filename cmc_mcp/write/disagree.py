"""Disagree: what a write answers about memories that say something else, and about beliefs that it brings back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from cmc_mcp.atoms.succession import Succession
from cmc_mcp.atoms.superseded import Superseded, TextKey, superseded_claims, text_key
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.facts import Claim, claim_of
from cmc_mcp.model.results import RIVALS_NAMED, ConflictNote
from cmc_mcp.model.time import UNTIL_FURTHER_NOTICE
from cmc_mcp.store.ports import LedgerView, WriteUnit
from cmc_mcp.store.rows import BINARY
from cmc_mcp.write.commit import Staged
from cmc_mcp.write.draft import Draft

_LOOKED_AT_MAX: Final = 64  # rivals that are looked at one by one; of more, only those that this write retires
_SHOWN_CHARS: Final = 80
_BACK: Final = "it replaced what this repeats; to go back to that, revise it"


class Disagreement(NamedTuple):
    """What a receipt says of other memories: some by name, how many more, and the superseded ones that are told again."""

    notes: list[ConflictNote]
    more: int = 0
    echo_of: Sequence[str] = ()


class _Held(NamedTuple):
    """A claim, as a memory holds it for a time."""

    rid: Rid
    start: int
    end: int
    claim: Claim

    @property
    def value(self) -> str:
        """What it claims, however spelled."""
        return self.claim.value


class _Topic:
    """Who claims what of one subject and predicate. Where all claims are open-ended, a rival is found at once."""

    def __init__(self, held: Sequence[_Held]) -> None:
        self.held = held
        self._are_open = all(each.end == UNTIL_FURTHER_NOTICE for each in held)
        self._are_open &= len({each.rid for each in held}) == len(held)
        self._counts = Counter(each.value for each in held)
        self._last: dict[str, dict[Rid, str]] = {}

    def rivals(self, rid: Rid, value: str) -> tuple[dict[Rid, str], int]:
        """Return the last few who claim something else at a common time, ascending, and how many do."""
        if self._are_open:
            if value not in self._last:
                others = islice((each for each in reversed(self.held) if each.value != value), RIVALS_NAMED)
                self._last[value] = {each.rid: each.claim.object for each in reversed(list(others))}
            return self._last[value], len(self.held) - self._counts[value]
        mine = [held for held in self.held if held.rid == rid and held.value == value]
        found: dict[Rid, str] = {}
        for held in self.held:
            differs = held.rid != rid and held.value != value and held.rid not in found
            if differs and any(own.start < held.end and held.start < own.end for own in mine):
                found[held.rid] = held.claim.object
        return {other: found[other] for other in sorted(found)[-RIVALS_NAMED:]}, len(found)


def conflicts_of(view: LedgerView, staged: Staged) -> Disagreement:
    """Find live claims about the same subject and predicate that say something else at a common time."""
    claims = [(rid, claim) for rid, fields in staged.claims if (claim := claim_of(fields)) and not claim.many]
    together: dict[tuple[str, str], list[tuple[Rid, Claim]]] = {}
    for rid, claim in claims:
        together.setdefault(claim.about, []).append((rid, claim))
    topics = {
        about: _Topic(_held(view, told[0][1], [rid for rid, _ in told], staged)) for about, told in together.items()
    }
    notes: list[ConflictNote] = []
    more = 0
    for rid, claim in claims:
        rivals, count = topics[claim.about].rivals(rid, claim.value)
        notes += [_note(view, other, claim, theirs) for other, theirs in rivals.items()]
        more += count - len(rivals)
    return Disagreement(notes, more)


def _held(view: LedgerView, mine: Claim, claiming: Sequence[Rid], staged: Staged) -> list[_Held]:
    """Return who claims something of what a claim is about, in this unit too, by record number."""
    seq, facts = view.head().seq, view.facts_with_claim(mine.topic)
    committed = view.intervals_of([holder.rid for holder in view.holders(facts, seq)], seq) if facts else {}
    retired = {view.rid(atom_record(key)) for key in staged.retired}
    few = committed if len(committed) <= _LOOKED_AT_MAX else {rid for rid in committed if rid in retired}
    held = {**committed, **{rid: view.intervals(rid) for rid in (*few, *claiming)}}  # this unit may have changed them
    out: list[_Held] = []
    for rid in sorted(held):
        for start, end, holds in held[rid]:
            claim = claim_of(holds.fields)
            if claim is not None and not claim.many and claim.about == mine.about:
                out.append(_Held(rid, start, end, claim))
    return out


def _note(view: LedgerView, other: Rid, claim: Claim, theirs: str) -> ConflictNote:
    subject, predicate, says, said = (
        text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
        for text in (claim.subject, claim.predicate, theirs, claim.object)
    )
    reason = f"{subject} · {predicate}: it says {says!r}, this says {said!r}"
    return ConflictNote(with_id=atom_name(view.record(other).key), kind="claim", reason=reason)


def echoes_of(unit: WriteUnit, superseded: Superseded, told: Iterable[tuple[Sequence[bytes], Draft]]) -> Disagreement:
    """Find what of a write tells superseded memories again, while what took their place still holds.

    The very memory, one with its normalised text, or one with its claim (`docs/design/kernel.md` §3). The notes name what
    stands in their place.
    """
    if not superseded.follow(unit, unit.before.seq):
        return Disagreement([])
    succession = Succession(unit, unit.before.seq, lambda rid: bool(unit.intervals(rid)))
    echoed: dict[str, None] = {}
    notes: dict[str, ConflictNote] = {}
    for keys, draft in told:
        for place, key in enumerate(keys):
            rid = unit.rid(atom_record(key))
            if rid is None or not unit.intervals(rid):
                continue
            text = _text_key(draft, place) if len(keys) == len(draft.parts) else None
            for older, standing in _told_again(unit, superseded, succession, rid, text):
                echoed[atom_name(unit.record(older).key)] = None
                for winner in standing[:RIVALS_NAMED]:
                    name = atom_name(unit.record(winner).key)
                    notes[name] = ConflictNote(with_id=name, kind="superseded_by", reason=_BACK)
    return Disagreement(list(notes.values()), 0, list(echoed))


def _told_again(
    unit: WriteUnit, superseded: Superseded, succession: Succession, rid: Rid, text: TextKey | None
) -> list[tuple[Rid, tuple[Rid, ...]]]:
    """Return the superseded memories that a memory tells again, each with what stands in its place."""
    if rid in superseded and (standing := _at_once(unit, rid, succession.standing(rid))):
        return [(rid, standing)]
    out = []
    claims = [claim for p in unit.intervals(rid) if (claim := claim_of(p.facts.fields)) and not claim.many]
    claimed = {older: claim for claim in claims for older in superseded_claims(unit, claim)}
    for older in dict.fromkeys((*(superseded.told(text) if text else ()), *claimed)):
        if older == rid or succession.succeeds(rid, older):
            continue
        standing = _at_once(unit, rid, succession.standing(older))
        if older in claimed:
            standing = tuple(winner for winner in standing if _claims_otherwise(unit, winner, claimed[older]))
        elif standing and text and superseded.tells(unit, standing, text, older):
            continue
        if standing:
            out.append((older, standing))
    return out


def _claims_otherwise(unit: WriteUnit, rid: Rid, claim: Claim) -> bool:
    """Return whether a memory claims another object for the same subject and predicate."""
    held = [theirs for p in unit.intervals(rid) if (theirs := claim_of(p.facts.fields)) is not None]
    return any(theirs.about == claim.about and theirs.value != claim.value for theirs in held)


def _at_once(unit: WriteUnit, rid: Rid, standing: Sequence[Rid]) -> tuple[Rid, ...]:
    """Return those that hold at a time at which a memory holds too."""
    mine = unit.intervals(rid)
    return tuple(
        other
        for other in standing
        if any(a.valid_from < b.valid_to and b.valid_from < a.valid_to for a in mine for b in unit.intervals(other))
    )


def _text_key(draft: Draft, place: int) -> TextKey | None:
    request = draft.request
    if request.modality in BINARY:
        return None
    return text_key(draft.parts[place].data.decode(), code=request.modality == "code")
