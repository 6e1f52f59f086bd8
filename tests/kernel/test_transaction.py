"""Canonical bytes, hashing, kinds and the hash of a transaction; and the examples in the docstrings."""

from __future__ import annotations

import doctest
from dataclasses import replace
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.canon import INTEGER_MAX, Json, canonical, digest, facts_hash, fixed, payload_hash
from cmc_mcp.errors import InvalidInput
from cmc_mcp.kernel.kinds import EDGE, KINDS, SOURCE, Record, atom_record
from cmc_mcp.kernel.transaction import GENESIS, Change, Header, next_time, transaction_hash

HEADER = Header(GENESIS, 1, 5, bytes(32), "remember", bytes(32), bytes(32), bytes(32))
CHANGES = [Change(atom_record(bytes([n] * 16)), b"", bytes([n] * 32)) for n in (2, 1)]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.text(alphabet=st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet=st.characters(codec="ascii"), max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "module",
    ["canon", "clock", "kernel.identity", "kernel.kinds", "kernel.intervals", "kernel.transaction", "kernel.undo",
     "model.facts", "model.time", "model.witness"],
)  # fmt: skip
def test_the_examples_in_the_docstrings_hold(module: str) -> None:
    assert doctest.testmod(import_module(f"cmc_mcp.{module}")).failed == 0


@given(values, values)
def test_values_have_equal_bytes_only_when_they_are_equal(one: Json, other: Json) -> None:
    def typed(value: Json) -> object:
        if isinstance(value, dict):
            return "map", sorted((k, typed(v)) for k, v in value.items())
        return ("list", [typed(v) for v in value]) if isinstance(value, list) else repr(value)

    assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


def test_the_order_of_keys_does_not_enter_canonical_bytes() -> None:
    assert canonical({"b": 1, "a": [True, None, "ü"]}) == canonical({"a": [True, None, "ü"], "b": 1})


@pytest.mark.parametrize("value", [1.5, INTEGER_MAX + 1, {"ü": 1}, {1: 2}, b"bytes", "\ud800", {"a": [0.1]}])
def test_floats_huge_integers_odd_keys_and_lone_surrogates_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        canonical(value)  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=3), max_size=3), st.lists(st.binary(max_size=3), max_size=3))
def test_two_lists_of_fields_share_no_digest(one: list[bytes], other: list[bytes]) -> None:
    assert (digest("cmc/test/1", *one) == digest("cmc/test/1", *other)) == (one == other)


def test_content_and_facts_of_the_same_bytes_are_different_payloads() -> None:
    assert payload_hash(b"{}") != facts_hash(b"{}") != digest("cmc/other/1", b"{}")


def test_numbers_in_hashed_values_are_fixed_point_text() -> None:
    assert [fixed(x) for x in (0.1, "0.10", 1, 0.1234565, 1e-7)] == [
        "0.100000", "0.100000", "1.000000", "0.123456", "0.000000"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [("previous", b"\1" * 32), ("seq", 2), ("recorded_us", 6), ("principal", b"\1" * 32), ("verb", "forget"),
     ("arguments", b"\1" * 32), ("state_root", b"\1" * 32), ("control_root", b"\1" * 32)],
)  # fmt: skip
def test_every_field_of_a_transaction_enters_its_hash(field: str, value: object) -> None:
    changed = replace(HEADER, **{field: value})  # type: ignore[arg-type]
    assert transaction_hash(changed, CHANGES) != transaction_hash(HEADER, CHANGES)


def test_the_order_of_changes_does_not_enter_the_hash_but_each_change_does() -> None:
    assert transaction_hash(HEADER, CHANGES) == transaction_hash(HEADER, CHANGES[::-1])
    first, second = CHANGES
    others = [
        [first], [first, second._replace(after=b"")], [first, second._replace(before=bytes([9] * 32))],
        [first, second._replace(record=Record(2, second.record.key))],
    ]  # fmt: skip
    assert len({transaction_hash(HEADER, changes) for changes in ([first, second], *others)}) == 5


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=9))
def test_transaction_times_rise_whatever_the_clock_does(clock: list[int]) -> None:
    last, times = -(1 << 62), []
    for now in clock:
        last = next_time(now, last)
        times.append(last)
    assert times == sorted(set(times))
    assert all(time >= now for time, now in zip(times, clock, strict=True))


def test_kinds_have_codes_of_their_own_and_say_whether_they_roll_back() -> None:
    assert {kind.name for kind in KINDS.values() if kind.memory} == {"atom", "edge", "source", "item"}
    assert len({kind.name for kind in KINDS.values()}) == len(KINDS)
    keys = {
        EDGE.tree_key(EDGE.record(b"a", b"b", b"c")),
        EDGE.tree_key(EDGE.record(b"ab", b"", b"c")),
        SOURCE.tree_key(SOURCE.record(b"a")),
    }
    assert len(keys) == 3
