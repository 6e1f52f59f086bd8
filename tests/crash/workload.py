"""Operations of every kind, drawn from a seed, each named by its phase."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmc_mcp.cli.importing import Importer
from cmc_mcp.errors import Conflict
from cmc_mcp.model.entries import Entry
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location
from tests.crash.subject import SIGNING_KEY, Answer, Subject
from tests.support import reach

_WORDS = ("deploy", "region", "backup", "budget", "invoice", "retry", "queue", "metric", "owner", "policy")
_MARK = re.compile(rb"q[0-9a-f]+x[0-9]+q")


@dataclass(frozen=True)
class Operation:
    """One call: how many transactions it makes at most, and what it remembers under a key, if it does."""

    phase: str
    call: Callable[[], object]
    most: int = 1
    asked: dict[str, Any] | None = None
    gone: tuple[str, ...] = ()

    def run(self, subject: Subject) -> Answer | None:
        """Do it; None where it was refused, since the plan no longer holds."""
        try:
            said = self.call()
        except Conflict:
            return None
        return Answer(*subject.head(), self.gone, said if isinstance(said, str) else "")


class Workload:
    """Draws operations. Every text has a word that occurs nowhere else."""

    def __init__(self, rng: random.Random, tag: str) -> None:
        self._rng, self._tag, self._number, self._texts = rng, tag.encode().hex(), 0, 0

    def next(self, subject: Subject, phase: str | None = None) -> Operation:
        """Draw the next operation, of a phase if one is asked for; what has no target yet remembers something."""
        self._number += 1
        if phase is None:
            phase = self._rng.choice(PHASES)
        made: Operation | None = getattr(self, f"_{phase}")(subject)
        return made or self._remember(subject)

    def _text(self, words: int) -> str:
        self._texts += 1
        return f"q{self._tag}x{self._texts}q " + " ".join(self._rng.choice(_WORDS) for _ in range(words))

    def _target(self, subject: Subject) -> str | None:
        live = subject.live()[-30:]
        return self._rng.choice(live) if live else None

    # ------------------------------------------------------------------ writing
    def _remember(self, subject: Subject) -> Operation:
        asked = {
            "content": self._text(8),
            "tags": {"topic": self._rng.choice(_WORDS)},
            "idempotency_key": f"{self._tag}-{self._number}",
        }
        return Operation("remember", lambda: subject.memory.remember(**asked), asked=asked)

    def _object(self, subject: Subject) -> Operation:
        asked = {"content": self._text(120), "idempotency_key": f"{self._tag}-{self._number}"}
        return Operation("object", lambda: subject.memory.remember(**asked), asked=asked)

    def _document(self, subject: Subject) -> Operation:
        """A document of a few sources, so that it is often a new version; its nodes have vectors too."""
        source = f"doc:{self._number % 3}"
        text = f"# Plan\n\nThe plan of {source} stays.\n\n## Now\n\n{self._text(9)}\n\n{'it is long ' * 30}{self._number}\n"
        return Operation("document", lambda: subject.memory.remember(text, source=source, media_type="text/markdown"))

    def _pending(self, subject: Subject) -> Operation:
        text = f"unembedded {self._text(6)}"
        return Operation("pending", lambda: subject.memory.with_embedder(None).remember(text))

    def _embed(self, subject: Subject) -> Operation:
        """Vectors for what waits for them; where nothing does, something that will."""
        if not subject.memory.status()["pending"]:
            return self._pending(subject)
        return Operation("embed", lambda: subject.memory.embed_pending() and None, most=2)

    def _import(self, subject: Subject) -> Operation:
        """A new version of one source thrice, which makes three transactions of a chunk."""
        texts = [f"{self._text(7)} {part}" for part in range(3)]

        def call() -> None:
            importer = Importer(subject.memory, {"batch": str(self._number)})
            for text in texts:
                importer.add({"content": text, "source": f"file:{self._number % 4}"})
            importer.flush()

        return Operation("import", call, most=3)

    def _entries(self, subject: Subject) -> Operation:
        entries = [Entry(f"e{n}", f"{self._text(5)} {n}", {"n": self._number}) for n in range(3)]
        return Operation("entries", lambda: subject.memory.collection("box").put(entries, gone=["e9"]) and None)

    def _revise(self, subject: Subject) -> Operation | None:
        target, tags = self._target(subject), {"topic": self._rng.choice(_WORDS), "n": str(self._number)}
        return target and Operation("revise", lambda: subject.memory.revise(target, tags=tags))  # type: ignore[return-value]

    def _mark(self, subject: Subject) -> Operation | None:
        target, outcome = self._target(subject), self._rng.choice(["used", "right", "wrong"])
        return target and Operation("mark", lambda: subject.memory.mark(target, outcome))  # type: ignore[return-value]

    def _policy(self, subject: Subject) -> Operation:
        value = self._rng.choice([None, 0.0])
        return Operation("policy", lambda: subject.memory.set_policy("gate.min_confidence", value))

    # ------------------------------------------------------------------ history
    def _snapshot(self, subject: Subject) -> Operation:
        label = f"{self._tag}-label-{self._number}"
        return Operation("snapshot", lambda: subject.memory.snapshot(label) and None)

    def _rollback(self, subject: Subject) -> Operation:
        seq, _ = subject.head()
        target = self._rng.randint(max(0, seq - 12), seq)
        return Operation("rollback", lambda: subject.memory.rollback(target))

    def _undo(self, subject: Subject) -> Operation:
        seq, _ = subject.head()
        since, topic = max(0, seq - 8), self._rng.choice(_WORDS)
        return Operation("undo", lambda: subject.memory.rollback(since=since, tags={"topic": topic}))

    def _forget(self, subject: Subject) -> Operation | None:
        target = self._target(subject)
        return target and Operation("forget", lambda: subject.memory.forget(target, reason="no longer so"))  # type: ignore[return-value]

    def _erase(self, subject: Subject) -> Operation | None:
        target = self._target(subject)
        if target is None:
            return None
        plan = subject.memory.forget(target, erase=True, dry_run=True)
        return Operation(
            "erase",
            lambda: subject.memory.forget(target, erase=True, digest=plan.digest),
            gone=marks_of(subject, target),
        )

    def _checkpoint(self, subject: Subject) -> Operation | None:
        """Sign the head, and write the log back into the file."""
        if not subject.head()[0]:
            return None

        def call() -> str:
            note = subject.memory.checkpoint(SIGNING_KEY).checkpoint
            with subject.store.reader(subject.ws) as view:
                erasure_count = view.erasure_count()
            subject.store.scrub(subject.ws, erasure_count)
            return note

        return Operation("checkpoint", call, most=0)


PHASES = tuple(
    name.removeprefix("_")
    for name in vars(Workload)
    if name not in ("_text", "_target") and re.fullmatch("_[a-z]+", name)
)
"""Every kind of operation."""


def marks_of(subject: Subject, id: str) -> tuple[str, ...]:
    """The words of a memory that occur nowhere else."""
    from cmc_mcp.history.references import resolve_atom

    with subject.store.reader(subject.ws) as view:
        row = view.atom(resolve_atom(view, id))
        assert row is not None
        payload = view.payload_row(row.content)
    body = payload.body if payload.body is not None else reach.objects(subject.memory).get(subject.ws, payload.hash)
    return tuple(word.decode() for word in _MARK.findall(body))


def take_back(path: Path, rng: random.Random) -> None:
    """Take a store back to an older format, so that the next opening migrates it."""
    last = MIGRATIONS[-1].number
    migrate.down(Location(path), rng.randint(1, last - 1))
