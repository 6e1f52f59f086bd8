"""A workspace, put together once: its store, clock, settings and model, and what is kept of it in memory.

Everything that reads or writes is handed one. Whoever looks at the same workspace through the same model, as whatever
principal, shares what is kept: one matrix, one set of decoded manifests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import ParamSpec, Protocol, TypeVar, cast

from cmc_mcp.canon import Json, canonical
from cmc_mcp.clock import Clock
from cmc_mcp.config import Settings
from cmc_mcp.embed import TokenCounter, load_token_counter
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.environment import check_workspace
from cmc_mcp.errors import BROKEN, IntegrityError
from cmc_mcp.ids import NO_MODEL_NUMBER, ModelNumber, Ws
from cmc_mcp.index.following import Follower
from cmc_mcp.index.matrix import ROW_BYTES
from cmc_mcp.model.calls import Cancel, check_cancelled
from cmc_mcp.model.results import Fault
from cmc_mcp.store.ports import AuditView, Objects, ReadView, Store, WriteUnit
from cmc_mcp.store.rows import Head

T = TypeVar("T")
P = ParamSpec("P")
F = TypeVar("F", bound=Follower, covariant=True)


class Indexed(Protocol[F]):
    """What makes an index in memory of a workspace (its number), a model, the model's dimension and an erasure count."""

    def __call__(self, ws: Ws, model: ModelNumber, dimension: int, erasure_count: int) -> F:
        """Make an empty index."""
        ...


