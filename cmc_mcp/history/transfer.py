"""Migrating a workspace into another store: verified, copied row by row, verified again, and only then given its name.

Transactions are carried over verbatim, so every id, root and hash stays; the target's state trees, log and indexes are then
rebuilt from its ledger by `verify` and must be what was copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from cmc_mcp.clock import Clock, SystemClock
from cmc_mcp.errors import CmcError, IntegrityError, InvalidInput, NotFound
from cmc_mcp.history.verify import Verifier, text_and_file
from cmc_mcp.ids import Seq, Ws
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.opening import open_store
from cmc_mcp.store.row_copy import Mover, place_for

if TYPE_CHECKING:
    from cmc_mcp.store.ports import Objects, Store
    from cmc_mcp.store.registry import Registry

Phase = Callable[[str], AbstractContextManager[Progress]]
_NAMED: Final = 3  # faults in a message
_PAGE: Final = 1_000
_PROVED: Final = (
    "seq", "recorded_us", "verb", "arguments_hash", "arguments", "hash", "state_root", "control_root", "changes", "atoms",
    "passages", "tokens",
)  # fmt: skip
"""What two ledgers of the same history have in common: all but the numbers that each store gives."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where a store is: a file or `postgresql://…`, its objects (by default with the rest), the key of a file."""

    store: str
    objects: str | None = None
    key: bytes | None = None

    @property
    def path(self) -> Path | None:
        """The file; None for a database."""
        text = self.store.removeprefix("file://")
        return None if "://" in text else Path(text).expanduser().absolute()


@dataclass(frozen=True, slots=True)
class Moved:
    """One workspace that arrived: its state, proved equal in both stores."""

    workspace: str
    transaction: int
    atoms: int
    state_root: str
    control_root: str
    log_root: str


@contextmanager
def _quiet(label: str) -> Iterator[Progress]:
    yield lambda done, total: None


def transfer(
    source: StoreAddress,
    target: StoreAddress,
    *,
    registry: Registry,
    workspaces: list[str] | None = None,
    clock: Clock | None = None,
    phase: Phase = _quiet,
) -> list[Moved]:
    """Copy workspaces (by default all) into another store, exactly; the source is only read.

    Interrupted, it goes on from where it was when it is called again. `phase` shows the progress of a step by its
    label.

    Raises:
        NotFound: no such source, or workspace.
        InvalidInput: both are the same place.
        Conflict: the target's workspace is not empty.
        IntegrityError: the source does not verify, or what arrived does not.
        StoreError: either refused.
    """
    clock = clock or SystemClock()
    if source.path is not None and not source.path.exists():
        raise NotFound(f"no store exists at {source.path}; name an existing one")
    with ExitStack() as stack:
        ours, kept = stack.enter_context(_opened(source, clock, registry, read_only=True))
        numbers = _numbers(ours, workspaces)
        if source.path is not None and source.path == target.path:
            raise _same()
        for name, ws in numbers.items():
            with phase(f"verify {name}") as report:
                _Witness(ours, kept, ws, report).require("the source does not verify, so nothing was written")
        theirs, objects = stack.enter_context(_opened(target, clock, registry, read_only=False))
        if _identity(ours) == _identity(theirs):
            raise _same()
        for name in numbers:  # all are asked before the first is copied
            with ours.reader(numbers[name]) as view:
                place_for(cast(Any, theirs), name, view.head(), create=False)
        return [_one(name, ws, (ours, kept), (theirs, objects), phase) for name, ws in numbers.items()]


def _one(name: str, ws: Ws, source: tuple[Store, Objects], target: tuple[Store, Objects], phase: Phase) -> Moved:
    mover = Mover(cast(Any, source[0]), source[1], ws, cast(Any, target[0]), target[1])
    with phase(f"copy {name}, rows") as report:
        there = mover.copy(name, report)
    with phase(f"verify the copy of {name}") as report:
        witness = _Witness(*target, there, report)
        witness.require(
            f"the copy of {name} does not verify, so it was not given its name: it is damaged. Start again with a new target"
        )
        _compare(source[0], ws, target[0], there, mover.upto)
    mover.finish(name)
    with target[0].reader(there) as view:
        head = view.head()
    return Moved(
        name, head.seq, head.atoms, head.state_root.hex(), head.control_root.hex(), witness.log_root.hex()
    )  # fmt: skip


class _Witness:
    """What `verify` says of one workspace."""

    def __init__(self, store: Store, objects: Objects, ws: Ws, report: Progress) -> None:
        with store.reader(ws) as view:
            verifier = Verifier(view, objects)
            verifier.run(report)
        self.log_root = verifier.log_root
        self.faults = [*verifier.faults, *text_and_file(store, ws, objects)]

    def require(self, otherwise: str) -> None:
        """Raise unless it holds."""
        if self.faults:
            named = "; ".join(f"{fault.table} {fault.key}: {fault.reason}" for fault in self.faults[:_NAMED])
            raise IntegrityError(f"{otherwise} ({len(self.faults)} faults: {named})")


def _compare(source: Store, ws: Ws, target: Store, there: Ws, upto: Seq) -> None:
    """Compare the ledgers entry by entry: every hash, root, time and argument."""
    with source.reader(ws) as ours, target.reader(there) as theirs:
        for start in range(0, upto, _PAGE):
            bounds = {"after": Seq(start), "before": Seq(min(start + _PAGE, upto) + 1)}
            mine, found = (
                [tuple(getattr(row, name) for name in _PROVED) for row in view.transactions(**bounds)]
                for view in (ours, theirs)
            )
            if mine != found:
                raise IntegrityError(
                    f"transactions {start + 1} to {bounds['before'] - 1} of the copy are not the source's; start again with a "
                    "new target",
                    table="transactions",
                    key=str(start + 1),
                )
        if theirs.head().seq != upto:
            raise IntegrityError("somebody wrote into the copy before it was complete; start again with a new target")


@contextmanager
def _opened(
    place: StoreAddress, clock: Clock, registry: Registry, *, read_only: bool
) -> Iterator[tuple[Store, Objects]]:
    store, objects = open_store(
        place.store,
        clock=clock,
        registry=registry,
        key=place.key if place.path is not None else None,
        read_only=read_only,
        objects=place.objects,
    )
    try:
        yield store, objects
    finally:
        store.close()


def _numbers(store: Store, wanted: list[str] | None) -> dict[str, Ws]:
    known = {name: number for number, name in store.workspaces() if not name.startswith("~")}
    missing = [name for name in wanted or () if name not in known]
    if missing:
        raise NotFound(f"the source has no workspace {missing[0]}; it has {', '.join(known) or 'none'}")
    return {name: known[name] for name in dict.fromkeys(wanted or known)}


def _identity(store: Any) -> tuple[object, ...]:
    """Return a value that two openings of the same store share, however the store is named."""
    if store.backend == "sqlite":
        found = store.location.path.stat()
        return (found.st_dev, found.st_ino)
    with store.reader(0) as view:
        row = view.connection.execute(
            "SELECT oid::bigint, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint FROM pg_database"
            " WHERE datname = current_database()"
        ).fetchone()
        assert row is not None
        return tuple(row)


def _same() -> CmcError:
    return InvalidInput.at("to", "is the same store as the source; give another file or database")
