"""The benchmark of unanswerable questions: whose names it puts in, what it asks, and how it counts."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recall import unanswerable
from benchmarks.recall.sets import Scope
from benchmarks.recall.unanswerable import Found, area, caught, grid, notes, renamed, speakers, talks

TALKS = {"a": ("Ann", "ben Smith"), "b": ("Cleo", "Dan"), "c": ("Eve", "Finn")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs, asks = [], []
    for scope, names in TALKS.items():
        for place, name in enumerate(names):
            doc = {
                "id": f"{scope}{place}",
                "scope": scope,
                "session": "s",
                "time": None,
                "speaker": name,
                "title": None,
            }
            docs.append({**doc, "text": f"{name} speaks"})
            asks.append(
                {"id": f"{scope}?{place}", "scope": scope, "category": "x", "text": f"What did {name.split()[0]} say?"}
            )
            asks[-1]["relevant"] = [f"{scope}{place}"]
    asks.append({"id": "no", "scope": "a", "category": "abstention", "text": "And the weather?", "relevant": []})
    (tmp_path / "talk").mkdir()
    for name, rows in (("docs", docs), ("queries", asks)):
        (tmp_path / "talk" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_the_examples_are_true() -> None:
    assert doctest.testmod(unanswerable).failed == 0


def test_no_name_of_another_conversation_tells_that_a_question_is_from_there(folder: Path) -> None:
    for trial in talks(folder, "talk", 1):
        mine = speakers(trial.scope)
        asked = [text for kind, text in trial.others if kind == "other"]
        assert asked and all(text.split()[2] in mine for text in asked)
        assert not set(asked) & {ask["text"] for ask in trial.scope.asks if ask["text"].split()[2] not in mine}


def test_a_conversation_is_asked_about_as_many_of_the_others_as_of_its_own(folder: Path) -> None:
    for trial in talks(folder, "talk", 1):
        assert len(trial.own) == len([kind for kind, _ in trial.others if kind == "other"]) == 2
        assert [text for kind, text in trial.others if kind == "abstention"] == ["And the weather?"] * (
            trial.scope.name == "a"
        )


def test_names_are_replaced_in_one_pass_and_only_as_whole_words() -> None:
    assert renamed("ANN's anniversary with Ben", ["Ann", "Ben"], ["Ben", "Ann"]) == "Ben's anniversary with Ann"
    assert renamed("Ann?", ["Ann"], []) == "Ann?"


def test_the_notes_are_enough_and_no_question_stands_twice() -> None:
    (trial,) = notes()
    kinds = [kind for kind, _ in trial.others]
    assert len(trial.scope.docs) >= 40 and len(trial.own) >= 40 and kinds.count("far") == kinds.count("near") == 25
    every = [*trial.own, *(text for _, text in trial.others)]
    assert len(every) == len(set(every))


def test_the_area_is_one_where_all_is_told_apart_and_a_half_where_nothing_is() -> None:
    high, low, same = np.array([0.8, 0.9]), np.array([0.1, 0.2]), np.array([0.5, 0.5])
    assert (area(high, low), area(low, high), area(same, same)) == (1.0, 0.0, 0.5)
    assert (caught(high, low), caught(low, high)) == (1.0, 0.0)


def test_the_table_has_a_row_for_each_set_and_for_all() -> None:
    rows = [
        Found("x", Scope("x", "1", (), ()).name, 0, kind, "?", "none", s, s, s)
        for kind in ("", "other")
        for s in (0.2, 0.7)
    ]
    assert [row[0] for row in grid(rows).rows] == ["x", "all, half 0", "all"]
