"""Answers: bounded, and what was cut is named; errors say their code, what was wrong and what to do next."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp import errors
from cmc_mcp.limits import ANSWER_CHARS_MAX
from cmc_mcp.model.results import (
    Diff,
    ForgetResult,
    HistoryResult,
    Item,
    RecordChange,
    RollbackResult,
)
from cmc_mcp.read.frame import Names
from cmc_mcp.tools import TOOLS, respond
from cmc_mcp.tools.recall import TOOL as RECALL
from cmc_mcp.tools.tool import Call
from cmc_mcp.verbs.models import Recall
from tests.support.memories import live

LEAVES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.CmcError) and kind is not errors.CmcError
]


@pytest.mark.parametrize("kind", LEAVES)
def test_every_error_says_its_code_what_was_wrong_and_what_to_do_next(kind):
    result = respond.failure("recall", kind("the tea is cold"))
    (block,) = result.content
    assert result.is_error
    assert block.text.startswith(f"recall failed [{kind.code}]: the tea is cold.")
    assert "What to do: " in block.text
    assert kind.code in respond._NEXT, "a new error needs its advice"
    assert result.structured_content is None


def test_an_error_with_several_problems_lists_them():
    error = errors.InvalidInput.of([errors.Problem("a", "is odd"), errors.Problem("b", "is even")])
    (block,) = respond.failure("recall", error).content
    assert "- a: is odd\n- b: is even\n" in block.text


def many(count: int) -> list[str]:
    return [f"atom_{number:032x}" for number in range(count)]


def test_a_large_plan_is_cut_in_both_forms_and_says_how_much_is_not_shown():
    result, structure, cut = respond.bounded(ForgetResult(digest="d", ids=many(10_000)))
    size = len(json.dumps(structure, ensure_ascii=False, separators=(",", ":")))
    assert size <= ANSWER_CHARS_MAX
    gone = structure["truncated"]["ids"]
    assert len(result.ids) == len(structure["ids"]) == 10_000 - gone
    assert f"{gone:,} of ids" in cut[0]


def test_a_diff_is_cut_where_it_is_largest():
    added = [RecordChange(id=name, kind="atom", text="x" * 500) for name in many(1_000)]
    removed = [RecordChange(id="atom_1", kind="atom")]
    diff = Diff(from_transaction=0, to_transaction=1, added=added, removed=removed)
    result, structure, _ = respond.bounded(RollbackResult(digest="d", diff=diff))
    assert list(structure["truncated"]) == ["diff.added"]
    assert result.diff.removed == removed


def test_one_text_that_is_too_long_is_cut_itself():
    _, structure, cut = respond.bounded(HistoryResult(memory=Item(id="atom_1", text="x" * 1_000_000)))
    assert len(structure["memory"]["text"]) < ANSWER_CHARS_MAX
    assert "the characters of memory.text" in cut[0]


@given(st.lists(st.text(max_size=200_000), max_size=4))
def test_no_answer_passes_the_bound(texts):
    result = HistoryResult(memory=Item(id="atom_1", text="".join(texts), duplicates=texts))
    _, structure, _ = respond.bounded(result)
    assert len(json.dumps(structure, ensure_ascii=False)) <= ANSWER_CHARS_MAX


def test_what_is_small_is_not_touched():
    result = ForgetResult(digest="d", ids=many(3))
    assert respond.bounded(result) == (result, {"digest": "d", "ids": many(3)}, [])


def test_recall_that_no_answer_could_hold_names_what_it_left_out(tmp_path):
    with live(tmp_path / "memory.db") as memory:
        memory.remember_many({"content": f"tea {number} " + "leaf " * 1_500} for number in range(60))
        asked = Recall("tea", limit=60, budget_tokens=100_000, detail="concise")
        whole = memory.recall("tea", limit=60, budget_tokens=100_000, detail="concise")
        answer = RECALL.run(Call(memory), asked)
    structure = answer.structured_content
    kept = [item["id"] for item in structure["items"]]
    assert 0 < len(kept) < len(whole.items)
    assert kept + structure["left_out"] == [item.id for item in whole.items] + whole.left_out
    (block,) = answer.content
    assert len(block.text) <= ANSWER_CHARS_MAX
    assert all(Names()(name) in block.text for name in kept)
    gone = structure["left_out"]
    assert list(structure["left_out_tokens"]) == gone and all(
        size > 1_500 for size in structure["left_out_tokens"].values()
    )
    assert f"left out: {Names()(gone[0])} (" in block.text and f"{len(gone) - 5} more (" in block.text
    assert "truncated" not in structure


def test_one_memory_is_left_of_an_answer_that_could_hold_none(tmp_path):
    with live(tmp_path / "memory.db") as memory:
        memory.remember("tea " + "\u1eb9\u0301" * 30_000 + " end", modality="code", media_type="text/x-python")
        (name,) = memory.recall("tea", budget_tokens=100_000).items
        long = memory.recall("tea").model_copy(
            update={"items": [name.model_copy(update={"text": "tea " + "x" * 300_000})]}
        )
        shaped = RECALL.shape(long, Recall("tea"))
    (item,) = shaped.items
    assert item.text.startswith("tea x") and item.original_tokens and len(item.text) < ANSWER_CHARS_MAX
    assert shaped.left_out == []


def test_answers_keep_their_always_fields():
    always = {tool.name: tool.always for tool in TOOLS if tool.always}
    assert always == {"remember": ("added",), "recall": ("items", "tokens"), "forget": ("ids",), "verify": ("faults",)}


def test_what_is_quoted_in_an_error_can_always_be_sent():
    (block,) = respond.failure("recall", errors.InvalidInput.at("a\ud800", "is odd")).content
    assert block.text.encode()
