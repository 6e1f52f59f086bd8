"""A naive oracle of the kernel: a full copy of the state for every transaction, instant by instant.

It knows nothing of pieces, trees or tables. Valid time is a grid of a few cells; a state maps (name, cell) to facts, and
a name says in plain values what a record is about. What is slow and obvious here must equal what is fast there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cmc_mcp.kernel.identity import aligned

DAY = 86_400_000_000
BOUNDS = tuple(DAY * (20_000 + n) for n in range(7))
CELLS = range(len(BOUNDS) + 1)
"""Cell 0 ends at the first bound, cell n begins at bound n - 1, the last one never ends."""

Name = tuple[Any, ...]
State = dict[tuple[Name, int], str]
Changes = Mapping[str, Any]


def encoded(fields: Mapping[str, Any]) -> str:
    """Write facts in one way only."""
    return json.dumps(fields, sort_keys=True)


def merge(facts: str | None, changes: Changes) -> str:
    """Set fields; None removes one."""
    out = dict(json.loads(facts)) if facts else {}
    for key, value in changes.items():
        out.pop(key, None)
        if value is not None:
            out[key] = value
    return encoded(out)


def planned(parts: Sequence[str], *, redacted: bool) -> str:
    """The facts of a document's head: one field, so that an undo carries it over whole or not at all."""
    return encoded({"plan": {"parts": parts, "redacted": redacted}})


def plan_of(facts: str) -> Mapping[str, Any]:
    """The one field of a document's head."""
    read: Mapping[str, Any] = json.loads(facts)["plan"]
    return read


def text_of(name: Name) -> str | None:
    """The words of an atom."""
    return {"note": 2, "part": 3, "turn": 3}.get(name[0]) and str(name[{"note": 2, "part": 3, "turn": 3}[name[0]]])


def is_atom(name: Name) -> bool:
    return name[0] in ("note", "part", "turn")


def origin_of(name: Name) -> str | None:
    """The origin of what a record is about."""
    if name[0] == "edge":
        return origin_of(name[1])
    return None if name[0] == "note" else str(name[1])


@dataclass(frozen=True)
class Entry:
    """One transaction: who, and which verb; of a rollback where to, of an undo what."""

    principal: str
    verb: str
    target: int = 0
    since: int = 0
    writer: str | None = None
    source: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


@dataclass
class Plan:
    """What a rollback would do, and what it has to name."""

    state: State
    effective: dict[Name, tuple[int, ...]]
    erased: set[Name] = field(default_factory=set)
    orphaned: set[Name] = field(default_factory=set)
    not_undone: list[int] = field(default_factory=list)


