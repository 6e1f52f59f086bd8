"""Kinds that were registered after import are kinds like any other: both clocks, undo, verify, rebuild, erase, moving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.canon import Json, canonical
from cmc_mcp.errors import CmcError
from cmc_mcp.history.transfer import StoreAddress, transfer
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import RollbackResult
from cmc_mcp.store.statements import Keyed
from tests.kinds.made import CLOCK, held, opened, place_of, put, put_in
from tests.kinds.samples import DRAFTS, LEASES, LISTING, NOTICE, SHELF, TABLES, TASK, WITH_SAMPLES, listing
from tests.support import reach
from tests.support.memories import erase

NAMES, WRITERS, STATES, TEAMS = ("a", "b", "c"), ("ana", "ben"), ("open", "done"), ("red", "blue", None)
Facts = dict[str, Json]
State = dict[str, Facts]
Open = Callable[[], Memory]


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    return place_of(tmp_path / "memory.db", request)


@pytest.fixture
def memory(place: str, tmp_path: Path) -> Iterator[Memory]:
    with opened(place, WITH_SAMPLES, tmp_path / "memory.db") as found:
        yield found


def rows(memory: Memory) -> dict[str, list[Any]]:
    """Return what the sample tables hold."""
    with reach.reader(memory) as view:
        return {table.name: sorted(view.index_rows(table)) for table in TABLES}


def edited(memory: Memory, statement: str, *bindings: object) -> None:
    """Change a row behind the store's back."""
    with reach.exclusive(memory) as connection:
        connection.execute(statement, bindings)


def tree(memory: Memory, name: str) -> str:
    """Put a listing that names two others on a shelf; return the hash (hex) of the topmost."""
    with reach.writer(memory) as unit:
        leaves = [listing(f"{name}/{n}") for n in range(2)]
        for leaf in leaves:
            unit.put(leaf, domain=LISTING)
        top = listing(name, [LISTING.hash(leaf) for leaf in leaves])
        unit.put(top, domain=LISTING)
        put_in(unit, SHELF, "main", {"listing": LISTING.hash(top).hex()})
        unit.flush(verb="put", principal="ana", arguments=canonical({}), clock_us=CLOCK.now_us())
    return LISTING.hash(top).hex()


def fill(memory: Memory) -> str:
    """Put something of every sample; return the memory that a task quotes."""
    quoted = memory.remember("the secret of the deploy").added[0]
    put(memory, "ana", TASK, "a", {"title": "deploy", "state": "open", "team": "red", "colour": "green"})
    put(memory, "ben", TASK, "b", {"title": "the secret", "about": quoted[5:], "team": "red", "colour": "blue"})
    put(memory, "ben", TASK, "a", {"title": "deploy", "state": "done", "team": "blue"})
    put(memory, "ana", NOTICE, "n", {"said": "no smoking"})
    tree(memory, "docs")
    return quoted


# ---------------------------------------------------------------------- the state machine
CALLS = st.one_of(
    st.tuples(
        st.just("put"), st.sampled_from(WRITERS), st.sampled_from(NAMES),
        st.fixed_dictionaries(
            {"title": st.sampled_from(("x", "y")), "state": st.sampled_from(STATES), "team": st.sampled_from(TEAMS)}
        ),
    ),
    st.tuples(st.just("retract"), st.sampled_from(WRITERS), st.sampled_from(NAMES)),
    st.tuples(st.just("rollback"), st.integers(0, 30)),
    st.tuples(st.just("undo"), st.sampled_from(WRITERS)),
    st.tuples(st.just("control"), st.sampled_from(WRITERS)),
)  # fmt: skip


