"""Items: a memory as an answer shows it."""

from __future__ import annotations

from typing import TypedDict, Unpack, cast

from cmc_mcp.documents.loading import Loaded
from cmc_mcp.model.facts import PRIORITY_DEFAULT, Claim, claim_of, number_of, tags_of
from cmc_mcp.model.results import ClaimModel, ConflictNote, Gate, Item, Neighbour, WitnessModel
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import format_time
from cmc_mcp.model.witness import NO_MODEL, band
from cmc_mcp.store.rows import MODALITIES


def item_of(
    loaded: Loaded, *, score: float = 0.0, recorded_us: int | None = None, detailed: bool = True, **more: Unpack[More]
) -> Item:
    """Return a memory as a reader sees it; `more` holds the fields that a reading adds."""
    fields, witness = loaded.fields, loaded.witness
    claim = claim_of(fields)
    confidence = number_of(fields, "confidence")
    model_id = str(witness.get("model_id", NO_MODEL))
    # everything mutable is given: a default would be copied deeply, which costs more than the rest
    return Item(
        id=loaded.name,
        text=loaded.text,
        score=score,
        modality=MODALITIES[loaded.row.modality],
        media_type=loaded.media_type if detailed else None,
        source=loaded.origin if loaded.row.origin else None,
        place=more.get("place"),
        dependency_hash=more.get("dependency_hash"),
        title=cast("str | None", fields.get("title")),
        session=cast("str | None", loaded.discriminator.get("session")),
        speaker=loaded.speaker,
        occurred_at=None if loaded.occurred_us is None else format_time(loaded.occurred_us),
        valid_from=format_time(loaded.interval.valid_from),
        valid_to=format_time(loaded.interval.valid_to),
        recorded_at=None if recorded_us is None else format_time(recorded_us),
        transaction=loaded.row.seq if detailed else None,
        tags=tags_of(fields),
        claim=None if claim is None else _claim(claim),
        priority=(number_of(fields, "priority") or PRIORITY_DEFAULT) if detailed else None,
        witness=WitnessModel(
            writer=str(witness.get("writer", ERASED)),
            model_id=None if model_id == NO_MODEL else model_id,
            weights_hash=cast("str | None", witness.get("weights_hash")),
            prompt_template_id=cast("str | None", witness.get("prompt_template_id")),
            tool_ids=cast("list[str]", witness.get("tool_ids", [])),
            derived_from=loaded.derived_from,
            confidence=confidence,
            entropy=number_of(fields, "entropy"),
            band=band(confidence),
        ),
        gate=more.get("gate"),
        conflicts=more.get("conflicts", []),
        more_conflicts=more.get("more_conflicts", 0),
        superseded_by=more.get("superseded_by", []),
        stale_premises=more.get("stale_premises", []),
        more_stale_premises=more.get("more_stale_premises", 0),
        duplicates=more.get("duplicates", []),
        around=more.get("around", []),
        why=more.get("why"),
    )


class More(TypedDict, total=False):
    """What a reading says of a memory beside what it is."""

    place: str | None
    dependency_hash: str | None
    gate: Gate | None
    conflicts: list[ConflictNote]
    more_conflicts: int
    superseded_by: list[str]
    stale_premises: list[str]
    more_stale_premises: int
    duplicates: list[str]
    around: list[Neighbour]
    why: dict[str, float] | None


def _claim(claim: Claim) -> ClaimModel:
    return ClaimModel(subject=claim.subject, predicate=claim.predicate, object=claim.object, many=claim.many)
