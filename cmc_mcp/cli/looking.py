"""Commands that look back and prove: snapshot, rollback, history (also as show, log and diff), verify."""

from __future__ import annotations

from typing import Annotated

import typer

from cmc_mcp.cli.app import PROOF, TIME, command
from cmc_mcp.cli.options import verb
from cmc_mcp.cli.session import NO, Session, session_of
from cmc_mcp.verbs.models import History, Rollback, Snapshot, Verify


@verb(Snapshot, TIME, "cmc snapshot 'before the refactor'")
def snapshot(session: Session, asked: Snapshot) -> None:
    """Return the present state's id, and name that state.

    The same state has the same id. Without a label nothing is written.
    """
    from cmc_mcp.cli import answers

    with session.memory("read" if asked.label is None else "write") as memory:
        result = asked.on(memory)
    session.answer(result, lambda out: answers.snapshot(out, result))


@verb(Rollback, TIME, "cmc rollback 'before the refactor' --dry-run")
def rollback(session: Session, asked: Rollback) -> None:
    """Go back to a state, or undo only the changes of one writer, source or tag.

    A rollback is a new change on top, so it can be rolled back too.
    """
    from cmc_mcp.cli import answers

    with session.memory("change") as memory:
        result = asked.on(memory)
    session.answer(result, lambda out: answers.rolled_back(out, result))


@verb(History, TIME, "cmc history atom_3f9a")
def history(session: Session, asked: History) -> None:
    """Show the ledger, one memory's life, a source's versions, or a diff."""
    from cmc_mcp.cli import answers

    with session.memory() as memory:
        result = asked.on(memory)
    session.answer(result, lambda out: answers.history(out, result))


@command("show", TIME, "cmc show atom_3f9a")
def show(
    context: typer.Context, id: Annotated[str, typer.Argument(help="The memory's id, or a beginning of it.")]
) -> None:
    """Show one memory: its text, provenance, versions and lineage."""
    history(session_of(context), History(id))


@verb(History, TIME, "cmc log --limit 50", name="log", only=("limit", "cursor"))
def log(session: Session, asked: History) -> None:
    """Show the ledger's entries, newest first."""
    history(session, asked)


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
    history(session_of(context), History(from_=from_, to=to))


@verb(Verify, PROOF, "cmc verify --checkpoint head.txt")
def verify(session: Session, asked: Verify) -> None:
    """Re-hash every byte, replay the ledger, and name every fault.

    Exits with 1 when anything does not hold.
    """
    from cmc_mcp.cli import answers

    # the check of full text needs the write lock
    with session.memory("change" if session.writable() else "read") as memory, session.progress("verify") as progress:
        result = asked.on(memory, progress=progress)
    session.answer(result, lambda out: answers.verified(out, result))
    if not result.holds:
        raise typer.Exit(NO)
