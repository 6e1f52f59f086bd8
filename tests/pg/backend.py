"""The same tests on another backend: `pytest --backend postgres` gives every store that a test opens a database of its own.

The seam is `Memory.open`: the path that a test hands to it names a database, made from a template that has the tables. What
is about a file, its settings, its lock, its bytes, or a process that opens one, is listed here and left out by name.
CMC_TEST_POSTGRES names a server to use; without it one is started (`tests/pg/server.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cmc_mcp.clock import SystemClock
from cmc_mcp.memory import Memory
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.postgres.store import PostgresStore

SQLITE_ONLY: tuple[str, ...] = (
    "tests/embed/",
    # the file: its bytes, its lock, its settings, its migrations, and tampering with it (`tests/pg/test_server.py` has ours)
    "tests/store/",
    "tests/objects/",
    "tests/moving/",
    "tests/crash/",
    "tests/tamper/",  # `tests/pg/test_structure.py` has ours
    "tests/encryption/",
    "tests/erase/",  # looks for words in the bytes of files
    "tests/operations/",  # golden files, restoring a file, doctor in a process of its own
    "tests/fuzz/",  # paths, terminals, and what the judge sees whatever keeps the store
    "tests/isolation/test_noninterference.py::test_a_leak_is_told_from_the_answers[where a word is]",  # as a file is asked
    "tests/isolation/test_sql_scope.py",  # reads the plans of SQLite's own statements
    "tests/kernel/test_histories.py",  # cuts writes between the statements of its connection; the state machine is for both
    "tests/isolation/test_timing.py",  # a round trip hides what it measures
    "tests/test_bad_input.py",
    "tests/test_rules.py",
    "tests/history/test_verify.py::test_a_belief_whose_end",
    "tests/history/test_verify.py::test_a_deleted_row_is_found",
    "tests/history/test_verify.py::test_a_number_of_vectors_beyond",
    "tests/history/test_verify.py::test_a_plan_that_another_payload",
    "tests/history/test_verify.py::test_an_edited_column_is_found",
    "tests/history/test_verify.py::test_an_inserted_row_is_found",
    "tests/history/test_verify.py::test_an_older_copy_a_cut_tail_and_a_fork",
    "tests/history/test_verify.py::test_an_untouched_store_holds_after_reopening_vacuum_and_backup",
    "tests/history/test_verify.py::test_full_text_that_lost_or_kept_words",
    "tests/history/test_verify.py::test_long_contents_do_not_stay",  # psycopg holds an answer whole
    "tests/history/test_verify.py::test_two_transactions_that_changed_places",
    "tests/memory/test_conversations.py::test_an_append_costs_the_same",
    "tests/write/test_nodes.py::test_erased_words_are_in_no_byte_of_the_file",
    "tests/write/test_nodes.py::test_a_changed_index_is_a_fault",
    # other processes, which the seam does not reach
    "tests/cli/",
    "tests/adapters/",
    "tests/benchmarks/",
    "tests/server/clients/",
    "tests/server/conformance/",
    "tests/server/test_errors.py::test_a_file_that_is_no_store_is_said",
    "tests/server/test_errors.py::test_a_store_that_cannot_be_opened_is_said",
    "tests/server/test_http.py",
    "tests/server/test_principals.py::test_a_limit_of_calls_a_minute",  # by the database's clock: `tests/pg/test_servers.py`
    "tests/server/test_stdio.py",
    "tests/serving/",
    "tests/test_demo.py",
    "tests/test_doctests.py",
    "tests/test_packaging.py",
    "tests/test_readme.py",
    "tests/read/test_outline.py::test_the_tool_and_the_command_line",
    "tests/poisoning/test_drill.py::test_an_undo_that_does_too_little_or_too_much",  # of plans, which know no backend
    "tests/read/test_vectors.py::test_vectors_of_segments_that_an_erase_dropped",  # of codes in memory
    "tests/read/test_vectors.py::test_what_another_process_writes",
    "tests/read/test_equal_answers.py::test_the_order_of_a_process_s_own_sets",
    "tests/memory/test_batches.py::test_one_key_in_several_processes",
    # of the kernel's oracle, not of what it is compared with
    "tests/kernel/test_seeded_bugs.py",
)
"""Beginnings of the names of tests that are about SQLite's file."""
FOR_BOTH = (
    "tests/fuzz/test_calls.py::test_a_write_before_the_check_is_found",
    "tests/embed/test_outside_transactions.py::",
    "tests/fuzz/test_calls.py::test_no_call_crashes_writes_in_part_or_says_what_it_should_not",
)
"""Those of them that are not."""
OTHER_PROCESSES = (
    "::test_another_process_sees_and_adds",
    "::test_the_command_line_sees_the_history_of_a_document",
    "::test_two_processes_on_one_file_see_each_other",
    "::test_two_processes_write_to_one_file_and_a_third_reads_them",
)
"""Ends of the names of the adapters' tests whose second process opens the file that it is told."""
MEMORIES = (
    "tests/isolation/test_noninterference.py",
    "tests/kernel/test_state_machine.py",
    "tests/pg/",
)
"""Tests that open stores without a folder of the test's own."""
DRAWS_MAX = 1
_DEPTH = re.compile(r"under_every_filter\[.*-(?!10\])\d+\]$")  # one of five depths is enough here


