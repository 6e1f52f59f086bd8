"""Long runs of the state machine: `python -m tests.kernel.soak --examples N --seed S`.

Prints the seed of each round, so that a failure can be run again: `--examples` of it and `--seed` as printed.
"""

from __future__ import annotations

import argparse
import time

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.kernel.machine import FAST, KernelMachine

ROUND = 100


def main() -> None:
    """Run rounds of 100 examples until there were enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    started, done, number = time.monotonic(), 0, asked.seed
    while done < asked.examples:
        count = min(ROUND, asked.examples - done)
        print(f"seed {number}: {count} examples of {asked.steps} steps", flush=True)

        @seed(number)
        class Seeded(KernelMachine):
            """The machine, with random choices that the seed fixes."""

        profile = settings(FAST, max_examples=count, stateful_step_count=asked.steps, derandomize=False)
        run_state_machine_as_test(Seeded, settings=profile)
        done, number = done + count, number + 1
    print(f"{done} examples, at most {done * asked.steps} steps, 0 differences, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
