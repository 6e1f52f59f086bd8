"""The question: the arguments of `recall`, checked, and the filter they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cmc_mcp.canon import Json, canonical, payload_hash
from cmc_mcp.history.references import facts_tagged, origins_like, witnesses_like
from cmc_mcp.ids import PayloadHash, Pid, Rid
from cmc_mcp.model.facts import TAG
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import MODALITIES, Filter
from cmc_mcp.verbs.check import checked
from cmc_mcp.verbs.models import Recall


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and within which bounds.

    Cursors are sealed with the `repr` of the fields, so no field may be added. `further` holds the later arguments, as
    JSON, where they are not their defaults.
    """

    query: str
    budget_tokens: int
    limit: int
    modalities: tuple[str, ...]
    sources: tuple[str, ...]
    writers: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]
    min_confidence: float | None
    around: int = 0  # neighbours on each side
    further: Mapping[str, Json] = field(default_factory=dict, repr=False, hash=False)

    def scope(self, workspace: str, settings: str) -> list[str]:
        """Return the values that bind a cursor to this question."""
        return [workspace, settings, repr(self), *([canonical(self.further).decode()] if self.further else ())]


def question(asked: Recall) -> Question:
    """Check the arguments of `recall` that say what is to be found.

    Raises:
        InvalidInput: something is wrong, each problem with its path.
        LimitExceeded: a bound was passed.
    """
    verb = type(asked)
    found = checked(asked, leave=verb.unscoped)
    least, pop = found.pop("min_confidence", None), found.pop
    return Question(
        pop("query"), pop("budget_tokens"), pop("limit"), pop("modality", ()), pop("source", ()), pop("writer", ()),
        pop("tags", ()), None if least is None else float(least), pop("around"),
        {name: value for name, value in found.items() if value != verb.abouts[name].default},
    )  # fmt: skip


def limits_of(view: LedgerView, asked: Question, kappa: float | None = None) -> Filter | None:
    """Turn a question's filters into numbers; None when nothing here can pass them.

    Names of tags, sources and writers match whatever is equal to them after NFC and case folding, as of any state.
    With `kappa`, what is not known to be as sure as that is withheld. A note, having no source of its own, is named by its
    origin `note:…`.
    """
    facts: list[tuple[Pid, ...]] = []
    for name, value in asked.tags:
        facts.append(tuple(facts_tagged(view, name.removeprefix(TAG), value)))
    least = [confidence for confidence in (asked.min_confidence, kappa) if confidence is not None]
    if least:
        facts.append(tuple(view.facts_with_confidence(round(max(least) * 1_000_000))))
    if not all(facts):
        return None
    named = dict.fromkeys(each for o in asked.sources for each in (o, *origins_like(view, o)))
    origins = tuple(pid for o in named if (pid := view.pid(payload_hash(o.encode()))) is not None)
    notes = tuple(rid for o in asked.sources if o.startswith("note:") for rid in _note(view, o))
    witnesses = tuple(pid for writer in asked.writers for pid in witnesses_like(view, writer))
    if (asked.sources and not origins and not notes) or (asked.writers and not witnesses):
        return None
    if origins and notes:  # named by either, not by both
        notes += tuple(row.rid for pid in origins for row in view.atoms_with_origin(pid))
        origins = ()
    return Filter(
        modalities=tuple(MODALITIES.index(m) for m in asked.modalities) or None,
        origins=origins or None,
        witnesses=witnesses or None,
        facts=tuple(facts),
        rids=notes or None,
    )


def _note(view: LedgerView, origin: str) -> list[Rid]:
    try:
        pid = view.pid(PayloadHash(bytes.fromhex(origin.removeprefix("note:"))))
    except ValueError:
        return []
    return [] if pid is None else [row.rid for row in view.atoms_with_content(pid) if not row.origin]
