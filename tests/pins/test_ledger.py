"""One script of every verb leaves the same rows, hashes, answers and objects as ever, on both backends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp import FixedClock, Memory
from tests.pins import dump, golden, script

OF_ONE_BACKEND = {
    "sqlite": ("file", "full text", "migrations", "node_vectors"),
    "postgres": ("migrations", "node_vectors", "objects", "passages", "rates"),
}
"""Tables, and what stands for tables, that only one backend has, or has in words or with numbers of its own."""


@dataclass(frozen=True)
class Played:
    """A store after the script, and how it came to be."""

    folder: Path
    told: script.Told
    backend: str
    place: Any

    def tables(self) -> dict[str, list[str]]:
        """Return every table as lines."""
        return dump.of_file(self.place) if self.backend == "sqlite" else dump.of_database(self.place)

    def shared(self) -> dict[str, list[str]]:
        """Return the tables that are the same on both backends."""
        return {name: rows for name, rows in self.tables().items() if name not in OF_ONE_BACKEND[self.backend]}

    def own(self) -> dict[str, list[str]]:
        """Return the tables of this backend alone."""
        return {name: rows for name, rows in self.tables().items() if name in OF_ONE_BACKEND[self.backend]}


def place_of(request: pytest.FixtureRequest, path: Path) -> tuple[str, Any]:
    """Return the backend of this run, and where it keeps the store of a path."""
    backend = str(request.config.getoption("--backend"))
    return backend, path if backend == "sqlite" else request.getfixturevalue("databases").of(path)


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("pins")
    return Played(folder, script.play(folder), *place_of(request, folder / "memory.db"))


@pytest.fixture
def memory(played: Played) -> Any:
    clock = FixedClock(script.START_US + 1_000_000_000)
    with script.opened(played.folder, clock) as opened:
        yield opened


def test_every_verb_answers_what_it_answered(played: Played) -> None:
    golden.check("verbs.txt", played.told.sections)


def test_every_table_has_the_rows_it_had(played: Played) -> None:
    golden.check("tables.txt", played.shared())


def test_what_one_backend_keeps_its_own_way_is_what_it_was(played: Played) -> None:
    golden.check(f"{played.backend}.txt", played.own())


def test_objects_are_the_files_they_were(played: Played) -> None:
    golden.check("objects.txt", {"objects": dump.objects(played.folder / "memory.db.objects")})


def test_rebuilding_changes_no_row(played: Played, memory: Memory) -> None:
    before = played.tables()
    assert memory.rebuild().holds
    memory.close()  # whatever waits in the log goes into the file
    golden.assert_same("after a rebuild", before, played.tables())


def test_questions_are_answered_and_go_on_from_the_cursors_of_old(memory: Memory) -> None:
    golden.check("cursors.txt", {name: script.first_page(memory, asked) for name, asked in script.CURSORS.items()})
    old = {name: lines[-1] for name, lines in golden.read("cursors.txt").items()}
    assert "None" not in old.values()
    golden.check("pages.txt", {name: script.page(memory, asked, old[name]) for name, asked in script.CURSORS.items()})


def test_a_segment_of_codes_is_packed_as_it_was(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    clock = FixedClock(script.START_US)
    with script.opened(tmp_path, clock) as memory:
        memory.remember_many([{"content": f"n {n}"} for n in range(script.SEGMENT + 1)])
        memory.remember("one more")
    backend, place = place_of(request, tmp_path / "memory.db")
    tables = dump.of_file(place) if backend == "sqlite" else dump.of_database(place)
    kept = {name: tables[name] for name in ("codes", "transactions", "workspaces", "log_nodes")}
    digests = [f"{name}: {len(rows)} {dump.short(' '.join(rows))}" for name, rows in sorted(tables.items())]
    shared = [
        line
        for line in digests
        if line.partition(":")[0] not in {*OF_ONE_BACKEND["sqlite"], *OF_ONE_BACKEND["postgres"]}
    ]
    golden.check("segment.txt", {**kept, "digests": shared})


def test_a_row_that_differs_is_named() -> None:
    with pytest.raises(AssertionError, match=r"x\.txt.*\n\[atoms\]\n-1:2 \| b\n\+1:2 \| c"):
        golden.assert_same(
            "x.txt", {"atoms": ["rid | word", "1:1 | a", "1:2 | b"]}, {"atoms": ["rid | word", "1:1 | a", "1:2 | c"]}
        )
    with pytest.raises(AssertionError, match=r"\[new\] is new\n\[old\] is gone"):
        golden.assert_same("x.txt", {"old": []}, {"new": []})
