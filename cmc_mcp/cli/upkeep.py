"""Commands that look after a memory: missing vectors, derived tables, quarantine, policies."""

from __future__ import annotations

from typing import Annotated

import typer

from cmc_mcp.cli.app import CARE, app, command
from cmc_mcp.cli.session import NO, session_of
from cmc_mcp.errors import InvalidInput


@command("embed", CARE, "cmc embed")
def embed(context: typer.Context) -> None:
    """Make the missing vectors; the command can be interrupted and run again."""
    state = session_of(context)
    if not state.model:
        raise InvalidInput.at("--no-model", "cannot be combined with embed, which needs the model")
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
    """Rebuild indexes, trees and full text from the ledger; answers stay the same.

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


# ---------------------------------------------------------------------- quarantine and policies
_quarantine = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    _quarantine, name="quarantine", rich_help_panel=CARE, help="List the entries that the gate kept back, and release them.",
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
    """Release an entry from quarantine: the entry is remembered exactly as it came."""
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory("change") as memory:
        result = memory.release(id)
    state.answer(result, lambda out: answers.receipt(out, result))


_policy = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    _policy, name="policy", rich_help_panel=CARE, help="Set the policies of the workspace's gate.",
    epilog="Example:  cmc policy set gate.min_confidence 0.5",
)  # fmt: skip


@command("set", CARE, "cmc policy set gate.min_confidence 0.5", into=_policy)
def policy_set(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The policy: gate.min_confidence.")],
    value: Annotated[str, typer.Argument(help="A number from 0 to 1; 'none' removes the policy.")],
) -> None:
    """Set a policy of the workspace; whatever the gate then refuses is kept in quarantine."""
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
