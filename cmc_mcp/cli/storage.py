"""Commands about where a memory is stored: the key of its file, its place, the indexes and parts of its database."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cmc_mcp.cli.app import CARE, PROOF, command
from cmc_mcp.cli.session import INTERRUPTED, session_of, whole_file
from cmc_mcp.errors import InvalidInput


@command("rekey", PROOF, "cmc rekey --new-key-file ~/keys/memory-2027.key")
def rekey(
    context: typer.Context,
    new_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The new key: 64 hex digits or a passphrase (or CMC_NEW_KEY[_FILE])."),
    ] = None,
    decrypt: Annotated[
        bool, typer.Option("--decrypt", help="Use no key from now on: store everything in the clear.")
    ] = False,
) -> None:
    """Encrypt the store and its objects with another key, or for the first time.

    CMC_KEY or CMC_KEY_FILE is the present key. Stop the servers that use the store first. A copy under the new key is made
    beside the store and takes its place, so as much space is needed again. After an interruption the store opens with the
    old key, or, once the copy was whole, with the new one. Earlier backups keep their key; so may old blocks of a flash
    disk.
    """
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.environment import key_from
    from cmc_mcp.memory import Memory

    state = session_of(context)
    environment = (
        {**os.environ, "CMC_NEW_KEY": "", "CMC_NEW_KEY_FILE": str(new_key_file.expanduser())}
        if new_key_file
        else os.environ
    )
    new = key_from(environment, "CMC_NEW_KEY")
    if decrypt == (new is not None):
        raise InvalidInput.at(
            "--new-key-file",
            "pass either the new key (or set CMC_NEW_KEY or CMC_NEW_KEY_FILE) or --decrypt, and not both",
        )
    asked = state.configuration()
    path = whole_file(asked)
    with state.progress("rekey") as progress:
        Memory.rekey(path, key=asked.key, new_key=new, progress=progress)
    if state.json:
        state.print_json({"store": str(path), "encrypted": new is not None})
        return
    said = "is encrypted with the new key; the old one opens nothing" if new else "is in the clear now"
    state.out.line(Styled("✓ ", "green"), f"{path} {said}")


@command("migrate", PROOF, "cmc migrate --from memory.db --to postgresql://cmc@db.internal/memory")
def migrate(
    context: typer.Context,
    source: Annotated[str, typer.Option("--from", metavar="PATH_OR_URL", help="The store to copy the memory from.")],
    target: Annotated[str, typer.Option("--to", metavar="PATH_OR_URL", help="The store to copy it to.")],
    from_objects: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Where the source keeps large content; default: with the rest."),
    ] = None,
    to_objects: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Where the target keeps large content; default: with the rest."),
    ] = None,
) -> None:
    """Copy a memory into another store, exactly: the same ids, snapshots, hashes and history.

    Every workspace goes, or the one that --workspace names (several with commas between). The source is only read; it is
    verified before, and the copy after, root by root. Until then nobody can open the copy. Ctrl-C keeps what was copied, and
    the same command goes on from there, unless the source was written to meanwhile.

    CMC_KEY is the key of a file that is read, CMC_NEW_KEY of one that is made (default: the same). A database has its own
    encryption.
    """
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.environment import key_from
    from cmc_mcp.history.transfer import StoreAddress, transfer
    from cmc_mcp.products import REGISTRY

    state = session_of(context)
    key = key_from(os.environ)
    new = key_from(os.environ, "CMC_NEW_KEY") or key
    wanted = None if state.workspace in (None, "all") else state.workspace.split(",")
    try:
        moved = transfer(
            StoreAddress(source, from_objects, key),
            StoreAddress(target, to_objects, new),
            registry=REGISTRY,
            workspaces=wanted,
            phase=lambda label: state.progress(label, patience_s=0),
        )
    except KeyboardInterrupt:
        sys.stderr.write(
            "cmc: interrupted; the source is as it was, what was copied is kept, and nobody can open it before it is whole: "
            "the same command goes on from there\n"
        )
        raise typer.Exit(INTERRUPTED) from None
    if state.json:
        state.print_json([{name: getattr(one, name) for name in one.__dataclass_fields__} for one in moved])
        return
    for one in moved:
        state.out.line(
            Styled("✓ ", "green"),
            f"{one.workspace}  {one.transaction:,} transactions, {one.atoms:,} memories, every root equal",
        )
        state.out.line(Styled(f"  state {one.state_root}  log {one.log_root}", "dim"))


@command("index", CARE, "cmc index --store postgresql://cmc@db.internal/memory --workspace team")
def index(
    context: typer.Context,
    drop: Annotated[bool, typer.Option("--drop", help="Remove the index: every answer is exact again.")] = False,
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
    parts: Annotated[int, typer.Argument(help="The number of parts, 2 to 256.", metavar="PARTS", show_default=False)],
) -> None:
    """Make the tables of an empty PostgreSQL database in parts, by a hash of the workspace.

    For very many workspaces, or very large ones: a workspace lies in one part of each table, and what looks after tables
    (vacuum, new indexes, moving) works on a part at a time. Nothing else changes: ids, snapshots and answers stay the same.
    The choice is made once, before the first memory.
    """
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.clock import SystemClock
    from cmc_mcp.environment import shown
    from cmc_mcp.products import REGISTRY
    from cmc_mcp.store.opening import partition

    state = session_of(context)
    place = state.configuration().store
    partition(place, parts, clock=SystemClock(), registry=REGISTRY)
    if state.json:
        state.print_json({"store": shown(place), "partitions": parts})
        return
    state.out.line(Styled("✓ ", "green"), f"{shown(place)} has its tables, each in {parts} parts")
