"""Each memory has a place, and paging, the way of reading and later writes never change the sequence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.config import Settings
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import Item
from tests.read.made import opened, without_matrix
from tests.support import reach


def _paged(memory: Memory, query: str, limit: int, *, as_of: int | None = None) -> list[Item]:
    answer = memory.recall(query, limit=limit, as_of=as_of, budget_tokens=100_000)
    items = list(answer.items)
    while answer.next_cursor is not None:
        answer = memory.recall(query, limit=limit, cursor=answer.next_cursor, budget_tokens=100_000)
        items += answer.items
    return items


def test_statements_that_differ_in_a_number_are_both_shown_and_marked(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        ten = memory.remember("the limit~ is 10").added[0]
        hundred = memory.remember("the limit~ is 100").added[0]
        reach.alter(memory, settings=Settings(supersede=False))
        items = {item.id: item for item in memory.recall("limit").items}
        assert set(items) == {ten, hundred}
        for mine, other in ((ten, hundred), (hundred, ten)):
            (note,) = items[mine].conflicts
            assert (note.with_id, note.kind, items[mine].duplicates) == (other, "possible", [])
            assert note.score is not None and 0.6 <= note.score <= 1.0
            assert "numbers differ" in note.reason


def test_a_newer_value_comes_before_the_older_and_both_are_marked(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        old = memory.remember("the limit~ of the queue is 10").added[0]
        memory.remember("the queue~ moved")
        new = memory.remember("the limit~ of the queue is now 100").added[0]
        items = memory.recall("what is the limit of the queue?").items
        names = [item.id for item in items]
        assert names.index(new) + 1 == names.index(old)
        notes = {item.id: [(n.kind, n.with_id, n.reason) for n in item.conflicts] for item in items}
        assert notes[new] == [("newer", old, "100 for 10")] and notes[old] == [("older", new, "100 for 10")]
        before = memory.recall("what is the limit of the queue?", as_of=2).items
        assert [item.conflicts for item in before if item.id == old] == [[]]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"session": "s", "speaker": "Ana"}, {"session": "s", "speaker": "Bo"}),
        ({"claim": {"subject": "a", "predicate": "b", "object": "x"}}, {}),
        ({"occurred_at": "2026-05-01T00:00:00Z", "session": "s"}, {"occurred_at": "2026-05-09T00:00:00Z", "session": "s"}),
    ],
)  # fmt: skip
def test_what_was_said_by_another_or_on_another_day_stays_apart(
    tmp_path: Path, one: dict[str, object], two: dict[str, object]
) -> None:
    with opened(tmp_path) as memory:
        memory.remember("we met~ at noon yesterday", **one)  # type: ignore[arg-type]
        memory.remember("we met~ yesterday, at noon", **two)  # type: ignore[arg-type]
        assert len(memory.recall("met").items) == 2


def test_marks_move_and_drop_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        for i in range(6):
            memory.remember(f"the limit~ is {i}")
        reach.alter(memory, settings=Settings(supersede=False))
        marked = memory.recall("limit").items
        reach.alter(memory, settings=Settings(possible_conflicts=False, supersede=False))
        plain = memory.recall("limit").items
        assert [item.id for item in marked] == [item.id for item in plain]
        assert all(len(item.conflicts) + item.more_conflicts == 5 for item in marked)
        assert not any(item.conflicts for item in plain)


_TEXT = st.builds(
    lambda cluster, verb, number: f"{cluster}~ we {verb} {number} times",
    st.sampled_from("abc"),
    st.sampled_from(["deploy", "do deploy", "do not deploy"]),
    st.integers(1, 3),
) | st.builds(
    lambda cluster, very: f"{cluster}~ " + "very " * very + "nice", st.sampled_from("abc"), st.integers(0, 20)
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_TEXT, min_size=1, max_size=45), st.integers(1, 13))
def test_pages_of_any_size_are_the_one_large_page_either_way_of_reading(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], limit: int
) -> None:
    with opened(tmp_path_factory.mktemp("store")) as memory:
        memory.remember_many([{"content": text} for text in texts])
        point = memory.recall("nice").read_point.transaction
        large = memory.recall("we deploy nice~", limit=200, budget_tokens=100_000, as_of=point)
        assert large.next_cursor is None
        shown = [item.id for item in large.items]
        assert len(set(shown)) == len(shown) == len(set(texts))  # each once, none lost
        assert {item.text for item in large.items} == set(texts)
        memory.remember("a~ very very nice and we deploy 2 times")
        for reader in (memory, without_matrix(memory)):
            again = _paged(reader, "we deploy nice~", limit, as_of=point)
            assert [item.model_dump() for item in again] == [item.model_dump() for item in large.items]
