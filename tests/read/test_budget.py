"""The budget is hard: whatever the script, the whole rendered text stays inside it, and what did not fit is named."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmc_mcp.embed.tokens import UpperBound, cl100k
from cmc_mcp.limits import RECALL_TOKENS_MIN
from cmc_mcp.model.results import ConflictNote, Item, WitnessModel
from cmc_mcp.read.compress import Passages
from cmc_mcp.read.fit import Page, Room, fit
from cmc_mcp.read.frame import written
from tests.read.made import opened

COUNTER = cl100k()
SCRIPTS = st.one_of(
    st.text(max_size=400),
    st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=200),
    st.text(alphabet=st.characters(min_codepoint=0x0900, max_codepoint=0x0DFF), max_size=200),
    st.text(alphabet=st.characters(min_codepoint=0x1F300, max_codepoint=0x1FAFF), max_size=60),
    st.text(alphabet=st.sampled_from(" \n\t\r\u2003\u200d"), max_size=300),
    st.text(alphabet=st.sampled_from(string.ascii_letters), max_size=3000),
    st.text(alphabet=st.sampled_from("a!?\n\n [](){}<|>"), max_size=300),
)
ITEMS = st.lists(
    st.builds(
        Item,
        id=st.integers(0, 2**64).map(lambda n: f"atom_{n:032x}"),
        text=SCRIPTS,
        speaker=st.none() | st.text(min_size=1, max_size=20),
        source=st.none() | st.text(min_size=1, max_size=20),
        place=st.none() | st.text(min_size=1, max_size=20),
        conflicts=st.lists(
            st.builds(ConflictNote, with_id=st.just("atom_1"), kind=st.just("claim"), reason=st.text(max_size=30)),
            max_size=2,
        ),
        superseded_by=st.lists(st.just("atom_" + "0" * 32), max_size=2),
        witness=st.none() | st.just(WitnessModel(writer="me", confidence=0.95, band="A")),
    ),
    max_size=25,
    unique_by=lambda item: item.id,
)


@settings(max_examples=150, deadline=None)
@given(items=ITEMS, budget=st.integers(1, 2500), limit=st.integers(1, 20), bound=st.booleans())
def test_the_whole_text_never_passes_the_budget(items: list[Item], budget: int, limit: int, bound: bool) -> None:
    count = UpperBound().count if bound else COUNTER.count
    page = fit(enumerate(items), 0, 0, Room(budget, limit, count, Passages(["a"], str.split, count)))
    text = written(page.items)
    assert bool(page.items) == (bool(items) and budget >= RECALL_TOKENS_MIN)
    assert page.tokens == (count(text) if page.items else 0) <= budget
    if not bound and page.items:
        assert len(COUNTER._encoding.encode_ordinary(text)) <= budget
    assert len(page.items) <= limit
    names = [item.id for item in page.items]
    assert not set(names) & set(page.left_out)
    order = [item.id for item in items]
    looked_at = order[: max((order.index(name) for name in [*names, *page.left_out]), default=-1) + 1]
    assert set(looked_at) == {*names, *page.left_out}
    assert all(size > 0 for size in page.left_out.values())
    assert names == [name for name in order if name in names]


ONE_WORD_UNDER_A_LONG_HEAD = Item(
    id="atom_" + "0" * 32,
    text="0",
    source="0:\x1f0\x1f0¡\n0:0\x1f0ÅØ\U0003144a\U0006b23a",
    conflicts=[ConflictNote(with_id="atom_1", kind="claim", reason="")],
    witness=WitnessModel(writer="me", confidence=0.95, band="A"),
)


@settings(max_examples=100, deadline=None)
@given(items=ITEMS, budget=st.integers(RECALL_TOKENS_MIN, 1500), limit=st.integers(1, 8))
@example(items=[ONE_WORD_UNDER_A_LONG_HEAD], budget=RECALL_TOKENS_MIN, limit=1)
def test_pages_give_every_item_exactly_once(items: list[Item], budget: int, limit: int) -> None:
    given_: list[str] = []
    page = Page(0, 0)
    for _ in range(len(items) + 2):
        rest = [
            (place, item)
            for place, item in enumerate(items)
            if place >= page.offset and not page.given >> (place - page.offset) & 1
        ]
        if not rest:
            break
        room = Room(budget, limit, COUNTER.count, Passages([], str.split, COUNTER.count))
        page = fit(iter(rest), page.offset, page.given, room)
        assert page.items, "a page of nothing"
        given_ += [item.id for item in page.items]
    else:
        pytest.fail("the pages do not come to an end")
    assert sorted(given_) == sorted(item.id for item in items)


@pytest.mark.parametrize("detail", ["concise", "detailed"])
def test_one_that_is_too_big_is_given_as_a_window_beside_smaller_ones(tmp_path: Path, detail: str) -> None:
    with opened(tmp_path) as memory:
        big = memory.remember("deploy " * 900, source="big.txt").added[0]
        small = memory.remember_many([{"content": f"deploy small {i}"} for i in range(3)]).added
        answer = memory.recall("deploy", budget_tokens=200, detail=detail)
        assert {item.id for item in answer.items} == {big, *small}
        (window,) = [item for item in answer.items if item.id == big]
        assert "deploy" in window.text and window.original_tokens == 900
        assert 150 < answer.tokens <= 200 and answer.left_out == [] and answer.next_cursor is None


def test_below_the_least_budget_the_answer_is_empty_and_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember("deploy " * 900, source="big.txt")
        nothing = memory.recall("deploy", budget_tokens=RECALL_TOKENS_MIN - 1)
        assert nothing.items == [] and nothing.tokens == 0 and nothing.left_out == [] and nothing.next_cursor is None
        assert "budget_tokens=60 is the least" in str(nothing.mode.degraded)
        (item,) = memory.recall("deploy", budget_tokens=RECALL_TOKENS_MIN).items
        assert "deploy" in item.text


def test_a_limit_is_kept_and_the_rest_is_a_cursor_away(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": f"deploy {i} " + "word " * 30} for i in range(30)])
        answer = memory.recall("deploy", limit=4)
        assert len(answer.items) == 4 and answer.left_out == [] and answer.next_cursor is not None
        half = answer.tokens // 2
        tight = memory.recall("deploy", limit=4, budget_tokens=half)
        assert 0 < len(tight.items) < 4 and tight.left_out
        following = memory.recall("deploy", limit=4, budget_tokens=half, cursor=tight.next_cursor)
        assert following.items[0].id == tight.left_out[0]