class Machine:
    """The product beside a dictionary of every state."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.states: list[State] = [{}]
        self.roots = [memory.snapshot().root]
        self.notices = 0

    def put(self, writer: str, name: str, facts: dict[str, Any]) -> None:
        known = {register: value for register, value in facts.items() if value is not None}
        put(self.memory, writer, TASK, name, known)
        self._after({**self.states[-1], name: known})

    def retract(self, writer: str, name: str) -> None:
        put(self.memory, writer, TASK, name, None)
        self._after({n: facts for n, facts in self.states[-1].items() if n != name})

    def rollback(self, number: int) -> None:
        to = number % len(self.states)
        result: RollbackResult = self.memory.rollback(to)
        self._after(dict(self.states[to]))
        assert self.roots[-1] == self.roots[to]
        changed = {name for name in NAMES if self.states[-2].get(name) != self.states[to].get(name)}
        diff = result.diff
        assert len([*diff.added, *diff.removed, *diff.changed]) == len(changed)
        assert all(change.id.startswith("task_") for change in diff.added), "named as the kind says"

    def undo(self, writer: str) -> None:
        """Undone twice is undone once; what it left is what is stored, whatever that is: the kernel's tests say which."""
        self.memory.rollback(writer=writer)
        self._after({name: facts for name in NAMES if (facts := held(self.memory, TASK, name)) is not None})
        assert self.memory.rollback(writer=writer, dry_run=True).diff.model_dump(include={"added", "removed"}) == {
            "added": [], "removed": [],
        }  # fmt: skip

    def control(self, writer: str) -> None:
        """What never rolls back."""
        self.notices += 1
        put(self.memory, writer, NOTICE, "count", {"n": self.notices})
        self._after(dict(self.states[-1]))
        assert self.roots[-1] == self.roots[-2]

    def _after(self, state: State) -> None:
        self.states.append(state)
        self.roots.append(self.memory.snapshot().root)
        self.agrees()

    def agrees(self) -> None:
        now = self.states[-1]
        assert {name: facts for name in NAMES if (facts := held(self.memory, TASK, name)) is not None} == now
        teams = [str(facts["team"]) for facts in now.values() if "team" in facts]
        found = rows(self.memory)
        assert found["test_teams"] == sorted((team, teams.count(team)) for team in set(teams))
        assert sorted(row[1] for row in found["test_tasks"]) == sorted(str(facts["state"]) for facts in now.values())
        assert self.notices == 0 or held(self.memory, NOTICE, "count") == {"n": self.notices}
        assert self.memory.verify().faults == []

    def past(self) -> None:
        """Every state there ever was is still there."""
        with reach.reader(self.memory) as view:
            for seq, state in enumerate(self.states):
                for name in NAMES:
                    rid = view.rid(TASK.record(name.encode()))
                    intervals = () if rid is None else view.intervals(rid, seq)
                    assert (dict(intervals[0].facts.fields) if intervals else None) == state.get(name), (seq, name)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CALLS, max_size=9))
def test_any_history_of_them_has_the_states_it_should_have_had(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, calls: list[tuple[Any, ...]]
) -> None:
    path = tmp_path_factory.mktemp("machine") / "memory.db"
    with opened(place_of(path, request), WITH_SAMPLES, path) as memory:
        machine = Machine(memory)
        for name, *arguments in calls:
            getattr(machine, name)(*arguments)
        machine.past()


# ---------------------------------------------------------------------- verify and rebuild
def test_any_edit_of_any_column_is_found_and_mended(memory: Memory) -> None:
    fill(memory)
    whole = rows(memory)
    for table in TABLES:
        assert whole[table.name], "a table without a row tests nothing"
        for column in table.names:
            if column == "ws":
                continue
            with reach.reader(memory) as view:
                value = view.index_rows(table)[0][table.shown.index(column)]
            other = f"{value}x" if isinstance(value, str) else int(str(value)) + 7
            edited(memory, f"UPDATE {table.name} SET {column} = ? WHERE ws = ? AND {column} = ?", other, 1, value)
            faults = memory.verify().faults
            assert {fault.table for fault in faults} == {table.name}, (table.name, column)
            assert all(fault.reason.endswith("`cmc rebuild` mends it") for fault in faults)
            assert memory.rebuild().holds
            assert rows(memory) == whole


def test_rows_that_are_gone_or_too_many_are_found_and_mended(memory: Memory) -> None:
    fill(memory)
    whole = rows(memory)
    for table in TABLES:
        row = dict(zip(table.shown, whole[table.name][0], strict=True))
        edited(memory, Keyed.of(table).delete, 1, *(row[name] for name in table.key))
    assert {fault.table for fault in memory.verify().faults} == {table.name for table in TABLES}
    assert memory.rebuild().holds
    assert rows(memory) == whole


def test_a_listing_that_is_named_and_missing_is_a_fault(memory: Memory) -> None:
    with reach.writer(memory) as unit:
        unit.put(listing("top", [LISTING.hash(b"nobody put this")]), domain=LISTING)
        put_in(unit, SHELF, "main", {"listing": LISTING.hash(b"nor this").hex()})
        unit.flush(verb="put", principal="ana", arguments=b"{}", clock_us=CLOCK.now_us())
    reasons = [fault.reason for fault in memory.verify().faults]
    assert any("the listing of record" in reason for reason in reasons)
    assert any("a part of payload" in reason for reason in reasons)


def test_a_listing_is_no_content_though_its_bytes_are_the_same(memory: Memory) -> None:
    body = listing("same")
    memory.remember(body.decode())
    with reach.writer(memory) as unit:
        pid = unit.put(body, domain=LISTING)
        put_in(unit, SHELF, "main", {"listing": LISTING.hash(body).hex()})
        unit.flush(verb="put", principal="ana", arguments=b"{}", clock_us=CLOCK.now_us())
    with reach.reader(memory) as view:
        assert view.payload(pid) == body and view.payload_row(pid).domain == LISTING.number
    assert memory.verify().faults == []


