"""What is remembered, recalled, revised, marked and forgotten; and the options that verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cmc_mcp.cli.app import DAILY, command
from cmc_mcp.cli.session import pairs, read_bytes, session_of
from cmc_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from cmc_mcp.write.mark import Outcome
    from cmc_mcp.write.validate import ClaimArguments, RememberOptions

Tag = Annotated[list[str] | None, typer.Option("--tag", "-t", metavar="NAME=VALUE", help="A tag; may be repeated.")]
OnlyTag = Annotated[
    list[str] | None, typer.Option("--tag", "-t", metavar="NAME=VALUE", help="Only with this tag; may be repeated.")
]
ClaimOption = Annotated[
    str | None,
    typer.Option(
        metavar="'SUBJECT | PREDICATE | OBJECT'", help="The statement in three parts; others that disagree are shown."
    ),
]
ValidFrom = Annotated[str | None, typer.Option(metavar="TIME", help="Since when it is true (RFC 3339 or a date).")]
ValidTo = Annotated[str | None, typer.Option(metavar="TIME", help="Until when it is true, exclusive.")]
Confidence = Annotated[float | None, typer.Option(metavar="0..1", help="How sure this is.")]
Priority = Annotated[float | None, typer.Option(metavar="0..1", help="How much it matters; 0.5 by default.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the ledger.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would happen.")]
Digest = Annotated[
    str | None,
    typer.Option(metavar="HEX", help="The digest of a dry run: do exactly that, or refuse if anything changed."),
]
Source = Annotated[str | None, typer.Option(metavar="ORIGIN", help="Only this source.")]
Writer = Annotated[str | None, typer.Option(metavar="NAME", help="Only what this principal wrote.")]


def claim_of(text: str | None) -> ClaimArguments | None:
    """Read a claim written as `subject | predicate | object`.

    Raises:
        InvalidInput: it has not three parts.

    >>> claim_of("production | deploys to | Fly.io")
    {'subject': 'production', 'predicate': 'deploys to', 'object': 'Fly.io'}
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split("|")]
    if len(parts) != 3:
        raise InvalidInput.at("claim", f"has {len(parts)} parts; write 'production | deploys to | Fly.io'")
    return {"subject": parts[0], "predicate": parts[1], "object": parts[2]}


def _content(text: str | None, file: Path | None, binary: bool) -> str | bytes:
    """Take the content from the argument, from a file, or from standard input."""
    if (text is None) == (file is None):
        raise InvalidInput.at("content", "is to be given once: as TEXT, as - for standard input, or by --file")
    if file is not None or text == "-":
        data = read_bytes(file or Path("-"), "file" if file else "content")
        if binary:
            return data
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput.at(
                "content", f"is not UTF-8 text (byte {error.start}); say --modality image or audio"
            ) from error
    assert text is not None
    return text


@command("remember", DAILY, "cmc remember 'The deploy target is Fly.io' --valid-from 2026-06-01 --tag topic=deploy")
def remember(
    context: typer.Context,
    text: Annotated[
        str | None, typer.Argument(help="What to remember; - reads standard input.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Read it from a file (also images and audio).")
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="text, code, event, tool:call, tool:result, image or audio.", metavar="NAME")
    ] = None,
    media_type: Annotated[str | None, typer.Option(metavar="TYPE", help="Such as text/markdown or image/png.")] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="ORIGIN", help="Where it is from; the same origin again is a new version of it."),
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="PATH", help="The conversation that this turn is appended to.")
    ] = None,
    speaker: Annotated[str | None, typer.Option(metavar="NAME", help="Who said it.")] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A title; images and audio are found by it.")
    ] = None,
    occurred_at: Annotated[str | None, typer.Option(metavar="TIME", help="When it was said or happened.")] = None,
    tag: Tag = None,
    claim: ClaimOption = None,
    valid_from: ValidFrom = None,
    valid_to: ValidTo = None,
    confidence: Confidence = None,
    priority: Priority = None,
    model_id: Annotated[str | None, typer.Option(metavar="NAME", help="The model that wrote it.")] = None,
    prompt_template_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The prompt it was written with.")
    ] = None,
    tool_id: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A tool that took part; may be repeated.")
    ] = None,
    derived_from: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A memory it was concluded from; may be repeated.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="With the same key it is done once, however often it is called.")
    ] = None,
) -> None:
    """Remember a note, a document or a turn.

    The receipt names the memories added and the snapshot to go back to.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    options: RememberOptions = {
        "modality": modality or "text",
        "media_type": media_type,
        "source": source,
        "session": session,
        "speaker": speaker,
        "title": title,
        "occurred_at": occurred_at,
        "tags": pairs(tag, "tag"),
        "claim": claim_of(claim),
        "valid_from": valid_from,
        "valid_to": valid_to,
        "confidence": confidence,
        "priority": priority,
        "model_id": model_id,
        "prompt_template_id": prompt_template_id,
        "tool_ids": tool_id or (),
        "derived_from": derived_from or (),
        "idempotency_key": idempotency_key,
    }
    content = _content(text, file, modality in ("image", "audio"))
    with state.memory("write") as memory:
        result = memory.remember(content, **options)
    state.answer(result, lambda out: answers.receipt(out, result))


@command("recall", DAILY, "cmc recall 'where do we deploy?' --as-of 'before the refactor' --limit 3")
def recall(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="The question, in your own words.")],
    budget: Annotated[
        int, typer.Option("--budget", "--budget-tokens", help="How many tokens the answer may take.")
    ] = 2000,
    limit: Annotated[int, typer.Option(help="How many memories at most.")] = 10,
    as_of: Annotated[
        str | None, typer.Option(metavar="STATE", help="As it was known then: a snapshot, label, transaction or time.")
    ] = None,
    valid_at: Annotated[str | None, typer.Option(metavar="TIME", help="What was true at that time.")] = None,
    modality: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these modalities; may be repeated.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Only these sources; may be repeated.")
    ] = None,
    writer: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these writers; may be repeated.")
    ] = None,
    tag: OnlyTag = None,
    min_confidence: Annotated[
        float | None, typer.Option(metavar="0..1", help="Only what is at least this sure.")
    ] = None,
    around: Annotated[int, typer.Option(metavar="0..3", help="Neighbours to show on each side of a memory.")] = 0,
    detail: Annotated[str, typer.Option(help="concise or detailed.")] = "detailed",
    explain: Annotated[bool, typer.Option("--explain", help="Show what each stage did.")] = False,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="The next page of an earlier answer.")] = None,
) -> None:
    """Find what matters for a question, by meaning and by words.

    Each memory comes with its source, times, writer and conflicts; the last line says how it was found.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory() as memory:
        result = memory.recall(
            query,
            budget_tokens=budget,
            limit=limit,
            as_of=as_of,
            valid_at=valid_at,
            modality=modality or None,
            source=source or None,
            writer=writer or None,
            tags=pairs(tag, "tag"),
            min_confidence=min_confidence,
            around=around,
            detail=detail,
            explain=explain,
            cursor=cursor,
        )
    state.answer(result, lambda out: answers.recalled(out, result))


