from __future__ import annotations

import pytest

from tests.crash.writers import Call, check_history

WRITES = [Call(0, 1, 1, "a"), Call(0.5, 3, 3, "b"), Call(2, 2.5, 2, "a")]


def test_a_sound_history_has_no_violation() -> None:
    reads = [Call(0, 4, 0, "r"), Call(1.5, 1.6, 1, "r"), Call(2.2, 2.9, 3, "r"), Call(3.5, 3.6, 3, "r")]
    assert check_history(WRITES, reads, 3) == []


def test_a_killed_client_may_have_written_what_nobody_was_told_of() -> None:
    assert check_history(WRITES, [Call(3.5, 3.6, 4, "r")], 4, untold=1) == []
    assert check_history([WRITES[0], WRITES[1]], [Call(1.1, 1.2, 2, "r")], 3, untold=1) == []


@pytest.mark.parametrize(
    ("writes", "reads", "length", "untold", "said"),
    [
        (WRITES[:2], [], 3, 0, "missing \\[2\\]"),
        ([*WRITES, Call(5, 6, 3, "c")], [], 3, 0, "twice \\[3\\]"),
        (WRITES, [], 2, 0, "do not make a ledger of 2"),
        ([Call(0, 1, 2, "a"), Call(2, 3, 1, "b")], [], 2, 0, "b has 1, though 2 had returned before"),
        (WRITES, [Call(4, 5, 2, "r")], 3, 0, "r has 2, though 3 had returned before"),
        (WRITES, [Call(0.1, 0.2, 3, "r")], 3, 0, "saw transaction 3 before it was written"),
        (WRITES, [Call(4, 5, 4, "r")], 3, 0, "saw transaction 4 before it was written"),
        (WRITES, [], 5, 1, "missing \\[4, 5\\]"),
        ([*WRITES, Call(5, 6, 3, "c")], [], 4, 1, "twice \\[3\\]"),
        (WRITES, [Call(4, 5, 2, "r")], 4, 1, "r has 2, though 3 had returned before"),
    ],
)
def test_every_kind_of_violation_is_found(
    writes: list[Call], reads: list[Call], length: int, untold: int, said: str
) -> None:
    with pytest.raises(AssertionError, match=said):
        assert not (found := check_history(writes, reads, length, untold)), found
