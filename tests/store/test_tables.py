"""The tables as data describe the tables that the migrations make, to the last column and key."""

from __future__ import annotations

import apsw

from cmc_mcp.products import REGISTRY
from cmc_mcp.store.sql.schema import BOOKKEEPING, MIGRATIONS
from cmc_mcp.store.tables import NODE_SHIFT, WORKSPACE_SHIFT, Table, in_order_of_moving
from tests.isolation.scope import shift_of

BY_HAND = {"workspaces", "migrations", "embedding_models"}
"""Tables that a move copies in its own way, or makes anew."""


def fresh() -> dict[str, tuple[list[str], set[str]]]:
    """Every table of a new file: its columns in order, and its key."""
    with apsw.Connection(":memory:") as connection:
        for statement in (BOOKKEEPING, *(s for migration in MIGRATIONS for s in migration.up)):
            connection.execute(statement).fetchall()
        names = [str(n) for (n,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        out = {}
        for name in names:
            rows = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (name,)).fetchall()
            if not name.startswith("sqlite_"):
                out[name] = ([str(row[0]) for row in rows], {str(row[0]) for row in rows if row[1]})
    return out


def test_every_table_of_a_new_file_is_described_with_its_columns_in_order() -> None:
    made = fresh()
    assert {table.name for table in REGISTRY.tables} == set(made)
    assert {table.name: list(table.names) for table in REGISTRY.tables} == {name: c for name, (c, _) in made.items()}


def test_the_key_of_every_table_is_the_one_it_has() -> None:
    for table in REGISTRY.tables:
        _, found = fresh()[table.name]
        wanted = {table.own} if table.own else set(table.key)
        if table.name == "workspaces":
            wanted = {"ws"}
        assert found - {"ws"} == wanted - {"ws"}, table.name


def test_numbers_of_a_workspace_are_said_to_be_so() -> None:
    """Against what the scope of every statement is checked by, which was written down apart."""
    shifts = {"": 0, "rid": WORKSPACE_SHIFT, "pid": WORKSPACE_SHIFT, "vid": WORKSPACE_SHIFT, "node": NODE_SHIFT}
    for table in REGISTRY.tables:
        for column in table.columns:
            if "ws" in table.names and column.number in shifts:
                assert shifts[column.number] == shift_of(table.name, column.name), (table.name, column.name)


def test_every_row_of_a_workspace_moves_and_nothing_is_copied_before_what_it_points_at() -> None:
    moved = [table.name for table in in_order_of_moving(REGISTRY.tables)]
    assert set(moved) == {table.name for table in REGISTRY.tables} - BY_HAND
    assert moved.index("payloads") < moved.index("atoms") < moved.index("pieces")
    assert moved.index("headings") < moved.index("atoms"), "full text is made of both"
    assert moved[-1] == "transactions", "without it the workspace is empty to whoever looks"


def test_ranks_are_given_once() -> None:
    def given(rank: str) -> list[int]:
        return [value for table in REGISTRY.tables if (value := getattr(table, rank))]

    for rank in ("write_rank", "move_rank"):
        assert len(given(rank)) == len(set(given(rank))), rank


def test_long_text_is_in_no_key_of_a_server() -> None:
    def server_key(table: Table) -> tuple[str, ...]:
        return table.key if table.server_key is None else table.server_key

    for table in REGISTRY.tables:
        long = {column.name for column in table.columns if column.long}
        assert not long.intersection(server_key(table)), table.name
