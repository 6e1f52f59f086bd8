"""What two workspaces do to each other: an ordinary life each, and every argument of every tool filled with the other's."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from cmc_mcp.server.session import Caller
from tests.isolation.worlds import Interference, Reader, Worlds

CONTRACTS: Final = Path(__file__).resolve().parents[2] / "cmc_mcp" / "contracts" / "v1"
CALLERS: Final = {
    "acme": (Caller("alice", "acme"), Caller("amir", "acme")),
    "globex": (Caller("bob", "globex"), Caller("alice", "globex")),  # the same name is another person there
}
Path_ = tuple[str, ...]

# few enough that both say the same things again and again: equal contents have equal ids
_TEXTS: Final = (
    "The deploy target of the shop is Fly.io",
    "The deploy target of the shop is Heroku",
    "Maya prefers tea in the morning",
    "Maya prefers coffee in the morning",
    "The database password rotates every thirty days",
    "Bo said that the release train leaves on Friday",
    *(
        "A long account of the outage: " + f"the queue filled and worker {n} stood still, " * 12 for n in (1, 2)
    ),  # objects
)
_DOCUMENTS: Final = tuple(
    f"# Plan\n\n{_TEXTS[0]}.\n\n## {name}\n\n{_TEXTS[2]}.\n\nStep {name} comes {order}.\n"
    for name, order in (("Build", "first"), ("Test", "second"), ("Ship", "last"))
)
_QUESTIONS: Final = (
    "where do we deploy the shop",
    "what does Maya prefer",
    "friday release",
    "password",
    "outage queue",
)
_ORIGINS: Final = ("docs/plan.md", "docs/notes.md")
_SESSIONS: Final = ("team/monday", "team/tuesday")
_SUBJECTS: Final = ("shop", "maya")
_KEYS: Final = ("key-1", "key-2", "key-3")
_LABELS: Final = ("before", "after")
_DATES: Final = ("2025-01-01", "2025-03-01", "2025-06-01")
_FOUND: Final = {
    "atom": re.compile(r"\batom_[0-9a-f]{32}\b"),
    "snapshot": re.compile(r"\bsnap_[0-9a-f]{16}\b"),
    "root": re.compile(r"\b[0-9a-f]{64}\b"),
    "gate": re.compile(r"\bgate_[0-9a-f]{32}\b"),
    "source id": re.compile(r"\bsrc_[0-9a-f]+\b"),
    "digest": re.compile(r'"digest": "([0-9a-f]{32})"'),
    "cursor": re.compile(r'"next_cursor": "([^"]+)"'),
    "transaction": re.compile(r'"transaction": (\d+)'),
    "time": re.compile(r'"recorded_at": "([^"]+)"'),
}
_KEPT: Final = 12


@dataclass
class Person:
    """One side: what it was told, by kind, and may tell again."""

    handles: dict[str, list[str]] = field(default_factory=dict)
    asked: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)  # what each cursor goes on from

    def learn(self, kind: str, handle: str) -> None:
        known = self.handles.setdefault(kind, [])
        if handle not in known:
            known.append(handle)
            del known[:-_KEPT]

    def hear(self, structure: Any) -> None:
        """Keep every handle of an answer."""
        text = json.dumps(structure, ensure_ascii=False)
        for kind, pattern in _FOUND.items():
            for handle in pattern.findall(text):
                self.learn(kind, handle)
                if kind == "atom":
                    self.learn("prefix", handle[: len("atom_") + 6])


def strings_of(schema: Mapping[str, Any]) -> Iterator[Path_]:
    """Yield the path of every string a schema takes; `*` is a member of a list, or a name or value of a map."""
    kinds = [schema, *schema.get("anyOf", ())]
    if any(kind.get("type") == "string" and "enum" not in kind for kind in kinds):
        yield ()
    for kind in kinds:
        for name, part in kind.get("properties", {}).items():
            yield from ((name, *rest) for rest in strings_of(part))
        if isinstance(kind.get("items"), dict):
            yield from (("*", *rest) for rest in strings_of(kind["items"]))
        if isinstance(kind.get("additionalProperties"), dict):
            yield ("*name",)
            yield from (("*value", *rest) for rest in strings_of(kind["additionalProperties"]))


def published() -> dict[str, dict[str, Any]]:
    """Return the schema of the arguments of every published tool."""
    return {path.stem: json.loads(path.read_text())["arguments"] for path in sorted(CONTRACTS.glob("*.json"))}


TARGETS: Final = (
    *((tool, path) for tool, schema in published().items() for path in strings_of(schema)),
    ("release", ("id",)),
    ("read_source", ("source",)),
    ("get", ("name",)),
    ("get", ("id",)),
)
"""Every place where a string is taken, of the tools and of what else can be called."""

KINDS: Final[tuple[str, ...]] = (
    *_FOUND,
    "prefix",
    "label",
    "key",
    "source",
    "session",
    "writer",
    "tag",
    "subject",
    "content",
    "entry",
)
"""What the other side may have that could be put there."""


_REFERENCES: Final = ("snapshot", "root", "label", "transaction", "time")
_FITTING: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("id", "ids", "derived_from"), ("atom", "prefix", "gate", "entry")),
    **dict.fromkeys(("as_of", "from", "to", "since"), _REFERENCES),
    **{name: (name,) for name in ("cursor", "digest", "source", "session", "writer", "content")},
    **{"idempotency_key": ("key",), "claim": ("subject",), "tags": ("tag",), "place": ("source",), "label": ("label",)},
}
ATTACKS: Final = random.Random(1).sample(
    [(tool, path, kind) for kind in KINDS for tool, path in TARGETS], len(KINDS) * len(TARGETS)
)
FITTING: Final = tuple((tool, path, kind) for tool, path, kind in ATTACKS if path and kind in _FITTING.get(path[0], ()))
"""Every pair of place and kind; and those in which the one is what the other takes, which are half of all tries."""


class Play:
    """One example: two lives and the attacks between them, all from one seed."""

    def __init__(self, folder: Path, reader: Reader, seed: str, first_attack: int) -> None:
        self.rng = random.Random(seed)
        self.worlds = Worlds(folder, CALLERS, reader)
        self.people = {side: Person() for side in CALLERS}
        self.tried = first_attack
        self.attacks: list[tuple[str, Path_, str]] = []

    def run(self, steps: int) -> None:
        """Live, attack, and look at everything at the end.

        Raises:
            Interference: an answer of one side depends on the other.
        """
        try:
            sides = list(CALLERS)
            self.rng.shuffle(sides)  # either may have the smaller number
            for side in sides:
                for _ in range(3):
                    self._remember(side)
                if self.rng.random() < 0.5:
                    self.call(side, "set_policy", {"name": "gate.min_confidence", "value": 0.5})
            for _ in range(steps):
                side = self.rng.choice(sides)
                roll = self.rng.random()
                if roll < 0.45:
                    self._attack(side)
                elif roll < 0.5:
                    self.rng.choice([self.worlds.shared, *self.worlds.alone.values()]).reopen()
                else:
                    self.rng.choice(self._WEIGHTED)(self, side)
            for side in sides:
                self._look(side)
        finally:
            self.worlds.close()

    # ------------------------------------------------------------------ an ordinary life
    def call(self, side: str, tool: str, arguments: Mapping[str, Any]) -> Any:
        """Make a call as anybody of a side, and keep what the answer names."""
        who = self.rng.randrange(len(CALLERS[side]))
        later = self.rng.choice((1, 1_000_000, 3_600_000_000))
        structure = self.worlds.call(side, tool, arguments, who=who, later_us=later)
        self.people[side].hear(structure)
        return structure

    def own(self, side: str, kind: str, otherwise: str) -> str:
        """Return a handle of one's own."""
        return self.rng.choice(self.people[side].handles.get(kind) or [otherwise])

    def _reference(self, side: str) -> str:
        return self.own(side, self.rng.choice(_REFERENCES), "0")

    def _remember(self, side: str) -> None:
        rng, person = self.rng, self.people[side]
        asked: dict[str, Any] = {"content": rng.choice(_TEXTS)}
        match rng.randrange(4):
            case 0:
                asked = {"content": rng.choice(_DOCUMENTS), "source": rng.choice(_ORIGINS), "title": "Plan"}
                person.learn("source", str(asked["source"]))
            case 1:
                asked |= {"session": rng.choice(_SESSIONS), "speaker": rng.choice(("Maya", "Bo"))}
                person.learn("session", str(asked["session"]))
        if rng.random() < 0.4:
            asked["tags"] = {"topic": rng.choice(("deploy", side))}
            person.learn("tag", asked["tags"]["topic"])
        if rng.random() < 0.3:
            asked["claim"] = {
                "subject": rng.choice((*_SUBJECTS, side)), "predicate": "is", "object": rng.choice(("x", "y")),
            }  # fmt: skip
            person.learn("subject", asked["claim"]["subject"])
        if rng.random() < 0.3:
            asked["valid_from"] = rng.choice(_DATES)
        if rng.random() < 0.3:
            asked["confidence"] = rng.choice((0.2, 0.8, 0.95))
        if rng.random() < 0.3:
            asked["idempotency_key"] = rng.choice((*_KEYS, f"key-{side}"))
            person.learn("key", asked["idempotency_key"])
        if rng.random() < 0.2 and person.handles.get("atom"):
            asked["derived_from"] = [self.own(side, "atom", "")]
        person.learn("content", asked["content"])
        self.call(side, "remember", asked)

    def _recall(self, side: str) -> None:
        asked: dict[str, Any] = {"query": self.rng.choice(_QUESTIONS), "limit": self.rng.choice((1, 2, 10))}
        asked["detail"] = self.rng.choice(("concise", "detailed"))
        if self.rng.random() < 0.3:
            asked |= {"explain": True, "around": 1}
        if self.rng.random() < 0.2:
            asked["as_of"] = self._reference(side)
        self._paged(side, "recall", asked)

    def _paged(self, side: str, tool: str, asked: dict[str, Any]) -> None:
        answer = self.call(side, tool, asked)
        if answer is not None and (cursor := answer.get("next_cursor")):
            asked = {name: value for name, value in asked.items() if name != "as_of"}
            self.people[side].asked[cursor] = (tool, asked)
            self.call(side, tool, {**asked, "cursor": cursor})

    def _revise(self, side: str) -> None:
        change: dict[str, Any] = self.rng.choice(
            (
                {"content": self.rng.choice(_TEXTS)},
                {"tags": {"topic": "revised"}},
                {"content": self.rng.choice(_TEXTS), "valid_from": self.rng.choice(_DATES)},
                {"valid_to": self.rng.choice(_DATES), "reason": "it ended"},
            )
        )
        self.call(side, "revise", {"id": self.own(side, "atom", "atom_0000"), **change})

    def _mark(self, side: str) -> None:
        outcome = self.rng.choice(("used", "right", "wrong"))
        self.call(side, "mark", {"ids": [self.own(side, "atom", "atom_0000")], "outcome": outcome})

    def _forget(self, side: str) -> None:
        selection: dict[str, Any] = self.rng.choice(
            (
                {"ids": [self.own(side, "atom", "atom_0000")]},
                {"ids": [self.own(side, "prefix", "atom_0000")]},
                {"tags": {"topic": "deploy"}},
                {"source": self.rng.choice(_ORIGINS)},
            )
        )
        if self.rng.random() < 0.3:
            self.call(side, "forget", selection)
            return
        plan = self.call(side, "forget", {**selection, "dry_run": True, "erase": True})
        if plan is not None:
            self.call(side, "forget", {**selection, "erase": True, "digest": plan["digest"]})

    def _snapshot(self, side: str) -> None:
        label = self.rng.choice((*_LABELS, f"{side} only"))
        self.people[side].learn("label", label)
        self.call(side, "snapshot", {"label": label, "force": self.rng.random() < 0.3})

    def _rollback(self, side: str) -> None:
        to = self._reference(side)
        asked: dict[str, Any] = self.rng.choice(
            ({"to": to}, {"writer": "alice"}, {"writer": "alice", "since": to}, {"source": self.rng.choice(_ORIGINS)})
        )
        plan = self.call(side, "rollback", {**asked, "dry_run": True})
        if plan is not None and self.rng.random() < 0.7:
            self.call(side, "rollback", {**asked, "digest": plan["digest"]})

    def _history(self, side: str) -> None:
        choices: tuple[dict[str, Any], ...] = (
            {"limit": 2},
            {"id": self.own(side, "atom", "atom_0000")},
            {"source": self.rng.choice(_ORIGINS)},
            {"source": self.rng.choice(_ORIGINS), "place": ""},
            {"from": self._reference(side)},
        )
        self._paged(side, "history", self.rng.choice(choices))

    def _verify(self, side: str) -> None:
        self.call(side, "verify", {"id": self.own(side, "atom", "atom_0000")})

    def _other(self, side: str) -> None:
        rng = self.rng
        entry = rng.choice(("1", side))
        self.people[side].learn("entry", entry)
        verb, asked = rng.choice(
            (
                ("quarantine", {}),
                ("set_policy", {"name": "gate.min_confidence", "value": rng.choice((None, 0.5))}),
                ("release", {"id": self.own(side, "gate", "gate_0000")}),
                ("put", {"name": "cards", "id": entry, "text": rng.choice(_TEXTS), "by": side}),
                ("get", {"name": "cards", "id": "1"}),
            )
        )
        self.call(side, verb, asked)
        for found in _FOUND["gate"].findall(self.worlds.shared.said):
            self.people[side].learn("gate", found)

    _WEIGHTED = (
        *(_remember,) * 5, _recall, _recall, _revise, _mark, _forget, _forget, _snapshot, _snapshot, _rollback, _rollback,
        _history, _history, _verify, _other, _other,
    )  # fmt: skip

    # ------------------------------------------------------------------ attacks
    def _attack(self, side: str) -> None:
        """Fill one argument with what only the other side was told."""
        (other,) = set(CALLERS) - {side}
        handles = self.people[other].handles | {"writer": [caller.principal for caller in CALLERS[other]]}
        pages = self.people[other].asked
        if pages and self.rng.random() < 0.1:
            self._go_on(side, *self.rng.choice(list(pages.items())))
            return
        while True:  # to the next for which there is something
            every = (FITTING, ATTACKS)[self.tried % 2]
            tool, path, kind = every[self.tried // 2 % len(every)]
            self.tried += 1
            if handles.get(kind):
                break
        self.call(side, tool, self._filled(side, tool, path, self.rng.choice(handles[kind])))
        self.attacks.append((tool, path, kind))

    def _go_on(self, side: str, cursor: str, question: tuple[str, dict[str, Any]]) -> None:
        """Ask the other's question and go on from its cursor: that holds nothing but numbers, and is refused no less."""
        tool, asked = question
        if self.call(side, tool, {**asked, "cursor": cursor}) is not None:
            raise Interference(f"{side} went on from another's cursor with {tool} {asked}")

    def _filled(self, side: str, tool: str, path: Path_, handle: str) -> dict[str, Any]:
        """Return arguments that would do, one of them replaced."""
        own = self.own(side, "atom", "atom_0000")
        usual: dict[str, dict[str, Any]] = {
            "remember": {"content": f"{side} was told something new"},
            "recall": {"query": self.rng.choice(_QUESTIONS), "limit": 2},
            "revise": {"id": own, "tags": {"topic": "attacked"}},
            "mark": {"ids": [own], "outcome": "used"},
            "get": {"name": "cards", "id": "1"},
        }
        asked = dict(usual.get(tool, {}))
        if tool == "forget" and path[0] in ("reason", "digest"):
            asked["ids"] = [own]
        if tool == "forget" and path == ("digest",):
            asked["erase"] = True
        if tool == "rollback" and path[0] == "digest":
            asked["since"] = "0"
        if tool == "history" and path == ("place",):
            asked["source"] = _ORIGINS[0]
        if tool == "snapshot" and path == ("note",):
            asked["label"] = f"noted {self.tried}"
        return cast("dict[str, Any]", _put(asked, path, handle))

    # ------------------------------------------------------------------ at the end
    def _look(self, side: str) -> None:
        """Look at everything that can be seen of a side, what the other knows of included."""
        (other,) = set(CALLERS) - {side}
        mine, theirs = (self.people[s].handles for s in (side, other))
        self.worlds.call(side, "status", {})
        self.worlds.call(side, "history", {"limit": 200})
        self.worlds.call(side, "verify", {})
        self.worlds.call(side, "recall", {"query": self.rng.choice(_QUESTIONS), "detail": "detailed", "explain": True})
        for verb in ("sources", "quarantine", "calibration"):
            self.worlds.call(side, verb, {})
        for kind, uri in (("atom", "atoms"), ("snapshot", "snapshots"), ("label", "snapshots"), ("source", "sources")):
            for handles in (mine, theirs):
                if handles.get(kind) and self.rng.random() < 0.5:
                    self.worlds.read(side, f"cmc://{uri}/{handles[kind][-1]}")


def _put(holder: Any, path: Path_, handle: str) -> Any:
    """Return a value with a handle at a path, made as far as it is not there."""
    if not path:
        return handle
    name, *rest = path
    if name == "*":
        return [_put(None, tuple(rest), handle)]
    if name == "*name":
        return {handle: "x"}
    if name == "*value":
        return {"topic": _put(None, tuple(rest), handle)}
    held = dict(holder or {})
    if name in ("subject", "predicate", "object"):
        held = {"subject": "s", "predicate": "p", "object": "o", **held}
    held[name] = _put(held.get(name), tuple(rest), handle)
    return held


__all__ = ["ATTACKS", "CALLERS", "FITTING", "KINDS", "TARGETS", "Play", "Reader", "published"]
