"""Short ids: as many digits as tell a memory from all that were recorded up to a read point, on both backends."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from cmc_mcp.errors import Ambiguous
from cmc_mcp.history.references import longer, resolve_atom
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.kinds import ATOM
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import RecordKey
from tests.support import reach
from tests.support.memories import live


class Made:
    """A ledger of records with keys that were made to collide."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = [bytes.fromhex(key.ljust(32, "0")) for key in keys]

    def keys_beginning(self, kind: int, beginnings: list[bytes], upto: Rid) -> list[bytes]:
        return [key for key in self._keys[:upto] if key.startswith(tuple(beginnings))]

    def keys_between(self, kind: int, low: bytes, high: bytes, limit: int = 3) -> list[RecordKey]:
        found = [RecordKey(Rid(at + 1), key) for at, key in enumerate(self._keys) if low <= key <= high]
        return found[:limit]


def test_an_id_is_as_long_as_tells_it_from_what_was_recorded_up_to_the_point() -> None:
    view = cast(LedgerView, Made(["abcdef11", "abcdef12", "abcd", "abcdef1234"]))
    names = [f"atom_{key.ljust(32, '0')}" for key in ("abcdef11", "abcdef12", "abcd", "abcdef1234")]
    assert longer(view, names[:1], Rid(1)) == {}
    assert longer(view, names[:3], Rid(3)) == {names[0]: 8, names[1]: 8}
    assert longer(view, names[:2], Rid(4)) == {names[0]: 8, names[1]: 9}
    with pytest.raises(Ambiguous) as refused:
        resolve_atom(view, "abcdef12")
    assert refused.value.fields["candidates"] == [names[1], names[3]]


def test_the_store_names_the_keys_that_begin_alike(tmp_path: Path) -> None:
    with live(tmp_path / "memory.db") as memory:
        names = [memory.remember(f"note {number}").added[0] for number in range(40)]
        with reach.reader(memory) as view:
            head, keys = view.head(), [bytes.fromhex(name[5:]) for name in names]
            for size in (1, 3, 16):
                wanted = [key[:size] for key in keys[:5]]
                alike = {key for key in keys if key[:size] in wanted}
                assert set(view.keys_beginning(ATOM.code, wanted, head.last_rid)) == alike
            early = view.head_at(view.head().seq - 39)
            assert set(view.keys_beginning(ATOM.code, [key[:1] for key in keys], early.last_rid)) == {keys[0]}
            assert view.keys_beginning(ATOM.code, [], head.last_rid) == []
        for name in names[:3]:
            for reference in (name[5:11], name[:11], name):
                assert memory.history(reference).memory.id == name  # type: ignore[union-attr]
