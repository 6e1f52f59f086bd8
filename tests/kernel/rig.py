"""The real product beside the oracle: every verb is done to both, and everything readable is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from cmc_mcp.canon import canonical
from cmc_mcp.documents.sources import NODES
from cmc_mcp.errors import CmcError, InvalidInput, NotFound, StoreError
from cmc_mcp.history.references import resolve_point
from cmc_mcp.kernel.identity import atom_name, snapshot_name
from cmc_mcp.kernel.intervals import leaf
from cmc_mcp.kernel.kinds import KINDS, SOURCE
from cmc_mcp.kernel.transaction import Header, transaction_hash
from cmc_mcp.memory import Memory
from cmc_mcp.merkle import log, proof
from cmc_mcp.merkle import state as tree
from cmc_mcp.model.results import Diff, RollbackResult
from cmc_mcp.store.ports import ReadView
from cmc_mcp.store.rows import Filter, Head, arguments_of, post_order
from cmc_mcp.store.sql.ledger import NO_HEAD, node_base
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
    instants,
    is_atom,
    span,
    text_of,
)
from tests.kernel.place import START_US, Place, Pulled
from tests.kernel.reading import Reading
from tests.support import reach

PLAIN = "text/plain"
HOUR_US = 3_600_000_000
LONG = "zeta " + "long words that stand in the object store " * 4 + "end"
TEXTS = ("alpha one", "beta two", "gamma three", LONG)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rig:
    """One workspace as several principals write to it, and its oracle. Alone in a store unless one is given."""

    def __init__(self, place: Place | None = None, workspace: str = "default") -> None:
        self.own = place is None
        self.place = Place() if place is None else place
        self.workspace = workspace
        self.clock_us, self.tick_us = START_US, 7
        self.oracle = Oracle()
        self.reading = Reading()
        self.roots: dict[frozenset[tuple[tuple[Name, int], str]], bytes] = {frozenset(): tree.EMPTY_ROOT}
        self.states: dict[bytes, frozenset[tuple[tuple[Name, int], str]]] = {tree.EMPTY_ROOT: frozenset()}
        self.labels: dict[str, int] = {}
        self.heads: list[Head] = [NO_HEAD]
        self.logs: list[bytes] = [log.EMPTY_ROOT]
        self.steps = 0
        self.compared = 0
        self.memory: Memory = self.place.at(workspace)

    def close(self) -> None:
        if self.own:
            self.place.close()
        else:
            self.place.leave(self.workspace)

    def _again(self) -> None:
        self.memory = self.place.at(self.workspace)

    def as_(self, principal: str) -> Memory:
        self.clock_us += self.tick_us
        self.place.clock.set_us(self.clock_us)
        return self.memory.as_principal(principal)

    def id(self, name: Name) -> str:
        return atom_name(self.reading.keys[name])

    def _view(self) -> Any:
        return reach.reader(self.memory)

    def _commit(self, entry: Entry, state: State, effective: dict[Name, tuple[int, ...]] | None = None) -> None:
        self.oracle.commit(entry, state, effective, clock_us=self.clock_us)
        self.glance()

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
                self.oracle.note(state, who, item["text"], PLAIN, cells, changes, premises)
            arguments.append(call)
        receipt = (
            self.as_(who).remember(**arguments[0]) if len(arguments) == 1 else self.as_(who).remember_many(arguments)
        )
        assert receipt.transactions == 1
        self._commit(Entry(who, "remember"), state)
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
            else self.oracle.revise(
                state, who, name, wanted, replace_tags=tags is not None, low=low, high=high, text=text
            )
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
        self._commit(Entry(who, "revise"), state)
        self._placed(receipt.transaction)

    def _refused(self, call: Any, *kinds: type[CmcError]) -> None:
        try:
            call()
        except kinds:
            with self._view() as view:
                assert view.head() == self.heads[-1], "a refused call changed something"
            return
        raise AssertionError("what the oracle refuses was done")

    def forget(self, who: str, names: Sequence[Name]) -> None:
        state = self.oracle.now()
        live = {name for name, _ in state}
        plan = self.as_(who).forget([self.id(name) for name in names], dry_run=True)
        assert set(plan.ids) == {self.id(name) for name in names if name in live}
        self.oracle.remove(state, names)
        result = self.as_(who).forget([self.id(name) for name in names], digest=plan.digest)
        self._commit(Entry(who, "forget"), state)
        assert result.receipt is not None
        self._placed(result.receipt.transaction)

    def erase(self, who: str, names: Sequence[Name]) -> None:
        with self._view() as view:
            self.reading.learn_facts(view)
        state = self.oracle.now()
        others = self.oracle.erase(state, names)
        ids = [self.id(name) for name in names]
        plan = self.as_(who).forget(ids, erase=True, dry_run=True)
        assert set(plan.shared) == {self.id(name) for name in others}
        result = self.as_(who).forget(ids, erase=True, digest=plan.digest)
        self._commit(Entry(who, "erase"), state)
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
        self._commit(Entry(who, "label"), self.oracle.now())

    def policy(self, who: str, value: float | None) -> None:
        self.as_(who).set_policy("gate.min_confidence", value)
        self._commit(Entry(who, "policy"), self.oracle.now())

    def rollback(self, who: str, target: int, reference: Any) -> None:
        plan = self.oracle.rollback(target)
        self._roll(who, plan, Entry(who, "rollback", target=target), to=reference)
        with self._view() as view:
            told = view.transaction(self.oracle.seq)
            assert told is not None and arguments_of(told) == canonical({"to": target}), "what a later undo goes by"
        if not plan.erased:
            assert self.heads[-1].state_root == self.heads[target].state_root

    def undo(self, who: str, entry: Entry) -> None:
        arguments = {"since": entry.since, "writer": entry.writer, "source": entry.source, "tags": dict(entry.tags)}
        plan = self.oracle.undo(entry)
        result = self._roll(who, plan, entry, **arguments)
        assert result.not_undone == plan.not_undone
        assert set(result.orphaned) == {self.id(name) for name in plan.orphaned if name in self.reading.keys}
        after = self.oracle.entries[entry.since + 1 : -1]
        everything = entry.writer is None and entry.source is None and not entry.tags and not plan.erased
        if everything and all(other is not None and other.verb not in ("rollback", "undo") for other in after):
            assert self.heads[-1].state_root == self.heads[entry.since].state_root, "undoing everything"

    def _roll(self, who: str, plan: Plan, entry: Entry, **arguments: Any) -> RollbackResult:
        preview = self.as_(who).rollback(**arguments, dry_run=True)
        self._same_diff(preview.diff, self.oracle.states[-1], plan.state)
        assert set(preview.erased) == {self.id(name) for name in plan.erased}
        result = self.as_(who).rollback(**arguments, digest=preview.digest)
        assert (result.diff, result.orphaned, result.erased) == (preview.diff, preview.orphaned, preview.erased)
        self._commit(entry, plan.state, plan.effective)
        assert result.receipt is not None
        self._placed(result.receipt.transaction)
        return result

    def _placed(self, seq: int) -> None:
        assert seq == self.oracle.seq, "one call, one transaction"

    # ------------------------------------------------------------------ stopping and going on
    def reopen(self) -> None:
        self.place.reopen()
        self._again()

    def crash(self) -> None:
        """Go on from what a kill after the last answer leaves."""
        self.place.boot(self.place.image())
        self._again()

    def cut(self, move: Callable[[], None], moment: int, *, crash: bool) -> None:
        """Stop a write before one of its statements; the process goes on, or is started again. Nothing may be left."""
        with self.place.pulled(moment) as images:
            try:
                move()
            except (Pulled, StoreError):
                assert images, "it failed by itself"
                self.oracle.take_back()
        if crash:
            self.place.boot(images[-1] if images else self.place.image())
            self._again()

    # ------------------------------------------------------------------ the comparison
    def glance(self) -> None:
        """Compare what every transaction can afford: the head, its time, its root, its log, the count of live atoms."""
        self.steps += 1
        with self._view() as view:
            head = view.head()
            if head.last_rid > self.heads[-1].last_rid:
                self.reading.learn(view, reach.objects(self.memory))
            assert head.seq == self.oracle.seq
            assert head.recorded_us == self.oracle.times[-1], "a transaction has the clock's time, or the next free one"
            state = frozenset(self.oracle.states[-1].items())
            assert self.roots.setdefault(state, head.state_root) == head.state_root, "the same state has two roots"
            assert self.states.setdefault(head.state_root, state) == state, "two states have the same root"
            assert head.atoms == len(self.oracle.atoms()), "the running total of live atoms"
            root = log.root(head.seq, view.log_node)
            if len(self.heads) == head.seq:
                self.heads.append(head)
                self.logs.append(root)
            assert (head, root) == (self.heads[-1], self.logs[-1]), "the head changed without a transaction"

    def check(self) -> None:
        """Compare the head, points that wander over the past, and how each is read."""
        self.glance()
        with self._view() as view:
            seq = self.oracle.seq
            self.reading.learn_facts(view)
            self._chain(view)
            for at in sorted({seq, seq // 2, self.steps * 7 % (seq + 1)}):
                self._same_state(view, at)
            if self.steps % 3 == 0:
                self._rebuilt(view)
                first = self.steps * 5 % (seq + 1)
                self._consistent(view, first, seq)
        self._diffs(self.steps * 11 % (seq + 1), seq)
        if self.steps % 3 == 1:
            self._recalled(self.steps * 13 % (seq + 1))

    def judge(self) -> None:
        """Compare the whole grid of both clocks, every time, every reference and every proof."""
        with self._view() as view:
            self.reading.learn_facts(view)
            seq = self.oracle.seq
            for at in range(seq + 1):
                self._same_state(view, at)
            self._same_instants(view)
            self._same_references(view)
            self._proved(view)
            self._chain(view)
            for at in {*self.labels.values(), self.steps % (seq + 1)}:
                self._exact(view, at)
        self._diffs(self.steps * 11 % (seq + 1), seq)
        self._recalled(self.steps * 13 % (seq + 1))

    def hold(self) -> None:
        """Everything proves itself."""
        result = self.memory.verify()
        assert result.holds, result.faults

    def keep_up(self) -> None:
        """Rewrite the file and every index that can be made again: no answer may change."""
        with self._view() as view:
            live = self._leaves(view, self.oracle.seq)
            ws, base = reach.ws(self.memory), node_base(reach.ws(self.memory), 0)
            rows = [(ws, *row) for rid, _ in view.records(SOURCE.code) for row in NODES.of_record(view, rid)]
        with self.place.store.exclusive() as connection:
            connection.execute("DELETE FROM state_nodes WHERE node > ? AND node < ?", (base, base + (1 << 37)))
            made = [(base + path, ws, body) for path, body in tree.build(live.items())[1].items()]
            connection.executemany("INSERT INTO state_nodes VALUES(?, ?, ?)", made)
            connection.execute("DELETE FROM nodes WHERE ws = ?", (ws,))
            connection.executemany(
                f"INSERT INTO nodes(ws, {', '.join(NODES.table.shown)}) VALUES(?, ?, ?, ?, ?, ?, ?)", rows
            )
            connection.execute("REINDEX")
            connection.execute("VACUUM")
        self.reopen()
        with self._view() as view:
            for rid, record in view.all_records().items():
                name = self.reading.names.get(rid)
                if name is not None and is_atom(name) and text_of(name) not in self.oracle.destroyed:
                    assert self.reading.name(view, reach.objects(self.memory), rid, record) == name, "the words changed"

    def _same_state(self, view: ReadView, seq: int) -> None:
        found, wanted = self.reading.state(view, seq), self.oracle.states[seq]
        self.compared += 1
        assert found == wanted, f"the state at {seq}: {sorted(map(repr, found.items() ^ wanted.items()))[:4]}"

    def _same_instants(self, view: ReadView) -> None:
        """What the product selects by both clocks, at the first or the last instant of a cell."""
        for seq in range(1, self.oracle.seq + 1):
            cell = (self.steps + 3 * seq) % len(CELLS)
            wanted = {name for name, held in self.oracle.states[seq] if held == cell and is_atom(name)}
            for instant in instants(cell):
                found = {self.reading.names[rid] for rid in view.selected(seq, instant, Filter())}
                assert found == wanted, f"what holds at {seq}, cell {cell}: {sorted(map(repr, found ^ wanted))[:4]}"

    def _same_references(self, view: ReadView) -> None:
        """A number, a time, a label and a snapshot name what they did when they were given out."""
        assert view.times_of(range(1, self.oracle.seq + 1)) == dict(enumerate(self.oracle.times[1:], 1))
        for reference, meant in self._references(self.steps % (self.oracle.seq + 1)):
            assert resolve_point(view, reference) == meant, f"{reference!r} names another state"
        for label, seq in self.labels.items():
            assert resolve_point(view, label) == seq, f"the label {label} names another state"

    def _references(self, seq: int) -> list[tuple[Any, int]]:
        """Ways to name a state, and what each means; a snapshot is the earliest transaction that left it."""
        states, time_us = self.oracle.states, self.oracle.times[seq]
        found: list[tuple[Any, int]] = [(seq, seq), (str(seq), seq), (self.snapshot_of(seq), states.index(states[seq]))]
        if seq:
            found.append((_EPOCH + timedelta(microseconds=time_us), seq))
            found.append((_EPOCH + timedelta(microseconds=time_us - 1), seq - 1))
        return found + [(label, at) for label, at in self.labels.items() if at == seq]

    def _proved(self, view: ReadView) -> None:
        """Every size the log ever had is a prefix of what it is, and every transaction is in it."""
        size, held = self.oracle.seq, dict(set(view.index_rows(view.registry.by_name["log_nodes"])))
        root = self.logs[size]

        def get(level: int, index: int) -> bytes:
            return held[post_order(level, index)]

        for first in range(size + 1):
            proof.verify_consistency(first, size, self.logs[first], root, log.consistency_proof(first, size, get))
        rows = {row.seq: row.hash for row in view.transactions()}
        for index in range(size):
            path = log.inclusion_proof(index, size, get)
            proof.verify_inclusion(sha256(b"\0" + rows[index + 1]).digest(), index, size, path, root)

    def _leaves(self, view: ReadView, seq: int) -> dict[bytes, bytes]:
        records = {rid: record for rid, record in view.all_records().items() if KINDS[record.kind].memory}
        return {
            KINDS[records[rid].kind].tree_key(records[rid]): leaf(records[rid], found)
            for rid, found in view.intervals_of(list(records), seq).items()
        }

    def _exact(self, view: ReadView, seq: int) -> None:
        """The rows of a past state, and they alone, still hash to the root it had."""
        root, _ = tree.build(self._leaves(view, seq).items())
        assert root == self.heads[seq].state_root == view.head_at(seq).state_root

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
        assert view.log_node(0, row.seq - 1) == sha256(b"\0" + row.hash).digest()

    def _rebuilt(self, view: ReadView) -> None:
        """The incremental tree is the one that the live records alone make."""
        root, made = tree.build(self._leaves(view, self.oracle.seq).items())
        assert root == view.head().state_root
        stored = {
            path: body for path, body in set(view.index_rows(view.registry.by_name["state_nodes"])) if path < 1 << 37
        }  # type: ignore[operator]
        assert made == stored

    def _consistent(self, view: ReadView, first: int, second: int) -> None:
        steps = log.consistency_proof(first, second, view.log_node)
        proof.verify_consistency(first, second, self.logs[first], self.logs[second], steps)

    def _diffs(self, first: int, second: int) -> None:
        states = self.oracle.states
        a, b = (first, second) if self.steps % 2 else (second, first)
        diff = self.memory.history(from_=a, to=b).diff
        assert diff is not None
        self._same_diff(diff, states[a], states[b])

    def _same_diff(self, diff: Diff, old: State, new: State) -> None:
        for part, wanted in differing(old, new).items():
            assert {self.reading.shown.get(change.id, change.id) for change in getattr(diff, part)} == wanted, (
                f"the diff's {part}"
            )

    def _recalled(self, seq: int) -> None:
        """Recall finds exactly what was live at both clocks and not destroyed, however the state is named."""
        references = self._references(seq)
        reference, meant = references[self.steps % len(references)]
        held: dict[tuple[str, int], set[str]] = {(text, cell): set() for text in TEXTS for cell in CELLS}
        for name, cell in self.oracle.states[meant]:
            if (text := text_of(name)) is not None and text not in self.oracle.destroyed:
                held[text, cell].add(self.id(name))
        ends = [(text, cell, instant) for text, cell in held for instant in instants(cell)]
        # best where an instant on the other side of a bound would give another answer
        sharp = [(t, c, i) for t, c, i in ends if held[t, c] != held[t, c - 1 if i in BOUNDS else c + 1]]
        text, cell, instant = (sharp or ends)[self.steps * 7 % len(sharp or ends)]
        wanted = held[text, cell]
        query = text.split()[0]
        answer = self.memory.recall(query, as_of=reference, valid_at=instant, limit=200, budget_tokens=100_000)
        assert answer.read_point.transaction == meant
        found = {name for item in answer.items if item.text == text for name in (item.id, *item.duplicates)}
        assert found == wanted, f"recall of {text!r} at {reference!r}, cell {cell}"

    def snapshot_of(self, seq: int) -> str:
        return snapshot_name(self.heads[seq].state_root)
