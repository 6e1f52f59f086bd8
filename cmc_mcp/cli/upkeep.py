"""What looks after a memory: vectors, derived tables, indexes and parts of a database, quarantine, policies."""

from __future__ import annotations

from typing import Annotated

import typer

from cmc_mcp.cli.app import CARE, app, command
from cmc_mcp.cli.session import NO, session_of
from cmc_mcp.errors import InvalidInput


@command("embed", CARE, "cmc embed")
def embed(context: typer.Context) -> None:
    """Make the vectors that are still missing; can be interrupted and called again."""
    state = session_of(context)
    if not state.model:
        raise InvalidInput.at("--no-model", "goes not with embed, which needs the model")
    with state.memory("change") as memory:
        pending = memory.status()["pending"]
        with state.progress("embed", pending if isinstance(pending, int) else None) as progress:
            done = memory.embed_pending(progress=progress)
    if state.json:
        state.print_json({"embedded": done})
        return
    state.out.line(f"{done:,} texts embedded" if done else "Every memory has its vector.")


@command("rebuild", CARE, "cmc rebuild")
def rebuild(context: typer.Context) -> None:
    """Write indexes, trees and full text anew from the ledger; answers stay what they were.

    Mends what `cmc verify` finds wrong with derived tables. Refused, changing nothing, when the ledger itself does not
    verify: then restore the last backup. Exits with 1 when something does not hold even so.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory("change") as memory, state.progress("rebuild") as progress:
        result = memory.rebuild(progress=progress)
    state.answer(result, lambda out: answers.verified(out, result))
    if not result.holds:
        raise typer.Exit(NO)


@command("index", CARE, "cmc index --store postgresql://cmc@db.internal/memory --workspace team")
def index(
    context: typer.Context,
    drop: Annotated[bool, typer.Option("--drop", help="Take the index away: every answer is exact again.")] = False,
) -> None:
    """Have PostgreSQL find the nearest vectors of a workspace through an HNSW index.

    A server that keeps the vectors in memory (CMC_MATRIX_BYTES) finds the nearest exactly, and has no use for it. One that
    keeps none asks the database, which reads every vector, or, with this index, few: sooner, and one of a hundred may be
    missed. `recall --explain` says so. Others read and write meanwhile; Ctrl-C leaves nothing half-made.
    """
    from cmc_mcp.cli.show import Styled

    state = session_of(context)
    with state.memory("change") as memory, state.progress("index", patience_s=0) as progress:
        found = memory.index(drop=drop, progress=progress)
    if state.json:
        state.print_json([{"model": model, "bytes": size} for model, size in found])
        return
    for model, size in found:
        done = "is gone" if drop else f"is ready, {size / 1e6:.1f} MB"
        state.out.line(Styled("✓ ", "green"), f"{memory.workspace}: the index of model {model} {done}")
    if not found:
        state.out.line(f"{memory.workspace} has no index")


@command("partition", CARE, "cmc partition 32 --store postgresql://cmc@db.internal/memory")
def partition(
    context: typer.Context,
    parts: Annotated[int, typer.Argument(help="Into how many parts, 2 to 256.", metavar="PARTS", show_default=False)],
) -> None:
    """Make the tables of an empty PostgreSQL database in parts, by a hash of the workspace.

    For very many workspaces, or very large ones: a workspace lies in one part of each table, and what looks after tables
    (vacuum, new indexes, moving) works on a part at a time. Nothing else changes: the same ids, snapshots and answers. It is
    decided once, before the first memory.
    """
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.clock import SystemClock
    from cmc_mcp.environment import shown
    from cmc_mcp.store.opening import partition

    state = session_of(context)
    place = state.configuration().store
    partition(place, parts, clock=SystemClock())
    if state.json:
        state.print_json({"store": shown(place), "partitions": parts})
        return
    state.out.line(Styled("✓ ", "green"), f"{shown(place)} has its tables, each in {parts} parts")


# ---------------------------------------------------------------------- quarantine and policies
_quarantine = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    _quarantine, name="quarantine", rich_help_panel=CARE, help="List what the gate kept back, and let it in.",
    epilog="Example:  cmc quarantine list",
)  # fmt: skip


@command("list", CARE, "cmc quarantine list", into=_quarantine)
def quarantine_list(context: typer.Context) -> None:
    """List what the gate kept back, and why."""
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory() as memory:
        entries = memory.quarantine()
    if state.json:
        state.print_json([entry.lean() for entry in entries])
        return
    answers.quarantine(state.out, entries)


@command("release", CARE, "cmc quarantine release gate_3f9a", into=_quarantine)
def quarantine_release(
    context: typer.Context, id: Annotated[str, typer.Argument(help="The entry's id, from `cmc quarantine list`.")]
) -> None:
    """Let something out of quarantine: it is remembered as it came."""
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory("change") as memory:
        result = memory.release(id)
    state.answer(result, lambda out: answers.receipt(out, result))


_policy = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    _policy, name="policy", rich_help_panel=CARE, help="Set what the workspace's gate asks for.",
    epilog="Example:  cmc policy set gate.min_confidence 0.5",
)  # fmt: skip


@command("set", CARE, "cmc policy set gate.min_confidence 0.5", into=_policy)
def policy_set(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The policy: gate.min_confidence.")],
    value: Annotated[str, typer.Argument(help="A number from 0 to 1; 'none' removes the policy.")],
) -> None:
    """Set a policy of the workspace; what the gate then refuses is kept in quarantine."""
    state = session_of(context)
    try:
        number = None if value == "none" else float(value)
    except ValueError as error:
        raise InvalidInput.at("value", f"{value!r:.40} is neither a number nor 'none'") from error
    if number is not None and not 0 <= number <= 1:
        raise InvalidInput.at("value", f"{value} is not from 0 to 1")
    with state.memory("write") as memory:
        memory.set_policy(name, number)
    if state.json:
        state.print_json({"name": name, "value": number})
        return
    state.out.line(f"{name} was removed" if number is None else f"{name} = {number:g}")
