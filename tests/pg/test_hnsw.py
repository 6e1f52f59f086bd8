"""The approximate index: as good as promised, honest about itself, made by nobody who did not ask, and looked after."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from cmc_mcp.cli.app import run
from cmc_mcp.config import Settings
from cmc_mcp.environment import configuration
from cmc_mcp.errors import InvalidInput
from cmc_mcp.memory import Memory
from cmc_mcp.store.postgres import hnsw
from cmc_mcp.store.postgres.store import PostgresStore
from tests.pg.nearby import Clustered, cases, fill
from tests.support import reach
from tests.support.memories import erase, on
from tests.support.stores import run_sql

NO_MATRIX = Settings(matrix_bytes_max=0)


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it walked for so few as there are in a test."""
    monkeypatch.setattr(hnsw, "FEW_MIN", 0)


def _index(memory: Memory) -> list[hnsw.Graph]:
    """Make the index of a workspace that is too small for one."""
    assert isinstance(reach.store(memory), PostgresStore)
    return hnsw.make(reach.store(memory).address, reach.ws(memory), least=1)


def _small(url: str) -> Memory:
    memory = on(url, embedder=Clustered(16), settings=NO_MATRIX)
    fill(memory, 300)
    return memory


def _dense(memory: Memory, **arguments: object) -> dict[str, object]:
    answer = memory.recall("text 7", explain=True, **arguments)  # type: ignore[arg-type]
    return next(stage.notes for stage in answer.trace if stage.stage == "dense")


def _found(memory: Memory, query: str = "text 7", **arguments: object) -> list[str]:
    return [item.id for item in memory.recall(query, **arguments).items]  # type: ignore[arg-type]


