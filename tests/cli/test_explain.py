"""What `cmc recall --explain` says to people: why each memory is there, and what each stage did and cost."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from cmc_mcp.cli import answers, explain
from cmc_mcp.cli.show import Out, bar
from cmc_mcp.model.results import Item, Mode, ReadPoint, RecallResult, StageTrace


def result(*whys: dict[str, float], trace: tuple[StageTrace, ...] = ()) -> RecallResult:
    items = [Item(id=f"atom_{n}", text=f"memory {n}", score=why["score"], why=why) for n, why in enumerate(whys, 1)]
    point = ReadPoint(snapshot="snap_1", transaction=1, valid_at="never", reference_time="never")
    return RecallResult(items=items, mode=Mode(retrieval="hybrid"), read_point=point, trace=list(trace))


def shown(answer: RecallResult, width: int) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False, markup=False
    )
    answers.recalled(Out(console), answer)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_each_memory_says_which_parts_of_its_score_it_has_and_the_larger_part_has_the_longer_bar() -> None:
    whys = (
        {"score": 0.9, "dense": 1.0, "lexical": 0.5, "speaker": 0.0},
        {"score": 0.3, "lexical": 0.25, "is_question": -0.15},
    )
    first, second = (line for line in shown(result(*whys), 100) if "why" in line)
    assert re.search(r"meaning █{8} 1\.00 +words █{4} +0\.50", first)
    assert "speaker" not in first
    assert re.search(r"words █{2} +0\.25 +is question █▎ +-0\.15", second)


def test_how_a_memory_stands_by_itself_is_apart_from_its_match() -> None:
    lines = shown(result({"score": 1.0, "dense": 0.5, "qs": 0.7, "decay": 1.0}), 80)
    assert any(re.fullmatch(r"why meaning █{8} 0\.50", line.rstrip()) for line in lines)
    assert "standing QS 0.70  decay 1.00" in [line.rstrip() for line in lines]


def test_a_long_line_goes_on_below_without_cutting_a_part() -> None:
    why = {"score": 1.0, **{f"part_{n}": 0.5 for n in range(9)}}
    lines = [line for line in shown(result(why), 50) if "part " in line]
    assert len(lines) > 1
    assert all(len(line) <= 50 for line in lines)
    assert sum(len(re.findall(r"part \d █{8} 0\.50", line)) for line in lines) == 9


def test_a_memory_without_any_part_says_so() -> None:
    assert any("nothing of the question" in line for line in shown(result({"score": 0.0, "dense": 0.0}), 80))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_stages_say_what_they_did_and_cost_and_sum_up_in_any_width(width: int) -> None:
    trace = (
        StageTrace(stage="filter", candidates=-1, ms=0.25),
        StageTrace(stage="dense", candidates=50, ms=1.5, notes={"terms": {"fly": 3}, "left_out": [], "merged": 2}),
        StageTrace(stage="anything new", candidates=7, ms=0.25),
    )
    lines = shown(result({"score": 1.0, "dense": 1.0}, trace=trace), width)
    assert all(len(line) <= width for line in lines)
    text = " ".join(" ".join(lines).split())
    rows = {name: line for line in lines for name in ("filter", "dense", "total") if line.strip().startswith(name)}
    assert re.search(r"\b50\b.*1\.50.*█{6}", rows["dense"])
    assert "2.00" in rows["total"]
    assert "-1" not in text
    if width == 120:
        assert "terms fly 3; merged 2" in text
        assert "nearest in meaning" in text


def test_elsewhere_than_on_a_terminal_there_are_plain_lines(cmc: Any) -> None:
    cmc("remember", "The deploy target is Fly.io")
    answer = cmc("recall", "deploy target", "--explain")
    assert re.search(r"^why .*words \d\.\d\d", answer.out, re.MULTILINE)
    assert re.search(r"^lexical\tbest by words\t1\t\d+\.\d\d\t\d+%\tterms ", answer.out, re.MULTILINE)
    assert re.search(r"^total\t\t\t\d+\.\d\d\t\tbesides embedding the question$", answer.out, re.MULTILINE)
    assert "█" not in answer.out


def test_as_json_the_parts_and_the_trace_are_as_the_library_gives_them(cmc: Any) -> None:
    cmc("remember", "The deploy target is Fly.io")
    answer = cmc("--json", "recall", "deploy target", "--explain").json
    assert answer["items"][0]["why"]["lexical"] > 0.0
    assert {"filter", "lexical", "rank", "fit"} <= {stage["stage"] for stage in answer["trace"]}


def test_a_bar_is_as_wide_as_it_is_told_and_grows_with_its_value() -> None:
    drawn = [bar(value / 64, 1.0, 8) for value in range(65)]
    assert {len(one) for one in drawn} == {8}
    assert drawn[0].strip() == ""
    assert len(set(drawn)) == 65
    assert bar(9.0, 1.0, 8) == drawn[-1]


def test_a_full_bar_is_the_largest_part_of_any_memory() -> None:
    assert explain.most([{"score": 9.0, "dense": 0.4}, None, {"named": -2.0}]) == 2.0
    assert explain.most([]) == 1.0
