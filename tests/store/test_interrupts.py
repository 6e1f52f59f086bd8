"""An interrupt that comes just before a ROLLBACK leaves no transaction open: what follows begins one of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from cmc_mcp.store.sqlite.store import SqliteStore
from tests.support import reach
from tests.support.memories import live


def _interrupted(_: apsw.Cursor, statement: str, __: Any) -> bool:
    if statement == "ROLLBACK":
        raise KeyboardInterrupt
    return True


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    memory = live(tmp_path / "memory.db")
    memory.remember("The deploy target is Fly.io")
    assert isinstance(reach.store(memory), SqliteStore)
    return reach.store(memory)


def test_a_writer_that_was_interrupted_before_its_rollback_is_put_away(store: SqliteStore) -> None:
    ws = store.workspace("default", create=False)
    store._write_connection().exec_trace = _interrupted
    with pytest.raises(KeyboardInterrupt), store.writer(ws):
        raise ValueError("refused")
    with store.writer(ws) as unit:
        assert unit.before.seq == 1
    store.close()


def test_a_reader_that_was_interrupted_before_its_rollback_is_put_away(store: SqliteStore) -> None:
    ws = store.workspace("default", create=False)
    with pytest.raises(KeyboardInterrupt), store._readers.transaction() as reader:
        reader.connection.exec_trace = _interrupted
    for _ in range(2):
        with store.reader(ws) as view:
            assert view.head().seq == 1
    store.close()
