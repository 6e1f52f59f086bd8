"""One bit of a closed file flipped: whatever is read then is what it was, or an error; and `verify` finds it."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from cmc_mcp.errors import CmcError, IntegrityError, WrongKey
from cmc_mcp.memory import Memory
from tests.soak import Job, Outcome, Soak
from tests.tamper.rich import build, opened

QUERIES = ("where do we deploy", "hello again", "private thing")


@dataclass
class Rot(Outcome):
    """What came of it: `refused` files could not even be opened; `errors` are by their kind; `same` answers were whole."""

    refused: int = 0
    same: int = 0
    errors: dict[str, int] = field(default_factory=dict)


def answers(memory: Memory) -> list[str]:
    """Return what a reader is told, as bytes would be compared."""
    head = memory.history(limit=1).transactions[0].transaction
    told = [memory.recall(query, as_of=head).model_dump_json() for query in QUERIES]
    told += [memory.history(limit=50).model_dump_json(), memory.history(from_=1, to=head).model_dump_json()]
    return [*told, *memory.sources(), memory.read_source("guide.md").decode()]


@dataclass
class Patient:
    """A file to flip bits of, and what it says while it is whole."""

    path: Path
    whole: bytes
    said: list[str]

    @classmethod
    def of(cls, source: Path, path: Path) -> Patient:
        """Copy a store, and ask it."""
        shutil.copy(source, path)
        shutil.copytree(f"{source}.objects", f"{path}.objects", dirs_exist_ok=True)
        with opened(path) as memory:
            assert memory.verify().holds
            said = answers(memory)
        return cls(path, source.read_bytes(), said)

    def flipped(self, rng: random.Random) -> int:
        """Put the file back with one bit flipped; return where (in bits)."""
        place = rng.randrange(len(self.whole) * 8)
        body = bytearray(self.whole)
        body[place >> 3] ^= 1 << (place & 7)
        for old in self.path.parent.glob(f"{self.path.name}-*"):
            old.unlink()
        self.path.write_bytes(body)
        return place

    def examine(self, result: Rot) -> list[str]:
        """Read and verify the damaged file; gives what went by unnoticed."""
        wrong: list[str] = []
        try:
            with opened(self.path) as memory:
                wrong += self._read(memory, result)
                try:
                    if memory.verify().holds:
                        wrong.append("verify found nothing")
                except IntegrityError:
                    pass
        except (IntegrityError, WrongKey):
            result.refused += 1
        except CmcError as error:
            wrong.append(f"it says {type(error).__name__}: {error.message}")
        return wrong

    def _read(self, memory: Memory, result: Rot) -> list[str]:
        try:
            said = answers(memory)
        except IntegrityError as error:
            result.errors[error.message[:60]] = result.errors.get(error.message[:60], 0) + 1
            return []
        result.same += said == self.said
        return [] if said == self.said else ["an answer differs, and nothing was said"]


def run(job: Job) -> Rot:
    """Flip `count` bits, one at a time."""
    result = job.begun(Rot)
    base = job.folder / "base"
    if not (base / "memory.db").exists():
        base.mkdir(exist_ok=True)
        build(base / "memory.db", bulk=False)
    patient = Patient.of(base / "memory.db", job.folder / "rotten.db")
    for number in job.trials(result):
        place = patient.flipped(random.Random(f"{job.seed}/{number}"))
        result.failures += [f"flip {number}, bit {place}: {line}" for line in patient.examine(result)]
    return result


SOAK = Soak("flip single bits of a closed file; nothing may be told that is not so", "flips", 1000, run)