# ---------------------------------------------------------------------- undo, diff, erase, moving
def test_a_shelf_keeps_what_the_second_put_there_when_the_first_is_undone(memory: Memory) -> None:
    put(memory, "ben", SHELF, "other", {"listing": tree(memory, "one")})
    second = tree(memory, "two")
    put(memory, "ana", SHELF, "other", {"listing": second})
    memory.rollback(writer="ben")
    assert held(memory, SHELF, "other") == {"listing": second}
    assert memory.verify().faults == []


def test_a_selective_undo_asks_the_kind_what_a_change_is_about(memory: Memory) -> None:
    about = memory.remember("poison", source="bad.md", tags={"from": "web"}).added[0][5:]
    put(memory, "ana", TASK, "a", {"title": "about it", "about": about})
    put(memory, "ana", TASK, "b", {"title": "about nothing"})
    for asked in ({"tags": {"from": "web"}}, {"source": "bad.md"}):
        plan = memory.rollback(dry_run=True, **asked)  # type: ignore[arg-type]
        assert "about it" in [change.text for change in plan.diff.removed]
        assert "about nothing" not in [change.text for change in plan.diff.removed]


def test_an_erase_takes_the_words_out_of_what_quotes_them(memory: Memory) -> None:
    quoted = fill(memory)
    assert ("blue",) in [row[:1] for row in rows(memory)["test_colours"]]
    before = memory.snapshot().root
    erase(memory, quoted)
    assert (held(memory, TASK, "b") or {})["title"] == "[erased]"
    assert "secret" not in str(held(memory, TASK, "b"))
    with reach.reader(memory) as view:
        bodies = b" ".join(row.body or b"" for row in view.all_payloads())
        assert b"the secret" not in bodies
    assert memory.verify().faults == [] and memory.snapshot().root != before
    assert memory.rebuild().holds


def test_they_are_copied_into_another_store_of_either_backend_and_verify_there(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with opened(place, WITH_SAMPLES, tmp_path / "memory.db") as memory:
        fill(memory)
        whole, root = rows(memory), memory.snapshot().root
    source = StoreAddress(place, f"{tmp_path / 'memory.db'}.objects")
    for path, other in ((tmp_path / "like.db", place_of(tmp_path / "like.db", request)), (tmp_path / "file.db", None)):
        target = other or str(path)
        (moved,) = transfer(source, StoreAddress(target, f"{path}.objects"), registry=WITH_SAMPLES)
        assert moved.state_root == root
        with opened(target, WITH_SAMPLES, path) as memory:
            assert rows(memory) == whole
            assert memory.verify().faults == []
            put(memory, "ana", TASK, "z", {"title": "goes on", "team": "red"})
            assert memory.verify().faults == []


def test_rows_without_a_kind_are_kept_changed_removed_and_copied_if_their_table_says_so(
    place: str, tmp_path: Path
) -> None:
    def written(memory: Memory, *leases: tuple[str, int]) -> None:
        with reach.writer(memory) as unit:
            for lease in leases:
                unit.keep(LEASES, lease)
            put_in(unit, NOTICE, "n", {"leases": len(leases)})
            unit.flush(verb="put", principal="ana", arguments=b"{}", clock_us=CLOCK.now_us())

    with opened(place, WITH_SAMPLES, tmp_path / "memory.db") as memory:
        written(memory, ("a", 1), ("b", 1))
        written(memory, ("a", 2))
        with reach.writer(memory) as unit:
            unit.keep(DRAFTS, ("d", "half a thought"))
            unit.remove(LEASES, name="b")
            put_in(unit, NOTICE, "n", {})
            unit.flush(verb="put", principal="ana", arguments=b"{}", clock_us=CLOCK.now_us())
        assert memory.verify().faults == [] and memory.rebuild().holds
    other = tmp_path / "other.db"
    transfer(
        StoreAddress(place, f"{tmp_path / 'memory.db'}.objects"),
        StoreAddress(str(other), f"{other}.objects"),
        registry=WITH_SAMPLES,
    )
    for at, path, drafts in ((place, tmp_path / "memory.db", 1), (str(other), other, 0)):
        with opened(at, WITH_SAMPLES, path) as memory, reach.reader(memory) as view:
            assert view.index_rows(LEASES) == [("a", 2)]
            assert len(view.index_rows(DRAFTS)) == drafts


def test_a_write_that_is_refused_leaves_no_row(memory: Memory) -> None:
    fill(memory)
    whole = rows(memory)
    with pytest.raises(CmcError), reach.writer(memory) as unit:
        put_in(unit, TASK, "c", {"title": "never", "team": "red", "colour": "grey"})
        raise CmcError("changed my mind")
    assert rows(memory) == whole and memory.verify().faults == []


def test_a_kind_costs_one_file_and_a_migration_beside_its_line_of_identity() -> None:
    """What the samples add to the product is in their own file: no room of the product names them."""
    product = Path(__file__).parents[2] / "cmc_mcp"
    words = {kind.name for kind in (TASK, SHELF, NOTICE)} | {table.name for table in TABLES}
    for path in product.rglob("*.py"):
        text = path.read_text()
        assert not any(word in text for word in words), path