class Kept:
    """What is kept in memory of one workspace, by what makes it; made when it is first asked for. Thread-safe.

    All of it is of one erasure count: what was erased must not live on in memory.
    """

    def __init__(self, tokens: TokenCounter | None = None) -> None:
        self.tokens = tokens
        self._guard = threading.Lock()
        self._erasure_count = 0
        self._things: dict[Callable[..., object], object] = {}
        self._indexes: dict[Callable[..., object], Follower] = {}

    def of(self, erasure_count: int, make: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Return what `make` made of what it is given as of an erasure count; make it anew when that has moved.

        All that is given to one maker is the same in one workspace.
        """
        with self._guard:
            if self._erasure_count != erasure_count:
                self._erasure_count, self._things = erasure_count, {}
            if make not in self._things:
                self._things[make] = make(*given, **named)
            return cast("T", self._things[make])

    def index(self, make: Indexed[F], ws: Ws, model: ModelNumber, dimension: int, erasure_count: int) -> F:
        """Return the index that `make` made of a model as of an erasure count; make it anew when either has moved."""
        with self._guard:
            found = self._indexes.get(make)
            if found is None or (found.model, found.erasure_count) != (model, erasure_count):
                found = self._indexes[make] = make(ws, model, dimension, erasure_count)
            return cast("F", found)

    def at_hand(self, make: Indexed[F]) -> F | None:
        """Return the index that `make` made last, of whatever state it is; None where none was filled yet."""
        with self._guard:
            found = self._indexes.get(make)
            return cast("F", found) if found is not None and found.seq else None

    def counter(self) -> TokenCounter:
        """Return the counter of tokens, loaded once."""
        if self.tokens is None:
            self.tokens = load_token_counter()
        return self.tokens

    def clear(self) -> None:
        """Forget everything, whoever reads by it; the counter of tokens stays, which knows nothing of the workspace."""
        with self._guard:
            self._things, self._indexes = {}, {}


@dataclass(frozen=True, slots=True)
class Workspace:
    """One workspace of one store, as one principal uses it through one embedding model."""

    store: Store
    objects: Objects
    name: str
    ws: Ws
    principal: str
    clock: Clock
    embedder: Embedder | None
    settings: Settings
    kept: Kept = field(default_factory=Kept)

    @classmethod
    def of(
        cls,
        store: Store,
        objects: Objects,
        *,
        name: str,
        principal: str,
        embedder: Embedder | None,
        clock: Clock,
        settings: Settings,
    ) -> Workspace:
        """Put together a workspace of an open store, made when it is new.

        Raises:
            InvalidInput: the name is not one.
        """
        ws = store.workspace(check_workspace(name), create=True)
        return cls(store, objects, name, ws, principal, clock, embedder, settings)

    def as_principal(self, principal: str) -> Workspace:
        """Return the workspace as another principal uses it; what is kept in memory is shared."""
        return replace(self, principal=principal)

    def through(self, embedder: Embedder | None) -> Workspace:
        """Return the workspace as seen through another model, with a memory of its own."""
        return replace(self, embedder=embedder, kept=Kept(self.kept.tokens))

    def elsewhere(self, name: str) -> Workspace:
        """Return another workspace of the same store, made when it is new; this one, if it bears the name.

        Raises:
            InvalidInput: the name is not one.
        """
        if name == self.name:
            return self
        ws = self.store.workspace(check_workspace(name), create=True)
        return replace(self, name=name, ws=ws, kept=Kept(self.kept.tokens))

    def close(self) -> None:
        """Close the store, and give the memory of model and indexes back. Closing twice is allowed."""
        self.store.close()
        if self.embedder is not None:
            self.embedder.close()
        self.kept.clear()

    @contextmanager
    def reader(self) -> Iterator[AuditView]:
        """Open a read transaction.

        Code that trusts its tables breaks over damaged or forged ones in ways of its own. So where it does, and `verify`
        finds a fault, the fault is what is raised; an error over sound tables stays what it is.

        Raises:
            IntegrityError: what was read does not verify.
        """
        try:
            with self.store.reader(self.ws) as view:
                yield view
        except BROKEN as error:
            fault = self._fault()
            if fault is None:
                raise
            raise IntegrityError(
                f"memory is damaged and this cannot be read: {fault.table} {fault.key}: {fault.reason};"
                " `cmc verify` names every fault",
                table=fault.table,
                key=fault.key,
            ) from error

    def _fault(self) -> Fault | None:
        """Return the first fault of the workspace, if it has one."""
        from cmc_mcp.history.verify import Verifier

        with self.store.reader(self.ws) as view:
            verifier = Verifier(view, self.objects)
            verifier.run()
        return verifier.faults[0] if verifier.faults else None

    def writer(self) -> AbstractContextManager[WriteUnit]:
        """Open a write transaction, under the workspace's lock."""
        return self.store.writer(self.ws)

    def commit(self, unit: WriteUnit, verb: str, arguments: dict[str, Json], cancel: Cancel | None = None) -> Head:
        """Write the ledger entry of a unit; leaving the unit's block commits it.

        Raises:
            Cancelled: the caller gave up; nothing is changed.
        """
        check_cancelled(cancel)
        return unit.flush(
            verb=verb, principal=self.principal, arguments=canonical(arguments), clock_us=self.clock.now_us()
        )

    def now_us(self, head: Head) -> int:
        """Return the present time in microseconds: the clock's, never before the last transaction."""
        return max(self.clock.now_us(), head.recorded_us)

    def model(self, view: ReadView) -> ModelNumber:
        """Return the number of the embedding model in the store; 0 without a model, or before its first vector."""
        return NO_MODEL_NUMBER if self.embedder is None else model_of(view, self.embedder)

    def index(self, view: ReadView, make: Indexed[F], model: ModelNumber) -> F | None:
        """Return an index in memory under a model; None where it would pass its bound, and the store's exact path answers."""
        if view.head().passages * ROW_BYTES > self.settings.matrix_bytes_max:
            return None
        dimension = 1 if self.embedder is None else self.embedder.identity.dimension
        return self.kept.index(make, self.ws, model, dimension, view.erasure_count())


def model_of(view: ReadView, embedder: Embedder) -> ModelNumber:
    """Return the number of the embedder's model in this workspace; 0 if the model is new."""
    identity = embedder.identity
    for number, name, digest, precision, dimension in view.models():
        if (name, digest, precision, dimension) == (
            identity.model_id,
            identity.weights_digest,
            identity.precision,
            identity.dimension,
        ):
            return number
    return NO_MODEL_NUMBER
