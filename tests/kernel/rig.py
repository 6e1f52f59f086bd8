"""The real product beside the oracle: every verb is done to both, and everything readable is compared."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmc_mcp import Memory
from cmc_mcp.canon import digest
from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.embed import load_token_counter
from cmc_mcp.errors import CmcError, InvalidInput, NotFound
from cmc_mcp.kernel.identity import atom_name, snapshot_name
from cmc_mcp.kernel.kinds import KINDS, AtomKind, EdgeKind, ItemKind, Record, SourceKind
from cmc_mcp.kernel.pieces import leaf
from cmc_mcp.kernel.transaction import Header, transaction_hash
from cmc_mcp.merkle import log, proof
from cmc_mcp.merkle import state as tree
from cmc_mcp.model.results import Diff, RollbackResult
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.store.loading import ERASED
from cmc_mcp.store.manifest import decode_manifest
from cmc_mcp.store.protocol import ReadView
from cmc_mcp.store.rows import MODALITIES
from tests.kernel.oracle import (
    BOUNDS,
    CELLS,
    Changes,
    Entry,
    Name,
    Oracle,
    Plan,
    State,
    differing,
    encoded,
    span,
    text_of,
)

PLAIN = "text/plain"
START_US = 1_780_000_000_000_000
HOUR_US = 3_600_000_000
LONG = "zeta " + "long words that stand in the object store " * 4 + "end"
TEXTS = ("alpha one", "beta two", "gamma three", LONG)
_TOKENS = load_token_counter()
_ENDS = {SINCE_ALWAYS: 0, **{bound: n + 1 for n, bound in enumerate(BOUNDS)}, UNTIL_FURTHER_NOTICE: len(CELLS)}


class Rig:
    """One store in a folder of its own, as several principals write to it, and its oracle."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cmc-kernel-"))
        self.clock = FixedClock(START_US, step_us=7)
        self.oracle = Oracle()
        self.names: dict[int, Name] = {}
        self.keys: dict[Name, bytes] = {}
        self.facts: dict[bytes, str] = {}
        self.chains: dict[str, list[str]] = {bytes(32).hex(): []}
        self.shown: dict[str, Name] = {}
        self.roots: dict[frozenset[tuple[tuple[Name, int], str]], bytes] = {}
        self.states: dict[bytes, frozenset[tuple[tuple[Name, int], str]]] = {}
        self.labels: dict[str, int] = {}
        self.steps = 0
        self.memory = self._open()

    def _open(self) -> Memory:
        settings = Settings(inline_bytes=64)
        memory = Memory.open(self.folder / "memory.db", embedder=None, clock=self.clock, settings=settings)
        memory._tokens = _TOKENS  # loading it takes longer than a whole example
        return memory

    def close(self) -> None:
        self.memory.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def reopen(self) -> None:
        self.memory.close()
        self.memory = self._open()

    def as_(self, principal: str) -> Memory:
        return self.memory.as_principal(principal)

    def id(self, name: Name) -> str:
        return atom_name(self.keys[name])

    def _view(self) -> Any:
        return self.memory._store.reader(self.memory._ws)

    # ------------------------------------------------------------------ the verbs, done to both
    def remember(self, who: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Each item: text, cells, changes, and what places it: origin and texts, or session and speaker, or premises."""
        state = self.oracle.now()
        arguments: list[Any] = []
        for item in items:
            cells, changes = item["cells"], item["changes"]
            start, end = span(cells)
            call: dict[str, Any] = {
                "tags": {k[4:]: v for k, v in changes.items() if k.startswith("tag:")},
                "valid_from": start,
                "valid_to": end,
            }
            if "confidence" in changes:
                call["confidence"] = float(changes["confidence"])
            if "origin" in item:
                call |= {"content": "\n\n".join(item["texts"]) + "\n", "source": item["origin"]}
                self.oracle.document(state, item["origin"], PLAIN, item["texts"], cells, changes)
            elif "session" in item:
                call |= {"content": item["text"], "session": item["session"], "speaker": item["speaker"]}
                if item["occurred"] is not None:
                    call["occurred_at"] = item["occurred"]
                origin = f"session:{item['session']}"
                self.oracle.turn(
                    state, who, origin, PLAIN, item["text"], item["speaker"], item["occurred"], cells, changes
                )
            else:
                premises = item.get("premises", ())
                call |= {"content": item["text"], "derived_from": [self.id(name) for name in premises]}
                self.oracle.note(state, item["text"], PLAIN, cells, changes, premises)
            arguments.append(call)
        receipt = (
            self.as_(who).remember(**arguments[0]) if len(arguments) == 1 else self.as_(who).remember_many(arguments)
        )
        assert receipt.transactions == 1
        self.oracle.commit(Entry(who, "remember"), state)
        self._placed(receipt.transaction)

    def revise(
        self, who: str, name: Name, changes: Changes, tags: Mapping[str, str | None] | None, low: int | None,
        high: int | None, text: str | None,
    ) -> None:  # fmt: skip
        """`low` and `high` are cells: where it begins, and where it ends (exclusive)."""
        state = self.oracle.now()
        wanted = {**changes, **{f"tag:{k}": v for k, v in (tags or {}).items()}}
        idle = not changes and tags is None and low is None and high is None and text is None
        done = (
            None
            if idle or (low is not None and high is not None and low >= high)
            else self.oracle.revise(state, name, wanted, replace_tags=tags is not None, low=low, high=high, text=text)
        )
        arguments: dict[str, Any] = {"content": text, "tags": tags}
        if low is not None:
            arguments["valid_from"] = BOUNDS[low - 1]
        if high is not None:
            arguments["valid_to"] = BOUNDS[high - 1]
        if "confidence" in changes:
            arguments["confidence"] = float(changes["confidence"])
        if done is None:
            self._refused(lambda: self.as_(who).revise(self.id(name), **arguments), InvalidInput, NotFound)
            return
        receipt = self.as_(who).revise(self.id(name), **arguments)
        self.oracle.commit(Entry(who, "revise"), state)
        self._placed(receipt.transaction)

    def _refused(self, call: Any, *kinds: type[CmcError]) -> None:
        with self._view() as view:
            before = view.head()
        try:
            call()
        except kinds:
            with self._view() as view:
                assert view.head() == before, "a refused call changed something"
            return
        raise AssertionError("what the oracle refuses was done")

    def forget(self, who: str, names: Sequence[Name]) -> None:
        state = self.oracle.now()
        live = {name for name, _ in state}
        plan = self.as_(who).forget([self.id(name) for name in names], dry_run=True)
        assert set(plan.ids) == {self.id(name) for name in names if name in live}
        self.oracle.remove(state, names)
        result = self.as_(who).forget([self.id(name) for name in names], digest=plan.digest)
        self.oracle.commit(Entry(who, "forget"), state)
        assert result.receipt is not None
        self._placed(result.receipt.transaction)

    def erase(self, who: str, names: Sequence[Name]) -> None:
        state = self.oracle.now()
        others = self.oracle.erase(state, names)
        ids = [self.id(name) for name in names]
        plan = self.as_(who).forget(ids, erase=True, dry_run=True)
        assert set(plan.shared) == {self.id(name) for name in others}
        result = self.as_(who).forget(ids, erase=True, digest=plan.digest)
        self.oracle.commit(Entry(who, "erase"), state)
        assert result.receipt is not None and not result.receipt.pages_pending
        self._placed(result.receipt.transaction)

    def label(self, who: str, label: str) -> None:
        """Name the present state; naming the same state twice writes nothing."""
        known = self.labels.get(label)
        if known is not None and self.oracle.states[known] == self.oracle.states[-1]:
            assert self.as_(who).snapshot(label).transaction == known
            return
        named = self.as_(who).snapshot(label, force=known is not None)
        assert named.transaction == self.oracle.seq
        self.labels[label] = self.oracle.seq
        self.oracle.commit(Entry(who, "label"), self.oracle.now())

    def policy(self, who: str, value: float | None) -> None:
        self.as_(who).set_policy("gate.min_confidence", value)
        self.oracle.commit(Entry(who, "policy"), self.oracle.now())

    def rollback(self, who: str, target: int, reference: Any) -> None:
        plan = self.oracle.rollback(target)
        self._roll(who, plan, Entry(who, "rollback", target=target), to=reference)
        with self._view() as view:
            if not plan.erased:
                assert view.head().state_root == view.head_at(target).state_root

    def undo(self, who: str, entry: Entry) -> None:
        arguments = {"since": entry.since, "writer": entry.writer, "source": entry.source, "tags": dict(entry.tags)}
        plan = self.oracle.undo(entry)
        result = self._roll(who, plan, entry, **arguments)
        assert result.not_undone == plan.not_undone
        assert set(result.orphaned) == {self.id(name) for name in plan.orphaned if name in self.keys}
        after = self.oracle.entries[entry.since + 1 : -1]
        everything = entry.writer is None and entry.source is None and not entry.tags and not plan.erased
        if everything and all(other is not None and other.verb not in ("rollback", "undo") for other in after):
            with self._view() as view:
                assert view.head().state_root == view.head_at(entry.since).state_root, "undoing everything"

    def _roll(self, who: str, plan: Plan, entry: Entry, **arguments: Any) -> RollbackResult:
        preview = self.as_(who).rollback(**arguments, dry_run=True)
        self._same_diff(preview.diff, self.oracle.states[-1], plan.state)
        assert set(preview.erased) == {self.id(name) for name in plan.erased}
        result = self.as_(who).rollback(**arguments, digest=preview.digest)
        assert (result.diff, result.orphaned, result.erased) == (preview.diff, preview.orphaned, preview.erased)
        self.oracle.commit(entry, plan.state, plan.effective)
        assert result.receipt is not None
        self._placed(result.receipt.transaction)
        return result

    def _placed(self, seq: int) -> None:
        assert seq == self.oracle.seq, "one call, one transaction"

    # ------------------------------------------------------------------ what is stored, as plain values
    def learn(self, view: ReadView) -> None:
        """Name every new record and body of facts while their words are there; an erasure may take them later."""
        for rid, record in sorted(view.all_records().items()):
            if rid not in self.names and record.is_memory:
                self.names[rid] = name = self._name(view, rid, record)
                self.shown[_shown(record)] = name
                if record.kind == AtomKind.code:
                    self.keys[name] = record.key
        for rid, name in sorted(self.names.items()):
            for _, _, _, _, pid in view.piece_rows(rid):
                facts = view.facts(pid)
                if facts.hash not in self.facts and facts.body is not None:
                    self.facts[facts.hash] = self._plain(view, name[0], facts.registers)

    def _name(self, view: ReadView, rid: int, record: Record) -> Name:
        if record.kind == EdgeKind.code:
            edge = view.edge(rid)
            assert edge is not None
            return ("edge", self.names[edge.source], edge.type, self.names[edge.target])
        if record.kind in (SourceKind.code, ItemKind.code):
            pid = view.origin_of(rid)
            assert pid is not None
            origin = (view.payload(pid) or b"").decode()
            if record.kind == SourceKind.code:
                return ("source", origin)
            (position,) = [at for at, item in view.items(pid) if item == rid]
            return ("item", origin, position)
        row = view.atom(rid)
        assert row is not None and MODALITIES[row.modality] == "text"
        content = view.payload_row(row.content)
        body = content.body if content.body is not None else self.memory._objects.get(view.ws, content.hash)
        text, media = body.decode(), (view.payload(row.media_type) or b"").decode()
        if not row.origin:
            return ("note", media, text)
        origin = (view.payload(row.origin) or b"").decode()
        told = json.loads(view.payload(row.discriminator) or b"{}") if row.discriminator else {}
        if "session" not in told:
            return ("part", origin, media, text, told.get("twin", 0))
        writer = json.loads(view.payload(row.witness) or b"{}")["writer"]
        last = ("at", told["occurred_at"]) if "occurred_at" in told else ("nth", told["ordinal"])
        return ("turn", origin, media, text, writer, told["speaker"], *last)

    def _plain(self, view: ReadView, kind: str, registers: Mapping[str, Any]) -> str:
        if kind == "source":
            pid = view.pid(bytes.fromhex(registers["manifest"]))
            body = None if pid is None else view.payload(pid)
            assert body is not None
            by_key = {key: name for name, key in self.keys.items()}
            plan = decode_manifest(body)
            parts = [repr(by_key[part.atom]) for part in plan.parts]
            return encoded({"parts": parts, "redacted": any(node.title == ERASED for node in plan.nodes)})
        if kind == "item":
            (name,) = [name for name, key in self.keys.items() if key.hex() == registers["atom"]]
            if registers["chain"] not in self.chains:
                (before,) = [
                    chain
                    for chain in self.chains
                    if digest("cmc/chain/1", bytes.fromhex(chain), self.keys[name]).hex() == registers["chain"]
                ]
                self.chains[registers["chain"]] = [*self.chains[before], repr(name)]
            return encoded({"atom": repr(name), "chain": self.chains[registers["chain"]]})
        return encoded(registers)

    def state(self, view: ReadView, seq: int) -> State:
        """Read a whole state back, on the grid; the coding has to be canonical on the way."""
        out: State = {}
        for rid, name in self.names.items():
            pieces = view.pieces(rid, seq)
            for left, right in itertools.pairwise(pieces):
                assert left.valid_to <= right.valid_from, "pieces overlap"
                assert left.valid_to < right.valid_from or left.facts != right.facts, "equal neighbours are not joined"
            for piece in pieces:
                for cell in range(_ENDS[piece.valid_from], _ENDS[piece.valid_to]):
                    out[name, cell] = self.facts[piece.facts.hash]
        return out

    # ------------------------------------------------------------------ the comparison
    def check(self) -> None:
        """Compare what can be read, at the head and at points that wander over the past."""
        self.steps += 1
        with self._view() as view:
            self.learn(view)
            head = view.head()
            assert head.seq == self.oracle.seq
            self._chain(view)
            for seq in {head.seq, head.seq // 2, self.steps * 7 % (head.seq + 1)}:
                found, wanted = self.state(view, seq), self.oracle.states[seq]
                assert found == wanted, f"the state at {seq}: {sorted(map(repr, found.items() ^ wanted.items()))[:4]}"
            self._root(head.state_root)
            assert head.atoms == len(self.oracle.atoms()), "the running total of live atoms"
            if self.steps % 3 == 0:
                self._rebuilt(view)
                self._consistent(view, self.steps * 5 % head.seq + 1 if head.seq else 0, head.seq)
        self._diffs(self.steps * 11 % (head.seq + 1), head.seq)
        if self.steps % 3 == 1:
            self._recalled(self.steps * 13 % (head.seq + 1))

    def _root(self, root: bytes) -> None:
        state = frozenset(self.oracle.states[-1].items())
        assert self.roots.setdefault(state, root) == root, "the same state has two roots"
        assert self.states.setdefault(root, state) == state, "two states have the same root"

    def _chain(self, view: ReadView) -> None:
        """Hash the last transaction again from what is stored of it."""
        row = view.transaction(view.head().seq)
        if row is None:
            return
        before = view.head_at(row.seq - 1)
        assert row.seq == 1 or row.recorded_us > before.recorded_us, "time must rise"
        header = Header(
            before.hash, row.seq, row.recorded_us, view.payload_row(row.principal).hash, row.verb, row.arguments_hash,
            row.state_root, row.control_root,
        )  # fmt: skip
        assert transaction_hash(header, view.changes_of(row.seq)) == row.hash
        assert view.log_node(0, row.seq - 1) == log.leaf_hash(row.hash)

    def _rebuilt(self, view: ReadView) -> None:
        """The incremental tree is the one that the live records alone make."""
        records = {rid: record for rid, record in view.all_records().items() if KINDS[record.kind].memory}
        live = {record.tree_key: leaf(record, found) for rid, record in records.items() if (found := view.pieces(rid))}
        root, nodes = tree.build(sorted(live.items()))
        assert root == view.head().state_root
        assert nodes == {path: body for path, body in view.all_index_rows("state_nodes") if path < 1 << 37}  # type: ignore[operator]

    def _consistent(self, view: ReadView, first: int, second: int) -> None:
        roots = [log.root(size, view.log_node) for size in (first, second)]
        steps = log.consistency_proof(first, second, view.log_node)
        proof.verify_consistency(first, second, *roots, steps)

    def _diffs(self, first: int, second: int) -> None:
        states = self.oracle.states
        for a, b in ((first, second), (second, first)):
            diff = self.memory.history(from_=a, to=b).diff
            assert diff is not None
            self._same_diff(diff, states[a], states[b])

    def _same_diff(self, diff: Diff, old: State, new: State) -> None:
        for part, wanted in differing(old, new).items():
            assert {self.shown[change.id] for change in getattr(diff, part)} == wanted, f"the diff's {part}"

    def _recalled(self, seq: int) -> None:
        """Recall finds exactly what was live at both clocks and not destroyed."""
        cell = (self.steps * 3) % (len(CELLS) - 1)
        text = TEXTS[self.steps % len(TEXTS)]
        wanted = {
            self.id(name)
            for (name, at), _ in self.oracle.states[seq].items()
            if at == cell and text_of(name) == text and text not in self.oracle.destroyed
        }
        instant = BOUNDS[cell] - 1
        items = self.memory.recall(text.split()[0], as_of=seq, valid_at=instant, limit=200, budget_tokens=100_000).items
        found = {name for item in items if item.text == text for name in (item.id, *item.duplicates)}
        assert found == wanted, f"recall of {text!r} at {seq}, cell {cell}"

    def hold(self) -> None:
        """Everything proves itself at the end; and nothing destroyed is left in the file."""
        result = self.memory.verify()
        assert result.holds, result.faults

    def snapshot_of(self, seq: int) -> str:
        with self._view() as view:
            return snapshot_name(view.head_at(seq).state_root)


def _shown(record: Record) -> str:
    kind = KINDS[record.kind].name
    return atom_name(record.key) if record.kind == AtomKind.code else f"{kind}_{record.key.hex()}"
