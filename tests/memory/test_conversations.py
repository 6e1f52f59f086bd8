"""Turns: appended in order, told apart by who said them when, at a cost that does not grow with the talk."""

from __future__ import annotations

from pathlib import Path

import apsw

from cmc_mcp.canon import digest
from cmc_mcp.memory import Memory
from tests.support.memories import opened, root


def test_turns_without_a_time_are_always_appended(memory: Memory) -> None:
    ids = [memory.remember("yes", session="s", speaker="ana").added[0] for _ in range(3)]
    assert len(set(ids)) == 3
    assert memory.read_source("session:s") == b"yes\nyes\nyes"


def test_a_turn_with_its_time_is_reaffirmed_and_not_doubled(memory: Memory) -> None:
    said = {"session": "s", "speaker": "ana", "occurred_at": "2026-05-08T09:00:00Z"}
    first = memory.remember("yes", **said)  # type: ignore[arg-type]
    before = root(memory)
    for who in (memory, memory.as_principal("zoe")):
        again = who.remember("yes", **said)  # type: ignore[arg-type]
        assert (again.added, again.reaffirmed) == ([], first.added)
    assert root(memory) == before
    assert memory.read_source("session:s") == b"yes"
    later = memory.remember("yes", session="s", speaker="ana", occurred_at="2026-05-08T09:00:01Z")
    assert later.added
    assert memory.read_source("session:s") == b"yes\nyes"


def test_the_same_words_by_two_speakers_are_two_atoms(memory: Memory) -> None:
    at = "2026-05-08T09:00:00Z"
    first = memory.remember("yes", session="s", speaker="ana", occurred_at=at)
    second = memory.remember("yes", session="s", speaker="bo", occurred_at=at)
    assert first.added != second.added
    assert [memory.history(r.added[0]).memory.speaker for r in (first, second)] == ["ana", "bo"]  # type: ignore[union-attr]


def test_a_forgotten_turn_comes_back_to_its_place(memory: Memory) -> None:
    said = {"session": "s", "speaker": "ana", "occurred_at": "2026-05-08T09:00:00Z"}
    first = memory.remember("one", **said)  # type: ignore[arg-type]
    memory.remember("two", session="s", speaker="bo", occurred_at="2026-05-08T09:01:00Z")
    before = root(memory)
    memory.forget(first.added)
    assert memory.remember("one", **said).restored == first.added  # type: ignore[arg-type]
    assert memory.read_source("session:s") == b"one\ntwo"
    assert root(memory) == before


def test_an_append_after_a_rollback_reuses_or_forks(memory: Memory) -> None:
    memory.remember("one", session="s")
    before = memory.snapshot()
    two = memory.remember("two", session="s")
    whole = root(memory)
    memory.rollback(before)
    assert memory.read_source("session:s") == b"one"
    again = memory.remember("two", session="s")
    assert again.restored == two.added
    assert root(memory) == whole
    memory.rollback(before)
    other = memory.remember("another two", session="s")
    assert other.added
    assert memory.read_source("session:s") == b"one\nanother two"
    assert memory.read_source("session:s", two.transaction) == b"one\ntwo"
    third = memory.remember("two", session="s", occurred_at="2026-05-08")
    assert third.added
    assert memory.read_source("session:s") == b"one\nanother two\ntwo"


def test_a_timed_turn_whose_place_was_taken_by_a_fork_is_appended(memory: Memory) -> None:
    said = {"session": "s", "occurred_at": "2026-05-08"}
    before = memory.snapshot()
    memory.remember("two", **said)  # type: ignore[arg-type]
    memory.rollback(before.transaction)
    memory.remember("instead", session="s")
    assert memory.remember("two", **said).restored  # type: ignore[arg-type]
    assert memory.read_source("session:s") == b"instead\ntwo"


def test_the_version_of_a_conversation_is_a_chain_over_its_turns(memory: Memory) -> None:
    ids = [memory.remember(text, session="s").added[0] for text in ("a", "b", "c")]
    chain = bytes(32)
    expected = []
    for id in ids:
        chain = digest("cmc/chain/1", chain, bytes.fromhex(id.removeprefix("atom_")))
        expected.append(chain.hex()[:32])
    versions = memory.history(source="session:s").source_versions
    assert [version.version for version in versions] == expected[::-1]
    assert [version.parts for version in versions] == [3, 2, 1]


def test_versions_of_one_transaction_are_newest_first_too(memory: Memory) -> None:
    memory.remember_many([{"content": str(n), "session": "s"} for n in range(4)])
    assert [version.parts for version in memory.history(source="session:s").source_versions] == [4, 3, 2, 1]


def test_several_sessions_of_one_source_are_one_conversation(memory: Memory) -> None:
    for session in ("day 1", "day 1", "day 2"):
        memory.remember("hello", session=session, source="team chat", speaker="ana")
    assert memory.read_source("team chat") == b"hello\nhello\nhello"
    nodes = memory.history(source="team chat").nodes
    assert [(node.level, node.title) for node in nodes] == [(1, "team chat"), (2, "day 1"), (2, "day 2")]
    assert memory.sources() == ["team chat"]


def test_a_turn_knows_its_place(memory: Memory) -> None:
    ids = [memory.remember(text, session="s", speaker="ana").added[0] for text in ("a", "b", "c")]
    assert [memory.history(id).memory.place for id in ids] == ["s#1", "s#2", "s#3"]  # type: ignore[union-attr]
    item = memory.history(ids[1]).memory
    assert item is not None
    assert (item.session, item.speaker, item.source) == ("s", "ana", "session:s")


def test_changing_a_turn_changes_the_hash_of_its_session_alone(memory: Memory, tmp_path: Path) -> None:
    other = opened(tmp_path, "other.db")
    for store, middle in ((memory, "b"), (other, "B")):
        for session, text in (("x", "a"), ("y", middle), ("z", "c")):
            store.remember(text, session=session, source="chat")
    first, second = ({n.path: n.dependency_hash for n in m.history(source="chat").nodes} for m in (memory, other))
    assert {path for path in first if first[path] != second[path]} == {"", "y"}


def test_an_append_costs_the_same_at_any_length(tmp_path: Path) -> None:
    memory = opened(tmp_path)

    def rows() -> int:
        """Count what one more turn writes, as the sum over tables of rows that are new."""
        connection = apsw.Connection(str(tmp_path / "memory.db"), flags=apsw.SQLITE_OPEN_READONLY)
        tables = ("payloads", "records", "atoms", "pieces", "items", "headings", "transactions", "log_nodes", "edges")
        try:
            return sum(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)
        finally:
            connection.close()

    def cost(number: int) -> int:
        before = rows()
        memory.remember(f"turn {number}", session="s", speaker="ana")
        return rows() - before

    memory.remember_many([{"content": f"early {n}", "session": "s", "speaker": "ana"} for n in range(10)])
    early = cost(1)
    memory.remember_many([{"content": f"later {n}", "session": "s", "speaker": "ana"} for n in range(2_000)])
    late = [cost(n) for n in range(2, 6)]
    # the log of 2^k transactions closes up to k nodes; nothing else may grow
    assert max(late) <= early + 3
