"""An index in the database, for servers that keep no vectors in memory."""

from __future__ import annotations

from typing import Annotated

import typer

from cmc_mcp.cli.app import CARE, command
from cmc_mcp.cli.session import session_of


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
