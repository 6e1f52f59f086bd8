"""Commands that keep a memory outside its store: checkpoint, backup, restore."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cmc_mcp.cli.app import PROOF, command
from cmc_mcp.cli.session import NO, read_text, session_of, whole_file
from cmc_mcp.errors import StoreError


@command("checkpoint", PROOF, "cmc checkpoint --out ~/elsewhere/head.txt")
def checkpoint(
    context: typer.Context,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The signing key: 64 hex digits; created if the file does not exist."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the checkpoint to a file.")] = None,
) -> None:
    """Sign the present state; keep the checkpoint outside the store.

    `cmc verify --checkpoint FILE` then finds edits, deletions, truncation and older copies.
    """
    from cmc_mcp.cli import answers
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.environment import signing_key

    state = session_of(context)
    with state.memory() as memory:
        seed = signing_key({"CMC_SIGNING_KEY_FILE": str(key.expanduser())}) if key else None
        result = memory.checkpoint(seed)
    if out is not None:
        try:
            # a pipe that nobody reads refuses, and does not wait
            descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o666)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(result.checkpoint)
        except OSError as error:
            raise StoreError(f"the checkpoint cannot be written to {out} ({error.strerror})") from error
    if out is None or state.json:
        state.answer(result, lambda o: answers.checkpoint(o, result))
        return
    state.out.line(Styled("✓ ", "green"), f"transaction {result.transaction} signed; keep {out} away from the store")
    state.out.line("  public key ", Styled(result.public_key, "cyan"))


@command("backup", PROOF, "cmc backup /mnt/backup/memory-2026-06-01.db")
def backup(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The new file; it must not exist.")],
) -> None:
    """Copy the live store to a new file, while others read and write.

    The copy is itself a store: name it with --store, or put it in the place of a damaged one.
    """
    from cmc_mcp.cli.show import Styled

    state = session_of(context)
    with state.memory() as memory, state.progress("backup, pages") as progress:
        memory.backup(path, progress=progress)
    target = path.expanduser().absolute()
    size = target.stat().st_size
    if state.json:
        state.print_json({"backup": str(target), "bytes": size})
        return
    state.out.line(Styled("✓ ", "green"), f"{target}  {size:,} bytes")


@command("restore", PROOF, "cmc restore /mnt/backup/memory-2026-06-01.db --checkpoint head.txt")
def restore_(
    context: typer.Context,
    backup: Annotated[Path, typer.Argument(help="The file that `cmc backup` wrote; it is only read.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="PATH", help="Restore to this new place, and leave the store alone.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A signed checkpoint that the backup must hold; - is stdin.")
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The key that must have signed the checkpoint; your own by default."),
    ] = None,
) -> None:
    """Verify a backup, and put it in the place of the store; the store that was there is kept aside.

    Nothing is changed until a copy beside the store has been verified whole. Stop the servers first: a store
    that another process has open is not replaced. Exits with 1 when the backup does not verify.
    """
    from cmc_mcp.cli.options import checkpoint_text
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.memory import Memory

    state = session_of(context)
    asked = state.configuration()
    present = whole_file(asked)
    head = None if checkpoint is None else checkpoint_text(read_text(checkpoint, "checkpoint"))
    with state.progress("restore") as progress:
        done = Memory.restore(
            backup,
            to or present,
            key=asked.key,
            replace=to is None,
            checkpoint=head,
            public_key=public_key,
            workspace=asked.workspace,
            progress=progress,
        )
    if state.json:
        state.print_json(
            {
                "restored": None if done.faults else done.path,
                "aside": done.aside,
                "transactions": {**done.transactions},
                "faults": [fault.lean() for fault in done.faults],
            }
        )
    elif done.faults:
        state.out.line(Styled(f"✗ the backup has {len(done.faults)} faults; nothing was changed", "bold red"))
        state.out.table(("table", "key", "what is wrong"), [(f.table, f.key, f.reason) for f in done.faults])
        state.out.line("Take an older backup, or a newer checkpoint's backup if it is only older than the checkpoint.")
    else:
        ends = ", ".join(f"{name} at transaction {seq}" for name, seq in done.transactions.items())
        state.out.line(Styled("✓ ", "green"), f"{done.path}  verified: {ends or 'no workspace'}")
        if done.aside is not None:
            state.out.line("  the store before is kept as ", Styled(done.aside, "cyan"))
    if done.faults:
        raise typer.Exit(NO)
