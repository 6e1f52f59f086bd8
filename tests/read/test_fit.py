"""With excerpts too the budget is hard, pages give everything once, and a long memory leaves room for the others."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Compress, Settings
from cmc_mcp.embed.tokens import UpperBound, cl100k
from cmc_mcp.limits import RECALL_TOKENS_MIN
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import Item
from cmc_mcp.read.compress import Level, Passages
from cmc_mcp.read.fit import Page, Room, both_ends, fit
from cmc_mcp.read.frame import Names, piece, shared_of, written
from tests.read.made import opened

COUNTER = cl100k()
RANGES = [
    (0x20, 0x7E), (0x00, 0x1F), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x77F), (0x900, 0xDFF),
    (0xE00, 0x109F), (0x1100, 0x11FF), (0x1780, 0x18AF), (0x2000, 0x206F), (0x2190, 0x2BFF), (0x3000, 0x30FF),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFE00, 0xFE0F), (0x10000, 0x102FF), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1FAFF),
]  # fmt: skip
SCRIPT = st.sampled_from(RANGES).flatmap(
    lambda ends: st.text(st.characters(min_codepoint=ends[0], max_codepoint=ends[1]), min_size=1, max_size=40)
)
SENTENCE = st.tuples(
    SCRIPT, st.sampled_from([". ", "! ", "。", "।", "\n", "\n\n", " ", ".\n- ", " | ", "\n```\n"])
).map("".join)
TEXTS = st.lists(SENTENCE, min_size=1, max_size=30).map("".join) | st.text(max_size=400) | st.text(
    alphabet=string.ascii_letters, max_size=1500
)  # fmt: skip
ITEMS = st.lists(
    st.builds(
        Item,
        id=st.integers(0, 2**64).map(lambda n: f"atom_{n:032x}"),
        text=TEXTS,
        modality=st.sampled_from(["text", "text", "code", "tool:result"]),
        speaker=st.none() | SCRIPT,
        title=st.none() | SCRIPT,
        tags=st.dictionaries(st.sampled_from("ab"), SCRIPT, max_size=2),
        occurred_at=st.none() | st.just("2024-05-01T00:00:00Z"),
    ),
    max_size=14,
    unique_by=lambda item: item.id,
)
LEVELS: st.SearchStrategy[Level] = st.sampled_from(["full", "detailed", "brief", "reference"])
CONSTANTS = st.builds(Compress, passage_tokens=st.integers(1, 120))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def passages(level: Level | None = None, constants: Compress | None = None, bound: bool = False) -> Passages:
    count = UpperBound().count if bound else COUNTER.count
    return Passages(["a", "the"], words, count, level and (lambda _: level), constants or Compress(passage_tokens=80))


@settings(max_examples=200, deadline=None)
@given(
    items=ITEMS,
    budget=st.integers(1, 1500),
    limit=st.integers(1, 20),
    level=LEVELS,
    constants=CONSTANTS,
    bound=st.booleans(),
)
def test_the_whole_text_never_passes_the_budget(
    items: list[Item], budget: int, limit: int, level: Level, constants: Compress, bound: bool
) -> None:
    count = UpperBound().count if bound else COUNTER.count
    page = fit(enumerate(items), 0, 0, Room(budget, limit, count, passages(level, constants, bound)))
    text = written(page.items)
    assert bool(page.items) == (bool(items) and budget >= RECALL_TOKENS_MIN)
    assert page.tokens == (count(text) if page.items else 0) <= budget
    assert len(COUNTER._encoding.encode_ordinary(text)) <= budget or not page.items
    assert len(page.items) <= limit
    names, order = [item.id for item in page.items], [item.id for item in items]
    assert names == [name for name in order if name in names]
    looked_at = order[: max((order.index(name) for name in [*names, *page.left_out]), default=-1) + 1]
    assert sorted(looked_at) == sorted([*names, *page.left_out])
    wholes = {item.id: item for item in items}
    for item in page.items:
        whole = wholes[item.id].text
        if item.original_tokens is None:
            assert item.text == whole and item.level == "full"
        else:
            assert item.original_tokens == count(whole) and item.level != "full"
            assert item.text == whole or count(item.text) < count(whole) + len("……".encode())


@settings(max_examples=100, deadline=None)
@given(
    items=ITEMS,
    budget=st.integers(RECALL_TOKENS_MIN, 800),
    limit=st.integers(1, 8),
    level=LEVELS,
    constants=CONSTANTS,
)
def test_pages_give_every_item_exactly_once(
    items: list[Item], budget: int, limit: int, level: Level, constants: Compress
) -> None:
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
        room = Room(budget, limit, COUNTER.count, passages(level, constants))
        page = fit(iter(rest), page.offset, page.given, room)
        assert page.items, "a page of nothing"
        given_ += [item.id for item in page.items]
    else:
        pytest.fail("the pages do not come to an end")
    assert sorted(given_) == sorted(item.id for item in items)


@settings(max_examples=100, deadline=None)
@given(items=ITEMS, limit=st.integers(1, 20))
def test_where_all_has_room_nothing_is_shortened(items: list[Item], limit: int) -> None:
    plain = fit(enumerate(items), 0, 0, Room(100_000, limit, COUNTER.count, passages()))
    page = fit(enumerate(items), 0, 0, Room(100_000, limit, COUNTER.count, passages("reference")))
    assert page == plain and not page.left_out


def _item(number: int, text: str) -> Item:
    return Item(id=f"atom_{number:032x}", text=text)


def _long(topic: str) -> str:
    return " ".join(f"Sentence {n} is about {topic} and number {n * 7}." for n in range(50))


def test_a_long_memory_leaves_room_for_the_others() -> None:
    items = [_item(0, _long("deploys")), *(_item(n, f"The short note {n}.") for n in range(1, 12))]
    page = fit(enumerate(items), 0, 0, Room(500, 12, COUNTER.count, passages("reference")))
    assert len(page.items) == 12 and not page.left_out
    first, *others = page.items
    assert first.level != "full" and first.original_tokens == COUNTER.count(items[0].text)
    assert [item.text for item in others] == [item.text for item in items[1:]]
    assert page.tokens > 450, "what room is left goes to the excerpt"


def test_the_strongest_is_given_whole_where_there_is_room_for_one() -> None:
    items = [_item(n, _long(f"topic {n}")) for n in range(3)]
    one = COUNTER.count(written(items[:1]))
    page = fit(enumerate(items), 0, 0, Room(one + 300, 10, COUNTER.count, passages("reference")))
    assert [item.level == "full" for item in page.items] == [True, False, False]


def test_what_was_skipped_takes_the_place_of_something_weaker() -> None:
    texts = ["a " * 10, "b " * 60, "c " * 50]
    items = [_item(n, text) for n, text in enumerate(texts)]
    sizes = [COUNTER.count(piece(item, Names(), shared_of(item))) for item in items]
    budget = COUNTER.count(written(items[:2])) + 1
    page = fit(iter([(0, items[0]), (1, items[1]), (2, items[2])]), 0, 0, Room(budget, 3, COUNTER.count, passages()))
    assert [item.id for item in page.items] == [items[0].id, items[1].id]
    page = fit(
        iter([(0, items[1]), (1, items[2]), (2, items[0])]),
        0,
        0,
        Room(budget - sizes[0] + sizes[2], 3, COUNTER.count, passages()),
    )
    assert [item.id for item in page.items] == [items[1].id, items[2].id]


def test_both_ends_keeps_every_item_and_puts_the_strongest_outside() -> None:
    for size in range(7):
        items = [_item(n, "x") for n in range(size)]
        ordered = both_ends(items)
        assert sorted(item.id for item in ordered) == [item.id for item in items]
        while len(ordered) > 2:
            inner = min(int(item.id[5:], 16) for item in ordered[1:-1])
            assert inner > max(int(item.id[5:], 16) for item in (ordered[0], ordered[-1]))
            ordered = ordered[1:-1]


def test_what_is_shown_of_an_id_is_a_reference(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        (name,) = memory.remember("The bridge is closed").added
        shown = re.search(r"^([0-9a-f]{6})$", written(memory.recall("bridge").items), re.MULTILINE)
        assert shown is not None and f"atom_{shown[1]}" == name[:11]
        found = memory.history(shown[1]).memory
        assert found is not None and found.id == name


def _filled(memory: Memory) -> str:
    text = _long("the weather")[:900] + " The bridge closes on 3.14 at noon. " + _long("the lunch")
    (name,) = memory.remember(text, source="notes", session="s", occurred_at="2024-01-01").added
    memory.remember_many([{"content": f"The bridge was seen by visitor {n}."} for n in range(9)])
    return name


def test_recall_gives_the_answering_passage_and_says_what_it_left_out(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        name = _filled(memory)
        asked = {"budget_tokens": 800, "limit": 10, "detail": "concise"}
        answer = memory.recall("when does the bridge close?", explain=True, **asked)  # type: ignore[arg-type]
        (item,) = [item for item in answer.items if item.id == name]
        assert "The bridge closes on 3.14 at noon." in item.text and "…" in item.text
        assert item.level != "full" and item.original_tokens is not None
        assert f"excerpt of {item.original_tokens} tokens" in written([item])
        assert answer.tokens <= 800 and len(answer.items) == 10
        assert next(stage for stage in answer.trace if stage.stage == "fit").notes["shortened"] == [name]
        whole = memory.history(item.id).memory
        assert whole is not None and COUNTER.count(whole.text) == item.original_tokens
        roomy = memory.recall("when does the bridge close?", budget_tokens=5000, detail="concise")
        assert next(other.text for other in roomy.items if other.id == name) == whole.text
        detailed = memory.recall("when does the bridge close?", budget_tokens=800)
        assert [other.id for other in detailed.items if other.original_tokens] == [name], (
            "no detailed answer holds it whole"
        )


def test_the_age_at_the_read_point_moves_an_excerpt_and_the_clock_does_not(tmp_path: Path) -> None:
    clock = FixedClock(1_704_153_600_000_000)  # 2024-01-02
    with opened(tmp_path, clock=clock) as memory:
        name = _filled(memory)
        then = memory.snapshot("then").transaction
        asked = {"budget_tokens": 1200, "limit": 2, "detail": "concise"}

        def shown(as_of: int | None = None) -> Item:
            answer = memory.recall("when does the bridge close?", as_of=as_of, **asked)  # type: ignore[arg-type]
            return next(item for item in answer.items if item.id == name)

        before = shown(then)
        clock.set_us(1_704_153_600_000_000 + 365 * 86_400_000_000)
        assert shown(then) == before


def test_both_ends_is_a_setting(tmp_path: Path) -> None:
    with opened(tmp_path, settings=Settings(both_ends=True)) as memory:
        memory.remember_many([{"content": "deploy " * n} for n in range(1, 6)])
        names = [item.id for item in memory.recall("deploy").items]
    with opened(tmp_path) as memory:
        assert names == [item.id for item in both_ends(memory.recall("deploy").items)]
