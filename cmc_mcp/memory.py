"""Memory: the one facade. Sync, thread-safe, a context manager."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, Unpack

from cmc_mcp.clock import Clock, SystemClock
from cmc_mcp.collection import Collection
from cmc_mcp.config import Settings
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.embed import embedder_named
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.environment import check_workspace, signing_key
from cmc_mcp.errors import InvalidInput, NotFound, StoreError, brief
from cmc_mcp.history import diff as diffs
from cmc_mcp.history import log as logs
from cmc_mcp.history import proof
from cmc_mcp.history import rollback as rollbacks
from cmc_mcp.history import snapshot as snapshots
from cmc_mcp.history.rebuild import rebuild
from cmc_mcp.history.references import PointLike, resolve_point
from cmc_mcp.history.restore import check_arguments
from cmc_mcp.history.verify import Verifier, text_and_file, unreadable
from cmc_mcp.ids import START
from cmc_mcp.kernel.identity import snapshot_name
from cmc_mcp.merkle.checkpoint import public_key as public_key_of
from cmc_mcp.model.calibration import Calibration, calibrations
from cmc_mcp.model.calls import Cancel, Progress
from cmc_mcp.model.facts import ClaimArguments
from cmc_mcp.model.results import (
    CheckpointResult,
    ForgetResult,
    HistoryResult,
    QuarantineEntry,
    RecallResult,
    Receipt,
    RestoreResult,
    RollbackResult,
    SnapshotResult,
    VerifyResult,
)
from cmc_mcp.model.time import TimeLike, format_time, parse_time
from cmc_mcp.products import REGISTRY
from cmc_mcp.read.asking import Asking, standpoint
from cmc_mcp.read.gate import kappa_of
from cmc_mcp.read.outcomes import outcomes
from cmc_mcp.read.outline import outline
from cmc_mcp.read.pending import Embedded
from cmc_mcp.read.pipeline import RecallCall, recall
from cmc_mcp.read.point import Point, decode_cursor, resolve
from cmc_mcp.read.prove import Wanted, prove, wanted
from cmc_mcp.read.query import question
from cmc_mcp.read.reading import reading_at
from cmc_mcp.read.source import read_source
from cmc_mcp.read.versions import memory_versions, source_versions
from cmc_mcp.store.opening import open_store, rekey, restore
from cmc_mcp.store.ports import ReadView
from cmc_mcp.store.rows import IndexSize
from cmc_mcp.verbs.check import Check, checked
from cmc_mcp.verbs.models import DETAILS, Forget, History, Mark, Outcome, Recall, Revise, Rollback, Snapshot, Verify
from cmc_mcp.workspace import Workspace
from cmc_mcp.write import gate, pipeline
from cmc_mcp.write.erase import finish_erasures
from cmc_mcp.write.forget import forget
from cmc_mcp.write.mark import mark
from cmc_mcp.write.pending import embed_pending
from cmc_mcp.write.revise import revise
from cmc_mcp.write.validate import RememberArguments, RememberOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_WRITER_DEFAULT: Final = "local"


class Memory:
    """One workspace of one store, as one principal reads and writes it.

    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Memory.open(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     receipt = memory.remember("The deploy target is Fly.io", tags={"topic": "deploy"})
    ...     answer = memory.recall("deploy target")
    >>> answer.items[0].text
    'The deploy target is Fly.io'
    >>> folder.cleanup()
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @property
    def workspace(self) -> str:
        """The name of the workspace."""
        return self._workspace.name

    @property
    def principal(self) -> str:
        """As whom the memory is read and written."""
        return self._workspace.principal

    @property
    def settings(self) -> Settings:
        """The constants of the pipelines."""
        return self._workspace.settings

    # ------------------------------------------------------------------ life
    @classmethod
    def open(
        cls,
        path_or_url: str | Path,
        *,
        workspace: str = "default",
        principal: str | None = None,
        embedder: Embedder | str | None = "bundled",
        clock: Clock | None = None,
        settings: Settings | None = None,
        key: bytes | None = None,
        read_only: bool = False,
        objects: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Open a store, creating it when it is new: a file, or a database (`postgresql://…`).

        `embedder` is the bundled model by default, which loads with the first text; `"multilingual"` is that of the extra
        `cmc-mcp[multilingual]`; None means full text alone. `key` encrypts the whole file. `objects` is where large content
        is kept, by default beside the rest of the store.
        `progress` is told how many passages the migration of a store of an older format has read, of how many.

        Raises:
            StoreError: the store cannot be opened.
            InvalidInput: the workspace's name, a URL of an unknown kind, or the name of an unknown model.
            EmbedderError: the model's extra is not installed.
        """
        check_workspace(workspace)
        if principal is not None:
            _check_principal(principal)
        clock = clock or SystemClock()
        made = embedder_named(embedder) if isinstance(embedder, str) else embedder
        store, kept = open_store(
            path_or_url,
            clock=clock,
            registry=REGISTRY,
            key=key,
            read_only=read_only,
            objects=objects,
            progress=progress,
        )
        try:
            finish_erasures(store, kept)
            return cls(
                Workspace.of(
                    store,
                    kept,
                    name=workspace,
                    principal=principal or _WRITER_DEFAULT,
                    embedder=made,
                    clock=clock,
                    settings=settings or Settings(),
                )
            )
        except BaseException:
            store.close()
            raise

    def as_principal(self, principal: str, workspace: str | None = None) -> Memory:
        """Return the same store as another principal, or another workspace of it, sees it. Closing either closes both.

        Raises:
            InvalidInput: the principal's or the workspace's name.
        """
        _check_principal(principal)
        mine = self._workspace.as_principal(principal)
        return Memory(mine if workspace is None else mine.elsewhere(workspace))

    def with_embedder(self, embedder: Embedder | None) -> Memory:
        """Return the same store as seen through another embedding model. Closing either closes both."""
        return Memory(self._workspace.through(embedder))

    def now_us(self) -> int:
        """Return the present time of the store in microseconds: its clock's, never before the last transaction."""
        with self._workspace.reader() as view:
            return self._workspace.now_us(view.head())

    def count_call(self) -> tuple[int, int]:
        """Count a call of this principal; return how many it made in this minute, and the seconds left of the minute.

        Over every server of a database; of a file, in this process.
        """
        return self._workspace.store.count_call(self._workspace.ws, self.principal)

    def close(self) -> None:
        """Close the store, and give the model's memory back. Closing twice is allowed."""
        self._workspace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ writing
    def remember(
        self, content: str | bytes, *, cancel: Cancel | None = None, **arguments: Unpack[RememberOptions]
    ) -> Receipt:
        """Remember one thing, in one transaction; arguments as in `RememberArguments`.

        Raises:
            InvalidInput: an argument is wrong.
            Conflict: an idempotency key was used otherwise.
            StoreError: the disk refused.
        """
        return pipeline.remember(self._workspace, {**arguments, "content": content}, cancel=cancel)

    def remember_many(
        self,
        items: Iterable[RememberArguments],
        *,
        progress: Progress | None = None,
        total: int | None = None,
        cancel: Cancel | None = None,
    ) -> Receipt:
        """Remember many things, in transactions of at most 1,000; an interrupt keeps whole batches.

        Raises:
            InvalidInput: an item is wrong, its number is in the path; batches before it are kept.
        """
        known = len(items) if isinstance(items, Sequence) else 0
        size = total if total is not None else known
        return pipeline.remember_many(self._workspace, items, progress=progress, total=size, cancel=cancel)

    def revise(
        self,
        id: str,
        *,
        content: str | bytes | None = None,
        claim: ClaimArguments | None = None,
        tags: Mapping[str, str] | None = None,
        valid_from: TimeLike | None = None,
        valid_to: TimeLike | None = None,
        confidence: float | None = None,
        priority: float | None = None,
        reason: str | None = None,
        cancel: Cancel | None = None,
    ) -> Receipt:
        """Revise a memory: new facts, or with `content` a new wording that supersedes it. The old belief stays readable.

        Raises:
            InvalidInput: an argument is wrong or nothing is to change.
            NotFound: no memory has the id.
            Ambiguous: several ids begin with the given one.
        """
        return revise(self._workspace, Revise.of(locals()), cancel=cancel)

    def forget(
        self,
        ids: Sequence[str] | str = (),
        *,
        source: str | None = None,
        tags: Mapping[str, str] | None = None,
        writer: str | None = None,
        since: PointLike | None = None,
        reason: str | None = None,
        dry_run: bool = False,
        erase: bool = False,
        digest: str | None = None,
        cancel: Cancel | None = None,
    ) -> ForgetResult:
        """End belief in memories, by ids or by a selection; with `erase`, destroy their content for good.

        Raises:
            InvalidInput: nothing is selected, or an erase without its plan's digest.
            Conflict: the plan is outdated.
        """
        return forget(self._workspace, Forget.of(locals()), cancel=cancel)

    def mark(
        self,
        ids: Sequence[str] | str,
        outcome: Outcome,
        *,
        reason: str | None = None,
        cancel: Cancel | None = None,
    ) -> Receipt:
        """Report what became of memories: `used`, `right` or `wrong`; all of them in one transaction.

        Raises:
            InvalidInput: an argument is wrong.
            NotFound: an id names no memory, or the memory was forgotten.
            Ambiguous: several ids begin with a given one.
        """
        return mark(self._workspace, Mark.of(locals()), cancel=cancel)

    # ------------------------------------------------------------------ reading
    def recall(
        self,
        query: str,
        *,
        budget_tokens: int = 2000,
        limit: int = 10,
        as_of: PointLike | None = None,
        valid_at: TimeLike | None = None,
        modality: str | Sequence[str] | None = None,
        source: str | Sequence[str] | None = None,
        writer: str | Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        min_confidence: float | None = None,
        around: int = 0,
        detail: str = "detailed",
        explain: bool = False,
        cursor: str | None = None,
        trust: str | None = None,
        head: str | None = None,
        criticality: str | None = None,
        withhold: bool = False,
    ) -> RecallResult:
        """Answer with what matters inside a token budget, at any point of either clock.

        `around` (0 to 3) gives each memory its neighbours on each side: turns of its session, atoms of its section.
        With `trust="proved"` everything is first checked, as `verify` does, against `head`: a checkpoint by one's
        own key, or `log_root` or `transaction_hash` of `verify`'s answer. What is found stays the same.
        `criticality` (critical, important, routine, low-stakes) marks what is not sure enough for what is at stake, from
        a confidence of .95, .85, .7 and .6; with `withhold` it is left out. `relevance` says whether anything relevant is
        stored.

        Raises:
            InvalidInput: an argument is wrong.
            NotFound: `as_of` names no state.
            Ambiguous: `as_of` could name several states.
            IntegrityError: a memory is not what was recorded under its id.
            ProofError: state or log do not lead to `head`.
        """
        given = Recall.of(locals())
        against = wanted(trust, head, self.workspace, partial(self._public_key, None))
        if detail not in DETAILS:
            raise InvalidInput.at("detail", f"{brief(detail)} is neither concise nor detailed")
        asked = question(given)
        kappa_of(asked, self.settings.kappa)
        checked(given, only=("explain", "cursor"))
        scope = asked.scope(self.workspace, self.settings.digest)
        put = RecallCall(asked, scope, detailed=detail == "detailed", explain=explain)
        point: Callable[[ReadView], Point] = partial(self._point, as_of, valid_at)
        if cursor is not None:
            if as_of is not None or valid_at is not None:
                raise InvalidInput.at("cursor", "carries its own read point; leave as_of and valid_at out")
            found = decode_cursor(cursor, scope)
            put, point = replace(put, offset=found.offset, given=found.given, relevance=found.relevance), found.point
        if valid_at is not None and as_of is None:
            parse_time(valid_at, "valid_at")  # refused before anything is embedded
        resolves_first = as_of is not None or cursor is not None
        return self._recalled(put, point, resolves_first=resolves_first, against=against)

    def recall_by_vector(
        self,
        query: str,
        vector: npt.NDArray[np.float32],
        *,
        limit: int = 10,
        budget_tokens: int = 2000,
        as_of: PointLike | None = None,
        explain: bool = False,
    ) -> RecallResult:
        """Answer as `recall` does, with the question's vector given (unit length, the model's dimension)."""
        asked = question(Recall(query, budget_tokens, limit))
        scope = asked.scope(self.workspace, self.settings.digest)
        return self._recalled(
            RecallCall(asked, scope, explain=explain), partial(self._point, as_of, None), vector=vector
        )

    def read_source(self, source: str, as_of: PointLike | None = None) -> bytes:
        """Return the original of a source, byte for byte.

        Raises:
            NotFound: the source does not exist.
            SourceIncomplete: parts were forgotten or erased; the error names them.
        """
        with self._workspace.reader() as view:
            seq = view.head().seq if as_of is None else resolve_point(view, as_of)
            return read_source(view, self._workspace.objects, self._manifests(view), source, seq)

    def sources(self) -> list[str]:
        """Return the origins of documents and conversations, in order of first recording."""
        with self._workspace.reader() as view:
            bodies = [view.payload(pid) for pid in view.origins()]
            return list(dict.fromkeys(body.decode() for body in bodies if body is not None))

    def collection(self, name: str) -> Collection:
        """Return a named set of entries: records under ids of the caller's own, with metadata and filters.

        Raises:
            InvalidInput: the name is invalid.
        """
        return Collection(name, self._workspace)

    # ------------------------------------------------------------------ history
    def snapshot(self, label: str | None = None, *, note: str | None = None, force: bool = False) -> SnapshotResult:
        """Return the id of the present state; with a label, name it. Without one nothing is written.

        Raises:
            Conflict: the label names another state, and `force` is not given.
            InvalidInput: an argument is wrong.
        """
        return snapshots.snapshot(
            self._workspace.store,
            self._workspace.ws,
            Snapshot.of(locals()),
            principal=self.principal,
            clock=self._workspace.clock,
        )

    def rollback(
        self,
        to: PointLike | SnapshotResult | None = None,
        *,
        since: PointLike | None = None,
        writer: str | None = None,
        source: str | None = None,
        tags: Mapping[str, str] | None = None,
        dry_run: bool = False,
        digest: str | None = None,
        cancel: Cancel | None = None,
    ) -> RollbackResult:
        """Roll back to a state; or, without `to`, undo only what matches and keep the rest. Both can be undone.

        Raises:
            NotFound: the target does not exist.
            Ambiguous: the target could be several states.
            InvalidInput: an argument is wrong.
            Conflict: the head moved since `digest` was given.
        """
        return rollbacks.rollback(
            self._workspace.store,
            self._workspace.ws,
            Rollback.of(locals()),
            principal=self.principal,
            clock=self._workspace.clock,
            cancel=cancel,
        )

    def history(
        self,
        id: str | None = None,
        *,
        source: str | None = None,
        place: str | None = None,
        from_: PointLike | None = None,
        to: PointLike | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> HistoryResult:
        """Return the ledger newest first; or one memory's versions and lineage, a source's versions, a diff of two states.

        With `source` and `place` (a path, "" for the whole): that place, its parent, children and siblings.

        Raises:
            InvalidInput: more than one of these is asked, or a bound is passed.
            NotFound: a reference names nothing.
            Ambiguous: a reference could name several things.
        """
        checked(History.of(locals()))
        given = (("id", id), ("source", source), ("from", to if from_ is None else from_))
        asked = [name for name, value in given if value is not None]
        if len(asked) > 1:
            raise InvalidInput.at(
                asked[1], f"cannot be combined with `{asked[0]}`; ask for one memory, one source, or a diff"
            )
        if place is not None and source is None:
            raise InvalidInput.at("place", "is a place in a source: give the source too")
        with self._workspace.reader() as view:
            manifests = self._manifests(view)
            if id is not None:
                return memory_versions(view, self._workspace.objects, manifests, id)
            if source is not None and place is not None:
                seen = (view, self._workspace.objects, manifests)
                return outline(*seen, source, place, seq=view.head().seq, limit=limit)
            if source is not None:
                return source_versions(view, source, manifests)
            if asked:
                first = START if from_ is None else resolve_point(view, from_, "from")
                second = view.head().seq if to is None else resolve_point(view, to, "to")
                return HistoryResult(diff=diffs.diff(view, first, second))
            return logs.transactions(view, limit=limit, cursor=cursor, workspace=self.workspace)

    def verify(
        self,
        *,
        checkpoint: str | None = None,
        public_key: str | None = None,
        id: str | None = None,
        deep: bool = False,
        progress: Progress | None = None,
    ) -> VerifyResult:
        """Re-hash every byte, replay the ledger, rebuild what is derived, and name every fault.

        `checkpoint` is a signed head kept elsewhere, `public_key` the key (hex) it must be signed by (by default one's
        own); `id` adds the proof that one memory is included; `deep` embeds every text again.

        Raises:
            InvalidInput: an argument is wrong.
            NotFound: no memory has the id.
            Ambiguous: several ids begin with the given one.
        """
        checked(Verify.of(locals()))
        key = self._public_key(public_key) if checkpoint is not None else b""
        try:
            return self._verified(checkpoint, key, id, deep=deep, progress=progress)
        except StoreError:
            found = unreadable(self._workspace.store, self._workspace.ws)
            if found is None:
                raise
            return found

    def _verified(
        self, checkpoint: str | None, key: bytes, id: str | None, *, deep: bool, progress: Progress | None
    ) -> VerifyResult:
        with self._workspace.reader() as view:
            verifier = Verifier(view, self._workspace.objects)
            verifier.run(progress)
            if checkpoint is not None:
                verifier.against(checkpoint, key, proof.origin_of(self.workspace))
            model = self._workspace.model(view)
            again = verifier.deep(self._workspace.embedder, model) if deep else None
            inclusion = None if id is None or verifier.faults else proof.inclusion(view, id)
            head = view.head()
            log_root = verifier.log_root.hex()
        if again is not None:
            verifier.again(again, self._workspace.reader)
            inclusion = None if verifier.faults else inclusion
        faults = [*verifier.faults, *text_and_file(self._workspace.store, self._workspace.ws, self._workspace.objects)]
        if checkpoint is None:
            verifier.notes.append(
                "without a checkpoint kept elsewhere, a complete rewrite or an older copy cannot be told from the truth"
            )
        return VerifyResult(
            holds=not faults,
            checked=verifier.checked,
            faults=faults,
            notes=verifier.notes,
            transaction=head.seq,
            snapshot=snapshot_name(head.state_root),
            log_root=log_root,
            proof=inclusion,
            transaction_hash=head.hash.hex() if head.seq else "",
            state_root=head.state_root.hex(),
        )

    def checkpoint(self, key: bytes | None = None) -> CheckpointResult:
        """Sign the present head with an Ed25519 key (32 bytes; by default one's own), to be kept outside the store.

        Raises:
            NotFound: the workspace is empty.
        """
        with self._workspace.reader() as view:
            return proof.checkpoint(view, self.workspace, key or signing_key())

    def calibration(self) -> list[Calibration]:
        """Return, for every writer and model, how well the stated confidence fits the marks."""
        with self._workspace.reader() as view:
            return calibrations(outcomes(view))

    # ------------------------------------------------------------------ keeping
    def backup(self, path: str | Path, *, progress: Progress | None = None) -> None:
        """Copy the live store to a new file; objects go beside it. The file appears last, when everything is there.

        Raises:
            Conflict: the file exists.
            StoreError: the backup cannot be written.
        """
        target = Path(path).expanduser().absolute()
        self._workspace.store.backup(
            target, lambda: self._workspace.objects.copy_to(Path(f"{target}.objects")), progress
        )

    @staticmethod
    def rekey(path: str | Path, *, key: bytes | None, new_key: bytes | None, progress: Progress | None = None) -> None:
        """Encrypt a file that nobody has open, and the objects beside it, with another key; None removes the encryption.

        The old key, if there was one, then opens nothing. Backups that `backup` made keep the key they were made with;
        those that migrations made beside the store are removed. It needs as much free space as the store takes.

        Raises:
            InvalidInput: the store is not a file.
            Busy: another process has the store open.
            WrongKey: `key` is not the store's key.
            StoreError: the disk refused, and the message says which key opens the store.
        """
        rekey(path, key, new_key, progress)

    @staticmethod
    def restore(
        backup: str | Path,
        path: str | Path,
        *,
        key: bytes | None = None,
        replace: bool = False,
        checkpoint: str | None = None,
        public_key: str | None = None,
        workspace: str = "default",
        progress: Progress | None = None,
    ) -> RestoreResult:
        """Verify a backup, and put it at a path; with `replace`, a store that is there is kept aside, whole.

        Nothing is changed until a copy beside the path was verified, and nothing when the result has faults.
        `checkpoint` is a signed head of `workspace` that the backup must hold, `public_key` as in `verify`.

        Raises:
            InvalidInput: an argument has the wrong type or form, or `public_key` is given without `checkpoint`.
            NotFound: the backup does not exist, or lacks the workspace of `checkpoint`.
            Conflict: something is at the path, and `replace` is not given.
            Busy: another process, or a memory of this one, has the store open.
            WrongKey: the backup is no CMC store, or `key` does not open it.
            FutureStore: a newer version wrote the backup.
            IntegrityError: the backup is damaged.
            StoreError: the disk refused.
        """
        check_arguments(
            {
                "backup": backup, "path": path, "key": key, "replace": replace, "checkpoint": checkpoint,
                "public_key": public_key, "workspace": workspace, "progress": progress,
            }
        )  # fmt: skip

        def verified(staged: Path, names: Sequence[str]) -> Iterator[tuple[str, VerifyResult]]:
            if checkpoint is not None and workspace not in names:
                raise NotFound(f"the backup has no workspace {workspace}; it has {', '.join(names) or 'none'}")
            for name in names:
                head = checkpoint if name == workspace else None
                with Memory.open(staged, workspace=name, embedder=None, key=key) as memory:
                    yield name, memory.verify(checkpoint=head, public_key=public_key, progress=progress)

        return restore(backup, path, verified, key=key, replace=replace, registry=REGISTRY, progress=progress)

    def rebuild(self, *, progress: Progress | None = None) -> VerifyResult:
        """Write every derived table anew from the committed ones, in one transaction; return what `verify` says then.

        Answers stay what they were. A file without checksums of pages gets them, unless others have it open.

        Raises:
            IntegrityError: the committed tables do not verify, and nothing was changed.
        """
        rebuild(self._workspace.store, self._workspace.ws, self._workspace.objects, progress)
        self._workspace.kept.clear()  # what was read from damaged tables goes, whoever looks through it
        return self.verify()

    def index(self, *, drop: bool = False, progress: Progress | None = None) -> list[IndexSize]:
        """Have the database find the nearest vectors approximately, by an HNSW index a model; or end that.

        It matters where no matrix is kept in memory (`Settings.matrix_bytes_max`). Return the size of each index.

        Raises:
            InvalidInput: the store is a file, or the workspace too small to gain by it.
        """
        return self._workspace.store.index(self._workspace.ws, drop=drop, progress=progress)

    def workspaces(self) -> list[str]:
        """Return the names of the store's workspaces, sorted."""
        return [name for _, name in self._workspace.store.workspaces()]

    def quarantine(self) -> list[QuarantineEntry]:
        """Return the entries in quarantine, in order."""
        with self._workspace.reader() as view:
            return gate.quarantined(view)

    def release(self, id: str) -> Receipt:
        """Let something out of quarantine: it is remembered as it came.

        Raises:
            NotFound: no memory has the id.
            Ambiguous: several ids begin with the given one.
        """
        with self._workspace.reader() as view:
            record, request, writer = gate.find_quarantined(view, id)
        return pipeline.release(self._workspace, request, record, writer)

    def set_policy(self, name: str, value: float | None) -> None:
        """Set a numeric policy of the workspace, such as `gate.min_confidence`; None removes it.

        Raises:
            InvalidInput: the name is not that of a policy.
        """
        with self._workspace.writer() as unit:
            gate.set_policy(unit, name, value)
            self._workspace.commit(unit, "policy", {"name": name})

    def embed_pending(self, *, progress: Progress | None = None, cancel: Cancel | None = None) -> int:
        """Embed what has no vector under the present model yet, in resumable batches; return how many texts were.

        Raises:
            EmbedderError: the model cannot be loaded or does not answer.
        """
        return embed_pending(self._workspace, progress=progress, cancel=cancel)

    def status(self) -> dict[str, str | int | None]:
        """Return the store, the workspace, the model and the state.

        What is pending is counted anew from the last state at which nothing was, so that only the first call of a process
        looks at every memory.
        """
        with self._workspace.reader() as view:
            head = view.head()
            now = self._workspace.now_us(head)
            pending = 0 if self._workspace.embedder is None else self._pending(view, Point(head, now, now))
        return {
            "workspace": self.workspace,
            "principal": self.principal,
            "backend": self._workspace.store.backend,
            "transaction": head.seq,
            "snapshot": snapshot_name(head.state_root),
            "memories": head.atoms,
            "recorded_at": format_time(head.recorded_us) if head.seq else None,
            "model": None if self._workspace.embedder is None else self._workspace.embedder.identity.model_id,
            "pending": pending,
        }

    def inspect(self) -> dict[str, str]:
        """Return how the store was opened: driver versions and settings, for `doctor`."""
        return self._workspace.store.inspect()

    # ------------------------------------------------------------------ within
    def _point(self, as_of: PointLike | None, valid_at: TimeLike | None, view: ReadView) -> Point:
        return resolve(view, as_of, valid_at, self._workspace.clock.now_us())

    def _recalled(
        self,
        put: RecallCall,
        point: Callable[[ReadView], Point],
        resolves_first: bool = False,
        vector: npt.NDArray[np.float32] | None = None,
        against: Wanted | None = None,
    ) -> RecallResult:
        """Answer at a read point that `point` resolves: before the question is embedded, with `resolves_first`."""
        workspace, query = self._workspace, put.question.query
        asking = Asking.of(workspace, query, handed=vector, resolves_first=resolves_first)
        with standpoint(workspace.reader, asking, point) as at:
            proved = None if against is None else prove(at.view, workspace.objects, at.point.head.seq, against)
            answer = recall(reading_at(workspace, at.view, at.point), put, at.clues, at.meaning)
            return answer if proved is None else answer.model_copy(update={"proof": proved})

    def _pending(self, view: ReadView, point: Point) -> int:
        embedded = self._workspace.kept.of(view.erasure_count(), Embedded)
        return embedded.pending(view, self._workspace.model(view), point)

    def _manifests(self, view: ReadView) -> Manifests:
        return self._workspace.kept.of(view.erasure_count(), Manifests)

    def _public_key(self, text: str | None) -> bytes:
        if text is None:
            return public_key_of(signing_key())
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            raise InvalidInput.at("public_key", "is not an Ed25519 public key; pass 64 hex digits")
        return bytes.fromhex(text)


def _check_principal(name: str) -> None:
    check = Check()
    if check.text("principal", name, "PRINCIPAL_CHARS_MAX") is None:
        check.raise_()
