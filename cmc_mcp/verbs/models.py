"""The verbs: one frozen model each. A new argument is a field here, and a parameter of the facade's method.

A field says, in this order: the default, the form, the description in the tool's schema, the option of the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Literal, get_args

from cmc_mcp.model.modality import MODALITIES
from cmc_mcp.verbs.argument import Option, Verb, argument, required

if TYPE_CHECKING:
    from cmc_mcp.canon import Json
    from cmc_mcp.model.facts import Claim, ClaimArguments
    from cmc_mcp.model.results import (  # noqa: F401, most stand in quotes
        ForgetResult,
        HistoryResult,
        RecallResult,
        Receipt,
        RollbackResult,
        SnapshotResult,
        VerifyResult,
    )
    from cmc_mcp.model.time import PointLike, TimeLike

Outcome = Literal["used", "right", "wrong"]
OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
DETAILS: Final = ("concise", "detailed")
CRITICALITIES: Final = ("critical", "important", "routine", "low-stakes")

_TAG: Final = Option("A tag; may be repeated.", "NAME=VALUE", ("--tag", "-t"))
_ONLY_TAG: Final = Option("Only with this tag; may be repeated.", "NAME=VALUE", ("--tag", "-t"))
_CLAIM: Final = Option(
    "The statement in three parts; others that disagree are shown.", "'SUBJECT | PREDICATE | OBJECT'"
)
_VALID_FROM: Final = Option("Since when it is true (RFC 3339 or a date).", "TIME")
_VALID_TO: Final = Option("Until when it is true, exclusive.", "TIME")
_CONFIDENCE: Final = Option("How sure this is.", "0..1")
_PRIORITY: Final = Option("How much it matters; 0.5 by default.", "0..1", before="model_id")
_REASON: Final = Option("Why, for the ledger.", "TEXT")
_DRY_RUN: Final = Option("Only show what would happen.", flags=("--dry-run", "-n"))
_DIGEST: Final = Option("The digest of a dry run: do exactly that, or refuse if anything changed.", "HEX")
_SOURCE: Final = Option("Only this source.", "ORIGIN")
_WRITER: Final = Option("Only what this principal wrote.", "NAME")
_CURSOR: Final = Option("The next page of an earlier answer.", "CURSOR")


# fmt: off
class Remember(Verb["Receipt"]):
    """Keep one thing. The facade takes these as `RememberOptions`, so that `remember_many` takes the same."""

    verb: ClassVar = "remember"

    content: str | bytes = required(
        "content", "Text; base64 for image and audio; JSON for an event",
        Option(
            "What to remember; - reads standard input.", place=True,
            more="Read it from a file (also images and audio).",
        ),
        limit="CONTENT_BYTES_MAX",
    )
    modality: str = argument(
        "text", "choice", "",
        Option("text, code, event, tool:call, tool:result, image, audio or data.", "NAME", shows_default=False),
        options=MODALITIES, called="modality",
    )
    media_type: str | None = argument(
        None, "media type", "Such as image/png; needed for image and audio",
        Option("Such as text/markdown or image/png.", "TYPE"), turn=2,
    )
    source: str | None = argument(
        None, "origin", "URI or name of the whole; again: its new version",
        Option("Where it is from; the same origin again is a new version of it.", "ORIGIN"), limit="ORIGIN_CHARS_MAX",
        turn=3,
    )
    session: str | None = argument(
        None, "text", "Conversation this is the next turn of: team/2026-05-08",
        Option("The conversation that this turn is appended to.", "PATH"), limit="SESSION_CHARS_MAX", turn=2,
    )
    speaker: str | None = argument(
        None, "text", "", Option("Who said it.", "NAME"), limit="SPEAKER_CHARS_MAX", turn=2,
    )
    title: str | None = argument(
        None, "text", "", Option("A title; images and audio are found by it.", "TEXT"), limit="TITLE_CHARS_MAX",
        fact=True, turn=8,
    )
    occurred_at: TimeLike | None = argument(
        None, "time", "When it was said or happened", Option("When it was said or happened.", "TIME"), turn=4,
    )
    tags: Mapping[str, str] | None = argument(None, "tags", "Names to values to filter by", _TAG, fact=True, turn=7)
    claim: ClaimArguments | Claim | None = argument(
        None, "claim", "The fact in three parts: lets contradictions be seen", _CLAIM, fact=True, turn=7,
    )
    valid_from: TimeLike | None = argument(None, "time", "", _VALID_FROM)
    valid_to: TimeLike | None = argument(None, "time", "", _VALID_TO)
    confidence: float | None = argument(None, "number", "0 to 1, honestly", _CONFIDENCE, fact=True, turn=8)
    entropy: float | None = argument(None, "number", None, most=1e6, fact=True, turn=8)
    model_id: str | None = argument(
        None, "text", "The model that wrote this", Option("The model that wrote it.", "NAME"),
        limit="MODEL_ID_CHARS_MAX", turn=5,
    )
    weights_hash: str | None = argument(None, "text", None, limit="MODEL_ID_CHARS_MAX", turn=5)
    prompt_template_id: str | None = argument(
        None, "text", "", Option("The prompt it was written with.", "ID"), limit="MODEL_ID_CHARS_MAX", turn=5,
    )
    tool_ids: Sequence[str] = argument(
        (), "texts", "", Option("A tool that took part; may be repeated.", "ID", ("--tool-id",)), limit="TOOL_IDS_MAX",
        turn=1,
    )
    derived_from: Sequence[str] = argument(
        (), "texts", "Ids of the memories this follows from",
        Option("A memory it was concluded from; may be repeated.", "ID"), limit="DERIVED_FROM_MAX", turn=1,
    )
    priority: float | None = argument(
        None, "number", "0 to 1; default 0.5", _PRIORITY, fact=True, usual=0.5, turn=8,
    )
    decay_tau_s: int | None = argument(None, "seconds", None, fact=True, usual=604_800, turn=8)
    metadata: Mapping[str, Json] | None = argument(None, "map", None, limit="METADATA_BYTES_MAX", fact=True, turn=8)
    idempotency_key: str | None = argument(
        None, "text", "Makes a retry safe",
        Option("With the same key it is done once, however often it is called.", "KEY"),
        limit="IDEMPOTENCY_KEY_CHARS_MAX", turn=6,
    )


class Recall(Verb["RecallResult"]):
    """Answer a question inside a token budget, at any point of either clock."""

    verb: ClassVar = "recall"

    query: str = required(
        "question", "", Option("The question, in your own words.", place=True), limit="QUERY_CHARS_MAX",
    )
    budget_tokens: int = argument(
        2000, "count", "For the memories' text; notes come on top",
        Option("How many tokens the answer may take.", flags=("--budget", "--budget-tokens")),
        limit="BUDGET_TOKENS_MAX", least=1,
    )
    limit: int = argument(10, "count", "", Option("How many memories at most."), limit="RECALL_ITEMS_MAX", least=1)
    as_of: PointLike | None = argument(
        None, "point", "", Option("As it was known then: a snapshot, label, transaction or time.", "STATE"),
        scoped=False,
    )
    valid_at: TimeLike | None = argument(
        None, "time", "Time or date", Option("What was true at that time.", "TIME"), scoped=False,
    )
    modality: str | Sequence[str] | None = argument(
        None, "any", "Such as code", Option("Only these modalities; may be repeated.", "NAME"), options=MODALITIES,
        called="modality",
    )
    source: str | Sequence[str] | None = argument(
        None, "any", "", Option("Only these sources; may be repeated.", "ORIGIN"), turn=1,
    )
    writer: str | Sequence[str] | None = argument(
        None, "any", "", Option("Only these writers; may be repeated.", "NAME"), turn=1,
    )
    tags: Mapping[str, str] | None = argument(None, "matching", "All must match", _ONLY_TAG)
    min_confidence: float | None = argument(None, "number", "", Option("Only what is at least this sure.", "0..1"))
    around: int = argument(
        0, "count", "Neighbours on each side, to 3", Option("Neighbours to show on each side of a memory.", "0..3"),
        limit="AROUND_MAX",
    )
    detail: str = argument(
        "detailed", "choice", "detailed adds provenance", Option("concise or detailed."), options=DETAILS,
        scoped=False, tool_default="concise",
    )
    explain: bool = argument(
        False, "flag", "Adds scores and the trace", Option("Show what each stage did."), scoped=False,
    )
    cursor: str | None = argument(None, "text", "next_cursor, with the same arguments", _CURSOR, blank=True, scoped=False)
    trust: str | None = argument(
        None, "choice", None,
        Option("proved: check first, as verify does, that everything leads to --head.", "proved"), options=("proved",),
        called="degree of trust", scoped=False,
    )
    head: str | None = argument(
        None, "checkpoint", None,
        Option("The head that was kept: log_root of `cmc verify --json`, or a file with a checkpoint.", "HASH|FILE"),
        scoped=False,
    )
    criticality: str | None = argument(
        None, "choice", None,
        Option("What is at stake; what is not sure enough for it is marked.", "|".join(CRITICALITIES)),
        options=CRITICALITIES, called="criticality",
    )
    withhold: bool = argument(False, "flag", None, Option("Withhold what is not sure enough."))


class Revise(Verb["Receipt"]):
    """Change what is believed about one memory; the old belief stays readable."""

    verb: ClassVar = "revise"

    id: str = required(
        "text", "From recall; a unique prefix will do",
        Option("The memory, by its id or a unique beginning of it.", place=True),
    )
    content: str | bytes | None = argument(
        None, "content", "",
        Option("The new wording; - reads standard input.", place=True, more="Read the new wording from a file."),
    )
    claim: ClaimArguments | None = argument(None, "claim", "", _CLAIM, fact=True)
    tags: Mapping[str, str] | None = argument(None, "tag set", "", _TAG, fact=True)
    valid_from: TimeLike | None = argument(None, "time", "", _VALID_FROM)
    valid_to: TimeLike | None = argument(None, "time", "", _VALID_TO)
    confidence: float | None = argument(None, "number", "", _CONFIDENCE, fact=True)
    priority: float | None = argument(None, "number", "", _PRIORITY, fact=True, usual=0.5)
    reason: str | None = argument(None, "text", "", _REASON, limit="REASON_CHARS_MAX")


class Mark(Verb["Receipt"]):
    """Report what became of memories."""

    verb: ClassVar = "mark"

    ids: Sequence[str] | str = required(
        "texts", "At most 1,000", Option("Memories, by their ids.", place=True), limit="BATCH_ITEMS_MAX",
    )
    outcome: Outcome = required(
        "choice", "", Option("used, right or wrong.", "used|right|wrong", place=True, before="ids"), options=OUTCOMES,
        called="outcome",
    )
    reason: str | None = argument(None, "text", "", _REASON, limit="REASON_CHARS_MAX")


class Forget(Verb["ForgetResult"]):
    """End belief in memories, or erase them."""

    verb: ClassVar = "forget"

    ids: Sequence[str] | str = argument(
        (), "texts", "Unique prefixes will do", Option("Memories, by their ids.", place=True), limit="FORGET_IDS_MAX",
    )
    source: str | None = argument(None, "text", "", _SOURCE)
    tags: Mapping[str, str] | None = argument(None, "matching", "", _ONLY_TAG)
    writer: str | None = argument(None, "text", "", _WRITER, limit="PRINCIPAL_CHARS_MAX", turn=1)
    since: PointLike | None = argument(
        None, "point", "Changed after this snapshot, label, transaction, time",
        Option("Only what was recorded after this state.", "STATE"),
    )
    reason: str | None = argument(None, "text", "", _REASON, limit="REASON_CHARS_MAX")
    dry_run: bool = argument(False, "flag", "", _DRY_RUN)
    erase: bool = argument(
        False, "flag", "", Option("Destroy the content for good. Needs the --digest of a dry run."),
    )
    digest: str | None = argument(None, "text", "From the dry run", _DIGEST, blank=True)


class Snapshot(Verb["SnapshotResult"]):
    """Return the id of the present state, and name it."""

    verb: ClassVar = "snapshot"

    label: str | None = argument(
        None, "text", "Unique name",
        Option("A name for the present state.", "LABEL", place=True, more="The same, as an option."),
        limit="LABEL_CHARS_MAX",
    )
    note: str | None = argument(
        None, "text", "", Option("A remark, kept with the label.", "TEXT"), limit="REASON_CHARS_MAX", blank=True,
    )
    force: bool = argument(False, "flag", "Move the label", Option("Move a label that names another state."))


class Rollback(Verb["RollbackResult"]):
    """Go back to a state, or undo only what matches."""

    verb: ClassVar = "rollback"

    to: PointLike | SnapshotResult | None = argument(
        None, "point", "", Option("The state: a snapshot, label, transaction or time.", place=True),
    )
    since: PointLike | None = argument(
        None, "point", "Only changes after this state",
        Option("Instead of TO: undo only what came after this, and matches.", "STATE"),
    )
    writer: str | None = argument(None, "text", "", _WRITER, blank=True)
    source: str | None = argument(None, "text", "", _SOURCE, blank=True)
    tags: Mapping[str, str] | None = argument(None, "matching", "", _ONLY_TAG)
    dry_run: bool = argument(False, "flag", "", _DRY_RUN)
    digest: str | None = argument(None, "text", "From the dry run", _DIGEST, blank=True)


class History(Verb["HistoryResult"]):
    """Show the ledger, one memory's life, a source's versions, or a diff."""

    verb: ClassVar = "history"

    id: str | None = argument(
        None, "text", "", Option("One memory: its versions and lineage.", place=True), blank=True,
    )
    source: str | None = argument(
        None, "text", "", Option("One source: its versions and structure.", "ORIGIN"), blank=True,
    )
    place: str | None = argument(
        None, "text", "A path in source", Option("With --source: a place in it, and what is around that.", "PATH"),
        blank=True,
    )
    from_: PointLike | None = argument(None, "point", "", Option("The first state of a diff.", "STATE", ("--from",)))
    to: PointLike | None = argument(
        None, "point", "", Option("The second state of a diff; now by default.", "STATE"),
    )
    limit: int = argument(
        20, "count", "Of transactions", Option("How many entries at most."), limit="HISTORY_ITEMS_MAX", least=1,
    )
    cursor: str | None = argument(None, "text", "next_cursor of the last answer", _CURSOR, blank=True)


class Verify(Verb["VerifyResult"]):
    """Prove that memory is what was recorded, or name every fault."""

    verb: ClassVar = "verify"

    checkpoint: str | None = argument(
        None, "checkpoint", "", Option("A signed checkpoint kept elsewhere; - reads standard input.", "FILE"),
    )
    public_key: str | None = argument(
        None, "text", None, Option("The key that must have signed it; one's own by default.", "HEX"),
        blank=True,
    )
    id: str | None = argument(
        None, "text", "", Option("Also prove that this memory is in the ledger.", "ID"), blank=True,
    )
    deep: bool = argument(False, "flag", "", Option("Also embed every text again and compare."))