# ---------------------------------------------------------------------- how near
@pytest.mark.slow
def test_it_finds_ninety_nine_of_a_hundred_whatever_is_filtered_and_a_weak_one_does_not(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on(url, embedder=Clustered(64)) as memory:
        fill(memory, 4_000)
        _index(memory)
        found = {case.name: case for case in cases(memory, 15)}
        assert {name: case.recall for name, case in found.items() if case.recall < 0.99} == {}
        walked = [name for name, case in found.items() if case.approximate == case.asked]
        assert walked == ["everything", "a third ago", "a half", "a tenth"]
        assert not found["a hundredth"].approximate, "so few are better all looked at"
        monkeypatch.setattr(hnsw, "EF", 10)
        monkeypatch.setattr(hnsw, "ITERATIVE", "off")
        monkeypatch.setattr(hnsw, "enough", lambda rows, k: True)
        weak = {case.name: case.recall for case in cases(memory, 5)}
        assert all(weak[name] < 0.99 for name in ("a third ago", "a half", "a tenth")), weak


def test_a_walk_that_finds_too_few_is_answered_exactly(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with _small(url) as memory:
        exact = _found(memory)
        assert _dense(memory) == {}
        _index(memory)
        assert _dense(memory) == {"approximate": "HNSW index"}
        monkeypatch.setattr(hnsw, "EF", 10)
        monkeypatch.setattr(hnsw, "ITERATIVE", "off")
        assert _dense(memory) == {}
        assert _found(memory) == exact


def test_filters_and_both_clocks_hold_while_it_is_walked(url: str) -> None:
    with on(url, embedder=Clustered(16), settings=NO_MATRIX) as memory:
        fill(memory, 200)
        memory.remember("text 9000", source="late.md")
        gone = memory.recall("text 9000", limit=1).items[0].id
        memory.forget([gone])
        ways = ({}, {"as_of": 2}, {"as_of": 1}, {"tags": {"half": "1"}})
        before = [_found(memory, "text 9000", **arguments) for arguments in ways]
        _index(memory)
        assert _dense(memory) and _dense(memory, as_of=2) and _dense(memory, tags={"half": "1"})
        assert before == [_found(memory, "text 9000", **arguments) for arguments in ways]
        assert before[1][0] == gone and not any(gone in found for found in (before[0], *before[2:]))


def test_what_was_erased_is_not_found_through_it(url: str) -> None:
    with _small(url) as memory:
        _index(memory)
        found = memory.recall("text 7", limit=1).items[0]
        erase(memory, [found.id])
        assert _dense(memory)
        assert found.id not in {item.id for item in memory.recall("text 7", limit=200).items}
        assert memory.verify().holds


def test_it_is_of_one_workspace_and_others_stay_exact(url: str) -> None:
    with _small(url) as memory:
        other = memory.as_principal("zoe", "elsewhere")
        fill(other, 50)
        _index(memory)
        assert _dense(memory) and not _dense(other)


def test_a_matrix_in_memory_answers_before_it(url: str) -> None:
    with _small(url) as memory:
        _index(memory)
        reach.alter(memory, settings=Settings())
        assert not _dense(memory)


# ---------------------------------------------------------------------- making and keeping
def test_a_small_workspace_and_a_file_have_none(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        _small(url) as memory,
        pytest.raises(InvalidInput, match=r"300 vectors; below 10,000 the exact way is about as quick"),
    ):
        memory.index()
    with on(tmp_path / "memory.db") as memory, pytest.raises(InvalidInput, match="searched exactly"):
        memory.index()
    assert run(["--store", url, "--no-model", "index"]) == 2
    assert "Nothing was changed" in capsys.readouterr().err


def test_the_command_makes_it_says_so_and_takes_it_away(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hnsw, "ROWS_MIN", 100)
    front = ["--store", url, "--no-model"]
    _small(url).close()
    assert run([*front, "index", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [entry["model"] for entry in made] == [1] and made[0]["bytes"] > 0
    assert run([*front, "index"]) == 0, "again: it stays"
    run([*front, "doctor", "--quick"])
    assert "default (" in capsys.readouterr().out
    assert run([*front, "index", "--drop"]) == 0
    assert "is gone" in capsys.readouterr().out
    assert run([*front, "index", "--drop"]) == 0
    assert "has no index" in capsys.readouterr().out
    assert run_sql(url, "SELECT 1 FROM pg_indexes WHERE indexname LIKE 'vectors_hnsw%'") == []


def test_it_is_no_fault_unless_it_is_another_than_the_command_makes(url: str) -> None:
    with _small(url) as memory:
        _index(memory)
        assert memory.verify().holds
        run_sql(url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'cmc.vectors_hnsw_1_1'::regclass")
        assert [fault.key for fault in memory.verify().faults] == ["index vectors_hnsw_1_1"]
        assert not _dense(memory), "an unfinished one serves nobody"
        assert "unfinished" in memory.inspect()["approximate"]
        _index(memory)
        assert memory.verify().holds and _dense(memory)
        assert "unfinished" not in memory.inspect()["approximate"]
        run_sql(
            url,
            "DROP INDEX cmc.vectors_hnsw_1_1",
            "CREATE INDEX vectors_hnsw_1_1 ON cmc.vectors USING hnsw ((vector::public.halfvec(16)) public.halfvec_l2_ops)"
            " WHERE ws = 1 AND model = 1",
        )
        assert [fault.key for fault in memory.verify().faults] == ["index vectors_hnsw_1_1"]


def test_a_rebuild_keeps_it(url: str) -> None:
    with _small(url) as memory:
        _index(memory)
        before = run_sql(url, "SELECT relfilenode FROM pg_class WHERE relname = 'vectors_hnsw_1_1'")
        answer = _found(memory)
        assert memory.rebuild().holds
        assert run_sql(url, "SELECT relfilenode FROM pg_class WHERE relname = 'vectors_hnsw_1_1'") != before, (
            "made anew"
        )
        assert _dense(memory) and _found(memory) == answer


def test_interrupted_it_leaves_nothing(url: str) -> None:
    def impatient(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with _small(url) as memory, psycopg.connect(url, autocommit=True) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")  # the making waits for it to end
        assert isinstance(reach.store(memory), PostgresStore)
        with pytest.raises(KeyboardInterrupt):
            hnsw.make(reach.store(memory).address, reach.ws(memory), least=1, progress=impatient)
        reader.execute("ROLLBACK")
        assert hnsw.drop(reach.store(memory).address, reach.ws(memory)) == []
        assert memory.verify().holds and memory.remember("text 1000").transaction


def test_progress_is_said(url: str) -> None:
    said: list[tuple[int, int]] = []
    with on(url, embedder=Clustered(64)) as memory:
        fill(memory, 1_500)
        assert isinstance(reach.store(memory), PostgresStore)
        hnsw.make(
            reach.store(memory).address,
            reach.ws(memory),
            least=1,
            progress=lambda done, total: said.append((done, total)),
        )
    assert said and all(0 <= done <= max(total, done) for done, total in said)


# ---------------------------------------------------------------------- the matrix
@pytest.mark.parametrize(("text", "value"), [("0", 0), ("512M", 512 << 20), ("2g", 2 << 30), ("77", 77)])
def test_how_much_memory_the_matrix_may_take_is_set_per_server(text: str, value: int, tmp_path: Path) -> None:
    empty = {"CMC_CONFIG": str(tmp_path / "none.toml")}
    assert configuration(environment={**empty, "CMC_MATRIX_BYTES": text}).settings.matrix_bytes_max == value
    assert configuration(matrix_bytes=text, environment={**empty, "CMC_MATRIX_BYTES": "1"}).settings == Settings(
        matrix_bytes_max=value
    )
    (tmp_path / "cmc.toml").write_text(f'matrix_bytes = "{text}"\n')
    found = configuration(environment={"CMC_CONFIG": str(tmp_path / "cmc.toml")}).settings
    assert found.matrix_bytes_max == value and found.digest == Settings().digest


@pytest.mark.parametrize("text", ["-1", "2 GB", "much", "1e9"])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a number of bytes; write one such as 512M"):
        configuration(environment={"CMC_MATRIX_BYTES": text})
