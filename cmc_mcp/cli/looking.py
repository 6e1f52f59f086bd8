"""What looks back and proves: snapshot, rollback, history (also as show, log and diff), verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmc_mcp.cli.app import PROOF, TIME, command
from cmc_mcp.cli.session import NO, Use, pairs, read_text, session_of
from cmc_mcp.cli.verbs import Digest, DryRun, OnlyTag, Source, Writer
from cmc_mcp.errors import InvalidInput


@command("snapshot", TIME, "cmc snapshot 'before the refactor'")
def snapshot(
    context: typer.Context,
    label: Annotated[str | None, typer.Argument(help="A name for the present state.", show_default=False)] = None,
    label_option: Annotated[
        str | None, typer.Option("--label", metavar="LABEL", help="The same, as an option.")
    ] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="A remark, kept with the label.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Move a label that names another state.")] = False,
) -> None:
    """Give the present state's id, and name it.

    The same state has the same id. Without a label nothing is written.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    if label is not None and label_option is not None:
        raise InvalidInput.at("label", "was given twice: as LABEL and by --label")
    name = label if label is not None else label_option
    with state.memory("read" if name is None else "write") as memory:
        result = memory.snapshot(name, note=note, force=force)
    state.answer(result, lambda out: answers.snapshot(out, result))


@command("rollback", TIME, "cmc rollback 'before the refactor' --dry-run")
def rollback(
    context: typer.Context,
    to: Annotated[
        str | None, typer.Argument(help="The state: a snapshot, label, transaction or time.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="STATE", help="Instead of TO: undo only what came after this, and matches.")
    ] = None,
    writer: Writer = None,
    source: Source = None,
    tag: OnlyTag = None,
    dry_run: DryRun = False,
    digest: Digest = None,
) -> None:
    """Go back to a state; or undo only what one writer, source or tag did.

    A rollback is itself a change on top: it can be rolled back.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory("change") as memory:
        result = memory.rollback(
            to, since=since, writer=writer, source=source, tags=pairs(tag, "tag"), dry_run=dry_run, digest=digest
        )
    state.answer(result, lambda out: answers.rolled_back(out, result))


@command("history", TIME, "cmc history atom_3f9a")
def history(
    context: typer.Context,
    id: Annotated[str | None, typer.Argument(help="One memory: its versions and lineage.", show_default=False)] = None,
    source: Annotated[
        str | None, typer.Option(metavar="ORIGIN", help="One source: its versions and structure.")
    ] = None,
    place: Annotated[
        str | None, typer.Option(metavar="PATH", help="With --source: a place in it, and what is around that.")
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="STATE", help="The first state of a diff.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="STATE", help="The second state of a diff; now by default.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many entries at most.")] = 20,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="The next page of an earlier answer.")] = None,
) -> None:
    """Show the ledger, one memory's life, a source's versions, or a diff."""
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory() as memory:
        result = memory.history(id, source=source, place=place, from_=from_, to=to, limit=limit, cursor=cursor)
    state.answer(result, lambda out: answers.history(out, result))


@command("show", TIME, "cmc show atom_3f9a")
def show(
    context: typer.Context, id: Annotated[str, typer.Argument(help="The memory's id, or a beginning of it.")]
) -> None:
    """Show one memory: its text, provenance, versions and lineage."""
    history(context, id, None, None, None, None, 20, None)


@command("log", TIME, "cmc log --limit 50")
def log(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many entries at most.")] = 20,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="The next page of an earlier answer.")] = None,
) -> None:
    """Show the ledger's entries, newest first."""
    history(context, None, None, None, None, None, limit, cursor)


@command("diff", TIME, "cmc diff 'before the refactor' 42")
def diff(
    context: typer.Context,
    from_: Annotated[
        str, typer.Argument(metavar="FROM", help="The first state: a snapshot, label, transaction or time.")
    ],
    to: Annotated[
        str | None, typer.Argument(metavar="TO", help="The second state; now by default.", show_default=False)
    ] = None,
) -> None:
    """Show what was added, removed and changed between two states."""
    history(context, None, None, None, from_, to, 20, None)


@command("verify", PROOF, "cmc verify --checkpoint head.txt")
def verify(
    context: typer.Context,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A signed checkpoint kept elsewhere; - reads standard input.")
    ] = None,
    public_key: Annotated[
        str | None, typer.Option(metavar="HEX", help="The key that must have signed it; one's own by default.")
    ] = None,
    id: Annotated[str | None, typer.Option(metavar="ID", help="Also prove that this memory is in the ledger.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also embed every text again and compare.")] = False,
) -> None:
    """Re-hash every byte, replay the ledger, and name every fault.

    Exits with 1 when anything does not hold.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    text = None if checkpoint is None else checkpoint_text(read_text(checkpoint, "checkpoint"))
    use: Use = "change" if state.writable() else "read"  # the check of full text needs the write lock
    with state.memory(use) as memory, state.progress("verify") as progress:
        result = memory.verify(checkpoint=text, public_key=public_key, id=id, deep=deep, progress=progress)
    state.answer(result, lambda out: answers.verified(out, result))
    if not result.holds:
        raise typer.Exit(NO)


def checkpoint_text(text: str) -> str:
    """Take the checkpoint out of what `cmc --json checkpoint` wrote; a bare checkpoint is itself."""
    if not text.lstrip().startswith("{"):
        return text
    from pydantic import ValidationError

    from cmc_mcp.model.results import CheckpointResult

    try:
        return CheckpointResult.model_validate_json(text).checkpoint
    except ValidationError as error:
        raise InvalidInput.at("checkpoint", "is neither a checkpoint nor the JSON of one") from error
