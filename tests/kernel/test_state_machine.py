"""The kernel against a naive full-copy oracle, over random histories on both clocks."""

from __future__ import annotations

from hypothesis.stateful import run_state_machine_as_test

from tests.kernel.machine import FAST, KernelMachine


def test_the_store_equals_a_naive_oracle_over_random_histories() -> None:
    run_state_machine_as_test(KernelMachine, settings=FAST)
