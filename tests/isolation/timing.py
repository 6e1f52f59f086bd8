"""Whether one can tell by the clock what another workspace holds: pairs of calls that differ in nothing else.

The time is that of the thread, so that a busy machine is no news. A difference counts when it is both certain (a sign test
over the pairs) and large enough to be of use to anybody: 50 µs and 10 % of the call.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Final

from cmc_mcp.errors import CmcError
from cmc_mcp.memory import Memory
from tests.soak import Job, Outcome, Soak
from tests.support.embedders import CountingEmbedder
from tests.support.memories import opened

SIGNIFICANCE: Final = 0.0001
EFFECT_US: Final = 50.0
EFFECT_SHARE: Final = 0.1  # a larger file alone costs a recall 3 to 7 %
_OTHERS: Final = 5_000

Probe = Callable[[int], object]


@dataclass(frozen=True)
class Compared:
    """What pairs of calls came to, microseconds: the usual call, how much longer the other takes, how sure that is."""

    usual_us: float
    more_us: float
    p: float

    @property
    def tells(self) -> bool:
        """Whether the difference is certain, and large enough."""
        return self.p < SIGNIFICANCE and abs(self.more_us) > max(EFFECT_US, EFFECT_SHARE * self.usual_us)


def compare(one: Probe, other: Probe, pairs: int) -> Compared:
    """Time two calls in turns, each first as often as the other."""
    for probe in (one, other):
        _took_us(probe, -1)  # what is loaded once
    usual, more = [], []
    for number in range(pairs):
        if number % 2:
            second, first = _took_us(other, number), _took_us(one, number)
        else:
            first, second = _took_us(one, number), _took_us(other, number)
        usual.append(first)
        more.append(second - first)
    longer, told = sum(d > 0 for d in more), sum(d != 0 for d in more)
    z = (abs(2 * longer - told) - 1) / math.sqrt(max(told, 1))
    return Compared(statistics.median(usual), statistics.median(more), min(1.0, 2 * (1 - NormalDist().cdf(z))))


def _took_us(probe: Probe, number: int) -> float:
    start = time.thread_time_ns()
    with suppress(CmcError):
        probe(number)
    return (time.thread_time_ns() - start) / 1000


def nowhere(number: int) -> str:
    """Return 32 hex digits that name nothing."""
    return hashlib.sha256(f"nowhere {number}".encode()).hexdigest()[:32]


class Rooms:
    """A workspace beside one that holds much, and the same one alone."""

    def __init__(self, folder: Path, others: int = _OTHERS) -> None:
        self.other = opened(folder, "shared.db", workspace="other", embedder=CountingEmbedder())
        items = [
            {"content": f"A kettle is kept in room {n}, which only the others know", "source": f"docs/{n}.md"}
            if n < 100
            else {"content": f"A kettle is kept in room {n}, which only the others know"}
            for n in range(others)
        ]
        self.ids = self.other.remember_many(items).added  # type: ignore[arg-type]
        for n in range(20):
            self.other.snapshot(f"label {n}")
            self.other.remember(f"once {n}", idempotency_key=f"key {n}")
        self.mine = self.other.as_principal("maya", "mine")
        self.alone = opened(folder, "alone.db", workspace="mine", embedder=CountingEmbedder())
        for memory in (self.mine, self.alone):
            memory.remember_many([{"content": f"My tea is in cupboard {n}, and the kettle {n}"} for n in range(200)])

    def close(self) -> None:
        self.other.close()
        self.alone.close()

    def questions(self) -> Mapping[str, tuple[Probe, Probe]]:
        """Return pairs of calls: what is nowhere, and what is with the other."""
        mine, alone, ids = self.mine, self.alone, self.ids
        none = [f"atom_{nowhere(n)}" for n in range(len(ids))]

        def asked(memory: Memory, word: str) -> Probe:
            return lambda n: memory.recall(f"{word} {'abcdefghij'[n % 10]}{n} of my tea", limit=3)

        return {
            "an id": (lambda n: mine.history(none[n % len(none)]), lambda n: mine.history(ids[n % len(ids)])),
            "a prefix": (
                lambda n: mine.history(none[n % len(none)][:13]), lambda n: mine.history(ids[n % len(ids)][:13]),
            ),
            "ids to forget": (
                lambda n: mine.forget([none[n % len(none)]], dry_run=True),
                lambda n: mine.forget([ids[n % len(ids)]], dry_run=True),
            ),
            "a label": (
                lambda n: mine.history(from_=f"lable {n % 20}"), lambda n: mine.history(from_=f"label {n % 20}"),
            ),
            "a source": (
                lambda n: mine.read_source(f"dosc/{n % 100}.md"), lambda n: mine.read_source(f"docs/{n % 100}.md"),
            ),
            "an idempotency key": (
                lambda n: mine.remember(f"a new thing {n}", idempotency_key=f"kye {n}"),
                lambda n: mine.remember(f"a new thin {n}", idempotency_key=f"key {n}"),
            ),
            "a word": (asked(mine, "nobody"), asked(mine, "others")),
            "how much there is": (asked(alone, "kettle"), asked(mine, "kettle")),
        }  # fmt: skip


@dataclass
class Timing(Outcome):
    """What each question came to: the usual call and the difference (µs), and p."""

    found: dict[str, list[float]] = field(default_factory=dict)


def run(job: Job) -> Timing:
    """Ask each question `count` times both ways. What was asked before a stop is not asked again."""
    result = job.begun(Timing)
    with tempfile.TemporaryDirectory(dir=job.folder) as folder:
        rooms = Rooms(Path(folder))
        for name, pair in rooms.questions().items():
            if name not in result.found:
                told = compare(*pair, job.count)
                if told.tells:  # a leak shows again, a burst of somebody else's work does not
                    told = compare(*pair, job.count)
                result.found[name] = [round(told.usual_us, 1), round(told.more_us, 1), round(told.p, 6)]
                result.failures += [f"{name} shows by {told.more_us:.0f} µs"] if told.tells else []
                result.done += 1
                job.keep(result)
        rooms.close()
    return result


SOAK = Soak("whether the clock tells what another workspace holds", "pairs of calls for each question", 2_000, run)
