"""Moving a memory to another store, and back."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from cmc_mcp.cli.app import PROOF, command
from cmc_mcp.cli.session import INTERRUPTED, session_of


@command("migrate", PROOF, "cmc migrate --from memory.db --to postgresql://cmc@db.internal/memory")
def migrate(
    context: typer.Context,
    source: Annotated[str, typer.Option("--from", metavar="PATH_OR_URL", help="The store that has the memory.")],
    target: Annotated[str, typer.Option("--to", metavar="PATH_OR_URL", help="The store that is to have it.")],
    from_objects: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Where the source keeps large content; default: with the rest of it."),
    ] = None,
    to_objects: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Where the target is to keep it; default: with the rest of it.")
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
    from cmc_mcp.config import key_from
    from cmc_mcp.history.moving import Place, migrate
    from cmc_mcp.products import REGISTRY

    state = session_of(context)
    key = key_from(os.environ)
    new = key_from(os.environ, "CMC_NEW_KEY") or key
    wanted = None if state.workspace in (None, "all") else state.workspace.split(",")
    try:
        moved = migrate(
            Place(source, from_objects, key),
            Place(target, to_objects, new),
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
