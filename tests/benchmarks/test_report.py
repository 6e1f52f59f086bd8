from __future__ import annotations

import doctest
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import floors, peers, report, write
from benchmarks.peer_worker import PEERS

FOUND = {"single": {"remember / bare (≤ 2)": 2.5, "bulk, atoms/s (≥ 6,000; stretch 15,000)": 9_000.0, "p50 ms": 0.8}}
LAST = {"single": {"remember / bare (≤ 2)": 1.5, "bulk, atoms/s (≥ 6,000; stretch 15,000)": 9_500.0}}


def test_a_bar_is_read_out_of_the_name_and_a_figure_without_one_is_no_row() -> None:
    assert doctest.testmod(report).failed == 0
    assert [(row.reached, row.change) for row in report.rows(FOUND, LAST)] == [(False, "+67%"), (True, "=")]
    assert [row.change for row in report.rows(FOUND, {})] == ["new", "new"]
    assert "**missed**" in report.table(FOUND, LAST)


def test_a_stored_result_keeps_the_sections_that_were_not_run(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    report.store(FOUND, path)
    report.store({"bulk": {"rows/s": 1.0}}, path)
    assert report.load(path) == {**FOUND, "bulk": {"rows/s": 1.0}}
    assert report.load(tmp_path / "none.json") == {}


def test_the_command_runs_a_section_compares_it_and_writes_it_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(write, "single", lambda: FOUND["single"])
    against, out = tmp_path / "last.json", tmp_path / "out.json"
    report.store(LAST, against)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "single", "--json", str(out), "--against", str(against)])
    command.main()
    assert "| single | remember / bare (≤ 2) | 2.5 | **missed** | +67% |" in capsys.readouterr().out
    assert json.loads(out.read_text())["figures"] == FOUND


def test_the_floors_do_the_work_that_they_say(tmp_path: Path) -> None:
    found = floors.legs(1_200)
    assert found["filtered search, recall@10 of the exact truth (≥ 1)"] == 1.0
    with floors.build(tmp_path, 1_200):
        scan = floors._Scan(tmp_path / "1200.db")
        query = floors.questions(1)[0][1]
        exact = [scan.vids[place] for place in np.argsort(-(scan.vectors @ query))[: floors.K]]
        assert scan.nearest(query) == exact
        scan.connection.close()


def test_our_own_rows_of_the_peers_write_recall_and_find_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(PEERS) - {"cmc", "cmc, as LangGraph's store"}:
        monkeypatch.delitem(PEERS, name)
    monkeypatch.setattr(peers, "WRITES", 60)
    monkeypatch.setattr(peers, "RECALLS", 10)
    found = peers.peers()
    (share,) = [value for name, value in found.items() if name.startswith("cmc, as") and "nearest" in name]
    assert share == 1.0
    assert sum("write p50" in name for name in found) == 2
