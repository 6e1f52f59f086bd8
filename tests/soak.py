"""The long runs: `python -m tests.soak WHAT`. Each prints its seed, and can be gone on from.

What continuous integration runs in seconds runs here for as long as one likes. With `--folder` the state is kept there,
and the same command with `--resume` goes on where it was stopped. The last line is the outcome as JSON; the exit code is 1
when anything failed.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

FAILURES_MAX = 100
Result = TypeVar("Result", bound="Outcome")


@dataclass
class Job:
    """One run: how much, from which seed, where; `told` is what an earlier run had come to, None for a new one."""

    count: int
    seed: int
    folder: Path
    told: dict[str, Any] | None = None

    def begun(self, kind: type[Result]) -> Result:
        """Return what an earlier run had come to, or the outcome of a new one."""
        return kind(**self.told) if self.told else kind(self.seed)

    def trials(self, outcome: Outcome) -> Iterator[int]:
        """Yield the numbers that are left, keeping the outcome after each; end early after too many failures."""
        for number in range(outcome.done, self.count):
            yield number
            outcome.done = number + 1
            self.keep(outcome)
            if len(outcome.failures) >= FAILURES_MAX:
                return

    def keep(self, outcome: Any) -> None:
        """Write down how far it came, a dataclass, so that `--resume` can go on; say so on a terminal."""
        state = asdict(outcome)
        part = self.folder / "progress.part"
        part.write_text(json.dumps(state))
        part.replace(self.folder / "progress.json")  # whole or not at all, whenever the run is stopped
        if sys.stderr.isatty():
            short = {name: value for name, value in state.items() if isinstance(value, int | float)}
            print(f"\r\x1b[K{json.dumps(short)[:150]}", end="", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Soak:
    """A long run. `run` gives a dataclass with the fields `seed` and `failures` (a list); a failure is a sentence."""

    what: str
    counts: str
    default: int
    run: Callable[[Job], Any]


@dataclass
class Outcome:
    """What every outcome has; each soak adds its own figures."""

    seed: int
    done: int = 0
    failures: list[str] = field(default_factory=list)


RUNS = {
    "histories": "tests.kernel.histories",
    "proofs": "tests.merkle.forgeries",
    "fuzz": "tests.fuzz.calls",
    "erase": "tests.erase.erasures",
    "kills": "tests.crash.kills",
    "rekey": "tests.encryption.rekeys",
    "power": "tests.crash.power",
    "faults": "tests.crash.faults",
    "writers": "tests.crash.writers",
    "isolation": "tests.isolation.soak",
    "poisoning": "tests.poisoning.soak",
    "timing": "tests.isolation.timing",
    "endings": "tests.serving.shutdowns",
    "crowd": "tests.serving.crowd",
    "purity": "tests.serving.purity",
    "large": "tests.operations.large",
    "tamper": "tests.tamper.tampering",
    "bitrot": "tests.tamper.bitrot",
    "servers": "tests.pg.servers",
}
"""Each module has a `SOAK`; they are imported when asked for, since some fork and want no threads beside them."""


def load(name: str) -> Soak:
    """Return a soak by its name."""
    found = import_module(RUNS[name]).SOAK
    assert isinstance(found, Soak)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run one of them; 0 when nothing was lost and nothing broke."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=(__doc__ or "").partition("\n")[0],
        epilog="\n".join(f"{name:<12} {load(name).what}" for name in RUNS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=RUNS)
    parser.add_argument("--count", type=int, default=None, help="how many; what is counted depends on the run")
    parser.add_argument("--seed", type=int, default=None, help="a seed that was printed")
    parser.add_argument("--folder", type=Path, default=None, help="keep the state here")
    parser.add_argument("--resume", action="store_true", help="go on from the state in the folder")
    asked = parser.parse_args(arguments)
    soak = load(asked.what)
    if asked.resume and asked.folder is None:
        parser.error("--resume goes with --folder")
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        told = json.loads((folder / "progress.json").read_text()) if asked.resume else None
        seed = told["seed"] if told else secrets.randbelow(1 << 31) if asked.seed is None else asked.seed
        count = soak.default if asked.count is None else asked.count
        print(f"{asked.what}: {count} {soak.counts}, seed {seed}", file=sys.stderr, flush=True)
        try:
            outcome = soak.run(Job(count, seed, folder, told))
        except KeyboardInterrupt:
            print("\nstopped; --resume goes on from there" if asked.folder else "\nstopped", file=sys.stderr)
            return 130
        print(json.dumps(asdict(outcome)))
        return int(bool(outcome.failures))


if __name__ == "__main__":
    sys.exit(import_module("tests.soak").main())  # the module that the runs import, not this second copy of it
