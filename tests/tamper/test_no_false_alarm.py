"""Never a false alarm: whatever is done to a store by the tools that keep one, it verifies, with every kind of check."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from cmc_mcp.errors import CmcError
from cmc_mcp.memory import Memory
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location
from tests.memory.test_random_histories import _VERBS, _step
from tests.support.embedders import CountingEmbedder
from tests.tamper.rich import KEY, opened

STEPS = 25
VERBS = (*_VERBS, "batch", "embed", "mark", "entries")


def run_sql(*statements: str) -> Callable[[Path], None]:
    """Return what runs statements behind the store's back, as its keeper may."""

    def run(path: Path) -> None:
        with closing(apsw.Connection(str(path))) as raw:
            for statement in statements:
                raw.execute(statement).fetchall()

    return run


def back_and_up(path: Path) -> None:
    """Take it to the first format it can be taken to, and up again."""
    migrate.down(Location(path), 1)
    with opened(path):
        pass
    for backup in path.parent.glob("*.backup"):
        backup.unlink()


def restored(path: Path) -> None:
    """Put a backup in the place of the store."""
    with opened(path) as memory:
        memory.backup(path.with_name("copy.db"))
    for old in path.parent.glob("memory.db*"):
        if old.is_file():
            old.unlink()
    path.with_name("copy.db").rename(path)
    for object_ in path.with_name("copy.db.objects").glob("*/*/*"):
        assert (Path(f"{path}.objects") / object_.relative_to(path.with_name("copy.db.objects"))).exists()


def rebuilt(path: Path) -> None:
    """Write what is derived anew."""
    with opened(path) as memory:
        memory.rebuild()


CARE: dict[str, Callable[[Path], None]] = {
    "reopen": lambda path: None,
    "vacuum": run_sql("VACUUM"),
    "reindex": run_sql("REINDEX"),
    "analyze": run_sql("ANALYZE"),
    "optimize": run_sql("PRAGMA optimize"),
    **{mode: run_sql(f"PRAGMA wal_checkpoint({mode})") for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE")},
    "backup": restored,
    "rebuild": rebuilt,
    "migrate": back_and_up,
}


def more(memory: Memory, rnd: random.Random, verb: str) -> None:
    """Do what the random histories leave out."""
    if verb == "batch":
        words = [rnd.choice(("ok", "yes", "# A\n\nb")) for _ in range(4)]
        memory.remember_many([{"content": word, "title": rnd.choice(("T", "U"))} for word in words])
    elif verb == "embed":
        memory.with_embedder(CountingEmbedder()).embed_pending()
    elif verb == "mark" and (live := memory.recall("one", limit=3).items):
        memory.mark([item.id for item in live], rnd.choice(("used", "right", "wrong")))
    elif verb == "entries":
        from cmc_mcp.collection import Entry

        memory.collection("box").put(
            [Entry(rnd.choice("ab"), rnd.choice(("one", "red", "blue")), {"n": rnd.randint(1, 3)})]
        )
    else:
        memory.remember(f"keyed {rnd.randint(1, 5)}", idempotency_key=f"k{rnd.randint(1, 9)}")


def held(path: Path, point: tuple[str, str], what: str) -> None:
    """Verify in every way."""
    with opened(path) as memory:
        assert memory.verify().faults == [], what
        assert memory.verify(checkpoint=point[0], public_key=point[1], deep=True).faults == [], what


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_care_that_is_taken_of_a_random_history_raises_an_alarm(tmp_path: Path, seed: int) -> None:
    rnd, path = random.Random(seed), tmp_path / "memory.db"
    for half in range(2):
        with opened(path, start_us=1_790_000_000_000_000 + half * 10**9) as memory:
            for _ in range(STEPS):
                verb = rnd.choice(VERBS)
                try:
                    (more if verb in ("batch", "embed", "mark", "entries") else _step)(memory, rnd, verb)
                except CmcError:
                    continue
            point = memory.checkpoint(KEY)
        for what in rnd.sample(list(CARE), len(CARE) if half else 4):
            CARE[what](path)
            held(path, (point.checkpoint, point.public_key), f"seed {seed}: {what}")
