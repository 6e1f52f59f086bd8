"""The measuring command: what it remembers, how it finds documents again, what it switches off, what it writes down."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.recall import page, sets, variants
from benchmarks.recall.bars import open_bars
from benchmarks.recall.mixed import mixtures
from benchmarks.recall.notes import documents, notes
from benchmarks.recall.sets import Aligner, Doc, remembered
from cmc_mcp.config import Settings

ROOT = Path(__file__).parents[2]
EVAL = ROOT.parent / "shared" / "eval"


def doc(name: str, text: str, **more: str) -> Doc:
    given: Doc = {"id": name, "scope": "s", "session": None, "time": None, "speaker": None, "title": None, "text": text}
    return {**given, **more}  # type: ignore[typeddict-item]


def test_a_document_is_remembered_as_what_the_data_says_it_is() -> None:
    (turn,) = remembered([doc("a", "Hi", speaker="Maya", session="x", time="2026-05-08")])
    assert turn.item == {"content": "Hi", "session": "x", "speaker": "Maya", "occurred_at": "2026-05-08"}
    (code,) = remembered([doc("a", "def f():\n    pass")])
    assert code.item["modality"] == "code"
    (note,) = remembered([doc("a", "a note")])
    assert note.item == {"content": "a note"}


def test_paragraphs_of_a_page_become_one_document_with_a_heading_wherever_the_title_changes() -> None:
    titles = ("P - A", "P - A", "P - B", "P")
    docs = [doc(str(n), f"text {n}", session="page", title=title) for n, title in enumerate(titles)]
    (made,) = remembered(docs)
    assert made.item["content"] == "# P\n\n## A\n\ntext 0\n\ntext 1\n\n## B\n\ntext 2\n\ntext 3\n"
    assert made.item["source"] == "page"


def test_atoms_are_brought_back_to_the_documents_that_they_run_over() -> None:
    assert doctest.testmod(sets).failed == 0
    align = Aligner([doc("a", "same\ntext"), doc("b", "same text"), doc("c", "x"), doc("d", "y")])
    assert [align(text) for text in ("same text", "same  text", "absent", "x\n\ny")] == [["a"], ["b"], [], ["c", "d"]]


def test_a_mixture_holds_one_scope_of_each_set_and_asks_every_question_once(tmp_path: Path) -> None:
    for name, scopes in (("many", 3), ("two", 2), ("one", 1)):
        (tmp_path / name).mkdir()
        docs = [doc(f"{name}-{scope}", "text") | {"scope": f"{name}{scope}"} for scope in range(scopes)]
        asks = [
            {"id": f"{name}-{scope}-{n}", "scope": f"{name}{scope}", "text": "?", "category": "x",
             "relevant": [f"{name}-{scope}"]}
            for scope in range(scopes) for n in range(4)
        ]  # fmt: skip
        for file, rows in (("docs", docs), ("queries", asks)):
            (tmp_path / name / f"{file}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = mixtures(tmp_path, ("many", "two", "one"))
    assert [[part.name for part in scope.parts[:3]] for scope in made] == [
        ["many0", "two0", "one0"], ["many1", "two1", "one0"], ["many2", "two0", "one0"]
    ]  # fmt: skip
    asked = [ask["id"] for scope in made for ask in scope.asks if ask["category"] != "notes"]
    assert len(asked) == len(set(asked)) == 4 * 6
    assert all(set(ask["relevant"]) <= {one["id"] for one in scope.docs} for scope in made for ask in scope.asks)
    assert {ask["category"] for scope in made for ask in scope.asks} == {"many", "two", "one", "notes"}


def test_the_notes_beside_documents_are_short_and_the_documents_are_not() -> None:
    asked = notes()
    assert len({note.number for note in asked}) >= 60 <= len({note.question for note in asked})
    assert sum(note.seen for note in asked) == pytest.approx(len(asked) / 2, abs=2)
    assert max(len(note.text) for note in asked) < 100
    pages = documents()
    assert len(pages) >= 6
    assert min(len(text) for _, text in pages) > 2_000


def test_an_open_target_is_as_far_above_the_open_baseline_as_the_sealed_bar_is_above_the_sealed_one() -> None:
    known = {bar.set: bar for bar in open_bars() if bar.target is not None}
    assert known["realtalk"].target == pytest.approx(0.543 + 0.70 - 0.674)
    assert all(bar.stretch is not None and bar.stretch > bar.target for bar in known.values() if bar.target)


@pytest.mark.parametrize("name", variants.ABLATIONS)
def test_every_ablation_can_be_run_and_changes_what_ships(name: str) -> None:
    one = variants.ABLATIONS[name]
    assert name in variants.known()
    assert variants.changed(Settings(), one.changes) != Settings()


def test_a_setting_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no setting nonsense"):
        variants.changed(Settings(), {"nonsense": 1})


def test_the_page_keeps_its_words_and_what_was_not_measured_now(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    one, two = (f"<!-- measured: {name} -->\nold {name}\n<!-- end: {name} -->" for name in ("one", "two"))
    path.write_text(f"# Words\n\n{one}\n\nbetween\n\n{two}\n")
    new = r"new \1"  # not read as a group of a pattern
    assert page.write(path, {"one": new, "three": "x"}) == ["three"]
    assert path.read_text() == f"# Words\n\n{one.replace('old one', new)}\n\nbetween\n\n{two}\n"


def test_the_page_has_a_place_for_whatever_is_measured() -> None:
    page_parts = (
        "unanswerable",
        "quality",
        "baselines",
        "ablations",
        "times",
        "latency",
        "mcp",
        "pairs",
        "dvns",
        "mixed",
        "notes",
        "lookalikes",
        "languages",
    )
    text = (ROOT / "docs" / "recall.md").read_text()
    assert all(f"<!-- measured: {name} -->" in text and f"<!-- end: {name} -->" in text for name in page_parts)


def test_without_the_sets_the_command_says_what_it_skips(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.recall", "--eval", str(tmp_path), "--sets", "locomo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "locomo: skipped" in done.stdout
    assert "no retrieval_eval.py" in done.stdout


def test_a_set_is_measured_from_end_to_end(tmp_path: Path) -> None:
    if not (EVAL / "retrieval_eval.py").exists():
        pytest.skip(f"there is no retrieval_eval.py at {EVAL}")
    folder = tmp_path / "eval"
    (folder / "tiny").mkdir(parents=True)
    (folder / "retrieval_eval.py").write_text((EVAL / "retrieval_eval.py").read_text())
    texts = ("We deploy to Fly", "Lunch is at noon", "The cat sleeps")
    rows = [doc(str(n), text, speaker="Maya", session="x") for n, text in enumerate(texts)]
    (folder / "tiny" / "docs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    ask = {"id": "q", "scope": "s", "text": "when is lunch?", "time": None, "category": "c", "relevant": ["1"]}
    (folder / "tiny" / "queries.jsonl").write_text(json.dumps(ask))
    command = [sys.executable, "-m", "benchmarks.recall", "--eval", str(folder), "--sets", "tiny", "--variants",
               "baselines,no heading column", "--keep", str(tmp_path / "keep"), "--json", str(tmp_path / "f.json")]  # fmt: skip
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads((tmp_path / "f.json").read_text())["sets"]["tiny"]["rows"]
    assert found["shipped"][0]["R@1"] == found["BM25"][0]["R@1"] == found["no heading column"][0]["R@1"] == 1.0
    assert found["shipped"][0]["in 2k"] == 1.0