@command(
    "revise", DAILY, "cmc revise atom_3f9a 'The deploy target is Fly.io' --valid-from 2026-06-01 --reason 'we moved'"
)
def revise(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The memory, by its id or a unique beginning of it.")],
    text: Annotated[
        str | None, typer.Argument(help="The new wording; - reads standard input.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the new wording from a file.")] = None,
    claim: ClaimOption = None,
    tag: Tag = None,
    valid_from: ValidFrom = None,
    valid_to: ValidTo = None,
    confidence: Confidence = None,
    priority: Priority = None,
    reason: Reason = None,
) -> None:
    """Correct or change a memory; the old belief stays readable at its time.

    New wording without --valid-from is a correction; with it, a change that took place then.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    content = None if text is None and file is None else _content(text, file, False)
    with state.memory("change") as memory:
        result = memory.revise(
            id,
            content=content,
            claim=claim_of(claim),
            tags=pairs(tag, "tag"),
            valid_from=valid_from,
            valid_to=valid_to,
            confidence=confidence,
            priority=priority,
            reason=reason,
        )
    state.answer(result, lambda out: answers.receipt(out, result))


@command("mark", DAILY, "cmc mark used atom_3f9a atom_7c21 --reason 'cited in the release notes'")
def mark(
    context: typer.Context,
    outcome: Annotated[str, typer.Argument(help="used, right or wrong.", metavar="used|right|wrong")],
    ids: Annotated[list[str], typer.Argument(help="Memories, by their ids.")],
    reason: Reason = None,
) -> None:
    """Report what became of memories, in one transaction.

    What is used fades later; right and wrong measure each writer's confidence, which `cmc doctor` shows.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory("change") as memory:
        result = memory.mark(ids, cast("Outcome", outcome), reason=reason)
    state.answer(result, lambda out: answers.receipt(out, result))


@command("forget", DAILY, "cmc forget --source https://example.org/page --dry-run")
def forget(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Memories, by their ids.", show_default=False)] = None,
    source: Source = None,
    tag: OnlyTag = None,
    writer: Writer = None,
    since: Annotated[str | None, typer.Option(metavar="STATE", help="Only what was recorded after this state.")] = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    erase: Annotated[
        bool, typer.Option("--erase", help="Destroy the content for good. Needs the --digest of a dry run.")
    ] = False,
    digest: Digest = None,
) -> None:
    """Stop believing memories, by ids or by a selection.

    They stay readable in the past, and `cmc rollback` brings them back; only --erase destroys.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory("change") as memory:
        result = memory.forget(
            ids or (),
            source=source,
            tags=pairs(tag, "tag"),
            writer=writer,
            since=since,
            reason=reason,
            dry_run=dry_run,
            erase=erase,
            digest=digest,
        )
    state.answer(result, lambda out: answers.forgotten(out, result))
