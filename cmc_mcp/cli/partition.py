"""Dividing the tables of a new database."""

from __future__ import annotations

from typing import Annotated

import typer

from cmc_mcp.cli.app import CARE, command
from cmc_mcp.cli.session import session_of


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
    from cmc_mcp.config import shown
    from cmc_mcp.products import REGISTRY
    from cmc_mcp.store.opening import partition

    state = session_of(context)
    place = state.configuration().store
    partition(place, parts, clock=SystemClock(), registry=REGISTRY)
    if state.json:
        state.print_json({"store": shown(place), "partitions": parts})
        return
    state.out.line(Styled("✓ ", "green"), f"{shown(place)} has its tables, each in {parts} parts")