def is_for_postgres(item: pytest.Item) -> bool:
    """Return whether a test is run again on this backend: one that opens a store, and of a random one the first draws.

    A test without a folder for a store gives the same answer on every backend.
    """
    names, name = getattr(item, "fixturenames", ()), item.nodeid
    if name.endswith(OTHER_PROCESSES):
        return False
    if name.startswith(SQLITE_ONLY):
        return name.startswith(FOR_BOTH)
    draw = re.search(r"\[(\d+)\]$", name)
    if (_DEPTH.search(name) or (draw is not None and int(draw[1]) > DRAWS_MAX)) and not name.startswith("tests/pg/"):
        return False
    return "tmp_path" in names or "tmp_path_factory" in names or name.startswith(MEMORIES)


def with_database(url: str, name: str) -> str:
    """Return the address of another database of the same server."""
    given = conninfo_to_dict(url) | {"dbname": name}
    host = given.pop("host", "")
    rest = "&".join(f"{key}={value}" for key, value in given.items() if key not in ("dbname", "user", "password"))
    who = (
        f"{given['user']}{':' + str(given['password']) if given.get('password') else ''}@" if given.get("user") else ""
    )
    return f"postgresql://{who}/{name}?host={host}" + (f"&{rest}" if rest else "")


class Databases:
    """Databases by the paths that tests hand out, on one server."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self._prefix = url, prefix
        self._admin = psycopg.connect(make_conninfo(url), autocommit=True)
        self._made: dict[Path, str] = {}
        self._template: str | None = None

    def of(self, path: Path) -> str:
        """Return the address of a path's database, making it when it is new."""
        path = path.expanduser().absolute()
        if path not in self._made:
            self.drop(gone for gone in list(self._made) if not gone.parent.exists())
            name = f"{self._prefix}_{hashlib.sha256(str(path).encode()).hexdigest()[:24]}"
            self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._templated()}" STRATEGY FILE_COPY')
            self._made[path] = name
        return with_database(self.url, self._made[path])

    def _templated(self) -> str:
        if self._template is None:
            name = f"{self._prefix}_template"
            self._drop(name)
            self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            PostgresStore.open(with_database(self.url, name), clock=SystemClock(), registry=REGISTRY).close()
            self._template = name
        return self._template

    def drop(self, paths: Iterator[Path]) -> None:
        """Drop databases, whoever is still connected."""
        for path in list(paths):
            self._drop(self._made.pop(path))

    def under(self, folder: Path) -> Iterator[Path]:
        """Yield the paths in a folder that have a database."""
        return (path for path in list(self._made) if path.is_relative_to(folder))

    def close(self) -> None:
        """Drop everything."""
        self.drop(iter(self._made))
        if self._template is not None:
            self._drop(self._template)
        self._admin.close()

    def _drop(self, name: str) -> None:
        self._admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def divert(databases: Databases) -> None:
    """Have `Memory.open` open a path's database in place of its file."""
    original = Memory.open.__func__  # type: ignore[attr-defined]

    def opened(cls: type[Memory], path_or_url: str | Path, **arguments: Any) -> Memory:
        text = str(path_or_url)
        if "://" not in text:
            arguments.setdefault("objects", f"{Path(text).expanduser().absolute()}.objects")
            text = databases.of(Path(text))
        made: Memory = original(cls, text, **arguments)
        return made

    Memory.open = classmethod(opened)  # type: ignore[assignment, method-assign]