class Oracle:
    """States, effective histories and what was destroyed, all kept whole."""

    def __init__(self) -> None:
        self.states: list[State] = [{}]
        self.times: list[int] = [0]
        self.effective: list[dict[Name, tuple[int, ...]]] = [{}]
        self.entries: list[Entry | None] = [None]
        self.known: dict[Name, tuple[Name, ...]] = {}  # every atom ever recorded, with its premises
        self.destroyed: dict[str, int] = {}  # words, and the transaction that destroyed them
        self.lost: set[tuple[str, str]] = set()  # versions of documents whose plan was destroyed
        self._before: tuple[dict[Name, tuple[Name, ...]], dict[str, int], set[tuple[str, str]]] = ({}, {}, set())

    @property
    def seq(self) -> int:
        return len(self.states) - 1

    def now(self) -> State:
        return dict(self.states[-1])

    def facts(self, name: Name, seq: int | None = None) -> dict[int, str]:
        """What holds of a record, by cell."""
        state = self.states[-1 if seq is None else seq]
        return {cell: state[name, cell] for cell in CELLS if (name, cell) in state}

    def atoms(self, seq: int | None = None) -> list[Name]:
        """The live atoms, in order of first recording."""
        live = {name for name, _ in self.states[-1 if seq is None else seq]}
        return [name for name in self.known if name in live]

    def changed(self, name: Name, seq: int) -> bool:
        return self.facts(name, seq) != self.facts(name, seq - 1)

    # ------------------------------------------------------------------ writes
    def commit(
        self, entry: Entry, state: State, effective: dict[Name, tuple[int, ...]] | None = None, clock_us: int = 0
    ) -> int:
        """Append a state; a write's changes enter the effective histories. Time rises, whatever the clock says."""
        seq = self.seq + 1
        if effective is None:
            effective = dict(self.effective[-1])
            old = self.states[-1]
            for name in {key[0] for key, _ in old.items() ^ state.items()}:
                effective[name] = (*effective.get(name, ()), seq)
        self.states.append(state)
        self.times.append(max(clock_us, self.times[-1] + 1))
        self.effective.append(effective)
        self.entries.append(entry)
        self._before = (dict(self.known), dict(self.destroyed), set(self.lost))
        return seq

    def take_back(self) -> None:
        """Forget what was learnt for a transaction that then was not."""
        known, destroyed, lost = self._before
        self.known, self.destroyed, self.lost = dict(known), dict(destroyed), set(lost)

    def kept_back(self, texts: Iterable[str]) -> bool:
        """Return whether the gate keeps it back: destroyed words are not remembered again."""
        return any(text in self.destroyed for text in texts)

    def put(self, state: State, name: Name, cells: range, changes: Changes, premises: Sequence[Name] = ()) -> None:
        """Set facts of an atom on some cells; it is recorded or restored where it was not live."""
        if name not in self.known:
            self.known[name] = tuple(dict.fromkeys(premises))
        if not any((name, cell) in state for cell in CELLS):
            for premise in self.known[name]:
                self.link(state, name, "derives", premise)
        for cell in cells:
            state[name, cell] = merge(state.get((name, cell)), changes)

    @staticmethod
    def link(state: State, source: Name, kind: str, target: Name) -> None:
        for cell in CELLS:
            state.setdefault((("edge", source, kind, target), cell), encoded({}))

    def note(
        self, state: State, writer: str, text: str, media: str, cells: range, changes: Changes,
        premises: Sequence[Name] = (),
    ) -> Name | None:  # fmt: skip
        if self.kept_back([text]):
            return None
        name = ("note", media, text, writer)
        self.put(state, name, cells, changes, premises)
        return name

    def turn(
        self, state: State, writer: str, origin: str, media: str, text: str, speaker: str, occurred: int | None,
        cells: range, changes: Changes,
    ) -> Name | None:  # fmt: skip
        if self.kept_back([text]):
            return None
        places = [key[0][2] for key in state if key[0][0] == "item" and key[0][1] == origin]
        tail = max(places, default=-1)
        told = ("at", occurred) if occurred is not None else ("nth", tail + 1)
        name = ("turn", origin, media, text, writer, speaker, *told)
        if occurred is not None:  # the same words then, whoever wrote them down first
            name = next((known for known in self.known if known[:4] + known[5:] == name[:4] + name[5:]), name)
        stands = any(key[0][0] == "item" and json.loads(facts)["atom"] == repr(name) for key, facts in state.items())
        self.put(state, name, cells, changes)
        if not stands:
            chain = json.loads(state[("item", origin, tail), 0])["chain"] if tail >= 0 else []
            for cell in CELLS:
                state[("item", origin, tail + 1), cell] = encoded({"atom": repr(name), "chain": [*chain, repr(name)]})
        return name

    def document(
        self, state: State, origin: str, media: str, texts: Sequence[str], cells: range, changes: Changes
    ) -> None:
        if self.kept_back(texts):
            return
        head = ("source", origin)
        known = (head, 0) in state and (origin, state[head, 0]) not in self.lost
        before = plan_of(state[head, 0])["parts"] if known else None
        old = [self.by_repr(part) for part in before or ()]
        numbered = aligned([(name[3], name[4]) for name in old], list(texts))
        new = [("part", origin, media, text, number) for text, number in numbered]
        for name in new:
            self.put(state, name, cells, changes)
        if before is None or [name[3] for name in old] != list(texts):
            self.head(state, origin, [repr(name) for name in new], redacted=False)
        self.remove(state, set(old) - set(new))

    def head(self, state: State, origin: str, parts: list[str], *, redacted: bool) -> None:
        facts = planned(parts, redacted=redacted)
        self.lost.discard((origin, facts))
        for cell in CELLS:
            state[("source", origin), cell] = facts

    def by_repr(self, text: str) -> Name:
        return next(name for name in self.known if repr(name) == text)

    def remove(self, state: State, names: Iterable[Name]) -> None:
        for name in names:
            for cell in CELLS:
                state.pop((name, cell), None)

    def revise(
        self, state: State, writer: str, name: Name, changes: Changes, *, replace_tags: bool, low: int | None,
        high: int | None, text: str | None,
    ) -> Name | None:  # fmt: skip
        """Revise an atom; None where that is to be refused."""
        held = self.facts(name)
        if not held or text_of(name) in self.destroyed:
            return None
        first, last = min(held), max(held)
        start, end = first if low is None else low, last + 1 if high is None else high
        new: dict[int, str] = {}
        for cell in range(start, end):
            facts = held.get(first if cell < first else last if cell > last else cell)
            if facts is not None:
                kept = {k: v for k, v in json.loads(facts).items() if not (replace_tags and k.startswith("tag:"))}
                new[cell] = merge(encoded(kept), changes)
        if not new:
            return None
        if text is None or text == text_of(name):
            self.remove(state, [name])
            state.update({(name, cell): facts for cell, facts in new.items()})
            return name
        if self.kept_back([text]):
            return None
        other = ("note", name[1] if name[0] == "note" else name[2], text, writer)
        if name[0] == "turn":  # the new wording is no turn, and says who said the old one, and when
            said = {"speaker": name[5]} | ({"occurred_at": name[7]} if name[6] == "at" else {})
            new = {cell: merge(facts, said) for cell, facts in new.items()}
        before = {cell: state[other, cell] for cell in CELLS if (other, cell) in state}
        self.put(state, other, CELLS, {})
        self.remove(state, [other])
        state.update({(other, cell): facts for cell, facts in before.items()})
        for cell, facts in new.items():
            state.pop((name, cell), None)
            state[other, cell] = merge(before.get(cell), json.loads(facts))
        self.link(state, other, "supersedes", name)
        return other

    # ------------------------------------------------------------------ rollbacks
    def gone(self, name: Name, since: int) -> bool:
        """Return whether an atom's words were destroyed after a transaction."""
        return self.destroyed.get(text_of(name) or "", 0) > since

    def rollback(self, target: int) -> Plan:
        now, then = self.states[-1], self.states[target]
        plan = Plan(dict(then), self.effective[target])
        live = {name for name, _ in now}
        for name in {name for name, _ in then} - live:
            if self.gone(name, target):
                plan.erased.add(name)
                self.remove(plan.state, [name])
        return plan

    def undo(self, entry: Entry) -> Plan:
        plan = Plan(self.now(), {})
        names = {name for state in self.states for name, _ in state}
        touched = {
            name
            for name in names
            if any(self.is_write(seq) and self.changed(name, seq) and self.matches(entry, name, seq)
                   for seq in range(entry.since + 1, self.seq + 1))
        }  # fmt: skip
        for name, history in self.effective[-1].items():
            plan.effective[name] = tuple(seq for seq in history if not self.matches(entry, name, seq))
        for name in touched:
            live = bool(self.facts(name))
            self.remove(plan.state, [name])
            value, orphaned = self.replay(name, plan.effective.get(name, ()))
            if value and not live and self.gone(name, entry.since):
                plan.erased.add(name)
                continue
            if orphaned:
                plan.orphaned.add(name)
            plan.state.update({(name, cell): facts for cell, facts in value.items()})
        plan.not_undone = [
            seq
            for seq, other in enumerate(self.entries)
            if other is not None and seq > entry.since and other.verb in ("rollback", "undo")
            and entry.writer is not None and other.principal == entry.writer
        ]  # fmt: skip
        return plan

    def is_write(self, seq: int) -> bool:
        entry = self.entries[seq]
        return entry is not None and entry.verb not in ("rollback", "undo")

    def replay(self, name: Name, history: Sequence[int]) -> tuple[dict[int, str], bool]:
        """Carry every change in force over, cell by cell and register by register."""
        out: dict[int, dict[str, Any]] = {}
        orphaned = False
        for seq in history:
            before, after = self.facts(name, seq - 1), self.facts(name, seq)
            for cell in CELLS:
                old, new = before.get(cell), after.get(cell)
                if old == new:
                    continue
                if new is None:
                    out.pop(cell, None)
                elif old is None:
                    out.setdefault(cell, {}).update(json.loads(new))
                elif cell not in out:
                    orphaned = True
                else:
                    was, now = json.loads(old), json.loads(new)
                    for key in was.keys() | now.keys():
                        if key not in now:
                            out[cell].pop(key, None)
                        elif was.get(key) != now[key]:
                            out[cell][key] = now[key]
        return {cell: encoded(fields) for cell, fields in out.items()}, orphaned

    def matches(self, entry: Entry, name: Name, seq: int) -> bool:
        """Return whether an undo matches the change that a transaction made to a record."""
        done = self.entries[seq]
        if done is None or seq <= entry.since or (entry.writer is not None and done.principal != entry.writer):
            return False
        if entry.source is not None and origin_of(name) != entry.source:
            return False
        return not entry.tags or any(self._tagged(atom, seq, entry.tags) for atom in self._about(name, seq))

    def _about(self, name: Name, seq: int) -> set[Name]:
        if is_atom(name):
            head = ("source", name[1])  # a part is undone with the version that dropped it
            dropped = name[0] == "part" and not self.facts(name, seq) and self.changed(head, seq)
            return {name} | (self._about(head, seq) if dropped else set())
        if name[0] == "edge":
            return {name[1]}
        both = [*self.facts(name, seq - 1).values(), *self.facts(name, seq).values()]
        if name[0] == "item":
            return {self.by_repr(json.loads(facts)["atom"]) for facts in both}
        parts = {self.by_repr(part) for facts in both for part in plan_of(facts)["parts"]}
        return {part for part in parts if self.changed(part, seq)}

    def _tagged(self, name: Name, seq: int, tags: tuple[tuple[str, str], ...]) -> bool:
        both = [*self.facts(name, seq - 1).values(), *self.facts(name, seq).values()]
        return any(all(json.loads(facts).get(f"tag:{k}") == v for k, v in tags) for facts in both)

    # ------------------------------------------------------------------ erase
    def erase(self, state: State, names: Sequence[Name]) -> list[Name]:
        """Erase atoms, and all others of the same words; return those. A document erased whole loses its title."""
        texts = {text_of(name) for name in names}
        every = [name for name in self.known if text_of(name) in texts]
        self.remove(state, every)
        for text in texts:
            self.destroyed.setdefault(text or "", self.seq + 1)
        for origin in {str(name[1]) for name in every if name[0] == "part"}:
            head, mine = ("source", origin), {repr(name) for name in every}
            plans = {
                past[head, 0] for past in self.states if (head, 0) in past and (origin, past[head, 0]) not in self.lost
            }
            titled = {facts for facts in plans if not plan_of(facts)["redacted"]}
            if any(set(plan_of(facts)["parts"]) <= mine for facts in titled):
                self.lost |= {(origin, facts) for facts in titled}
                if state.get((head, 0)) in titled:
                    self.head(state, origin, plan_of(state[head, 0])["parts"], redacted=True)
        return [name for name in every if name not in names]


def span(cells: range) -> tuple[int | None, int | None]:
    """The bounds of some neighbouring cells as an interval of valid time; None is an open end."""
    return (
        None if cells.start == 0 else BOUNDS[cells.start - 1],
        None if cells.stop == len(CELLS) else BOUNDS[cells.stop - 1],
    )


def instants(cell: int) -> tuple[int, ...]:
    """The first and the last instant of a cell; an open end has none."""
    return (*BOUNDS[cell - 1 : cell] * (cell > 0), *(bound - 1 for bound in BOUNDS[cell : cell + 1]))


def differing(a: State, b: State) -> dict[str, set[Name]]:
    """The names that are added, removed and changed from one state to another."""
    of: Callable[[State, Name], dict[int, str]] = lambda s, n: {c: s[n, c] for c in CELLS if (n, c) in s}  # noqa: E731
    old, new = {name for name, _ in a}, {name for name, _ in b}
    return {
        "added": new - old,
        "removed": old - new,
        "changed": {name for name in old & new if of(a, name) != of(b, name)},
    }
