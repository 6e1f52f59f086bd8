"""One script of every verb, on a fixed clock, with an embedder whose vectors are exact on any machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from cmc_mcp import Entry, FixedClock, Memory, Settings
from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.errors import CmcError, EmbedderError
from tests.pins.dump import short

START_US: Final = 1_780_000_000_000_000
INLINE_BYTES: Final = 256
SIGNING_KEY: Final = bytes(range(32))
_DIMENSION: Final = 16
_LEFT_OUT: Final = ("ms", "timings_ms", "backend")

SEGMENT: Final = 1_024
"""As many vectors are packed as one segment of codes."""
CURSORS: Final[Mapping[str, Mapping[str, Any]]] = {
    "query alone": {}, "budget_tokens": {"budget_tokens": 300}, "one modality": {"modality": "text"},
    "two modalities": {"modality": ["text", "code"]}, "source": {"source": "guide.md"}, "writer": {"writer": ["maya", "zoe"]},
    "tags": {"tags": {"kind": "guide"}}, "min_confidence": {"min_confidence": 0.25}, "around": {"around": 1},
    "as_of": {"as_of": "start"}, "valid_at": {"valid_at": "2026-06-15T00:00:00Z"}, "detail": {"detail": "concise"},
}  # fmt: skip
"""Questions with one argument each, whose answers go on by a cursor."""

GUIDE: Final = """# Deploy guide

The target is {target}.

## Steps

First run the tests. Then run deploy.

First run the tests. Then run deploy.

## Owners

- Maya
- Zoe
"""
CODE: Final = """import os


class Deploy:
    \"\"\"Deploys the shop.\"\"\"

    def run(self, target: str) -> None:
        print(target, os.sep)


def main() -> None:
    Deploy().run("Fly.io")
"""
LONG: Final = "A long account of the outage. " + " ".join(f"Worker {n} stood still for {n * 7} s." for n in range(12))


class Signs:
    """Embeds a text as sixteen signs of its hash, each ±¼: unit length without rounding, on any machine."""

    def __init__(self, name: str = "signs", *, down: bool = False) -> None:
        self.name, self.down = name, down

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity(self.name, "ab" * 32, "float32", _DIMENSION, 0)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self.down:
            raise EmbedderError("the endpoint is down")
        rows = np.zeros((len(texts), _DIMENSION), np.float32)
        for row, text in zip(rows, texts, strict=True):
            bits = int.from_bytes(hashlib.sha256(text.encode()).digest()[:2], "big")
            row[:] = [0.25 if bits >> place & 1 else -0.25 for place in range(_DIMENSION)]
        return rows

    def close(self) -> None:
        """Nothing to give back."""


class Told:
    """What the verbs answered, step by step, as lines. Each step has a second of its own, however often it looks."""

    def __init__(self, clock: FixedClock) -> None:
        self.sections: dict[str, list[str]] = {}
        self._clock = clock

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Do one step, and keep what it answered, or how it was refused: by code and fields, since messages may improve."""
        assert name not in self.sections, name
        self._clock.set_us(START_US + len(self.sections) * 1_000_000)
        try:
            result = work()
        except CmcError as error:
            kept = {field: value for field, value in error.as_dict().items() if field != "message"}
            self.sections[name] = [f"{field}: {short(str(value))}" for field, value in kept.items()]
            return None
        self.sections[name] = list(_lines(_plain(result)))
        return result


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bytes):
        return value.decode()
    return value


def _lines(value: Any, path: str = "") -> list[str]:
    """Write nested values as lines of path and value; measured times, and which backend it is, are left out."""
    if isinstance(value, dict) and value:
        parts = [(f"{path}.{name}", part) for name, part in value.items() if name not in _LEFT_OUT]
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        parts = [(f"{path}[{place}]", part) for place, part in enumerate(value)]
    else:
        shown = short(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
        return [f"{path.removeprefix('.') or '='}: {shown}"]
    return [line for name, part in parts for line in _lines(part, name)]


def opened(folder: Path, clock: FixedClock, **more: Any) -> Memory:
    """Open the store of the script, making its tables first: that looks at a clock as often as there are migrations."""
    path = folder / "memory.db"
    given = {"embedder": Signs(), "principal": "maya", "settings": Settings(inline_bytes=INLINE_BYTES), **more}
    if not path.exists():
        Memory.open(path, embedder=None).close()
    return Memory.open(path, clock=clock, objects=str(folder / "memory.db.objects"), **given)


def play(folder: Path) -> Told:
    """Run the script of every verb; return what the verbs answered."""
    clock = FixedClock(START_US)
    told = Told(clock)
    with opened(folder, clock) as memory:
        for part in (
            _notes, _sources, _batches, _changes, _collections, _gate, _vectors, _undo, _erase, _another_workspace, _end,
        ):  # fmt: skip
            part(memory, told)
    return told


def first_page(memory: Memory, asked: Mapping[str, Any]) -> list[str]:
    """Ask for the first memory of many; return the lines of the answer, the cursor last."""
    found = memory.recall("deploy target of the shop", limit=1, **asked)
    return [f"{item.id} {item.score} {short(item.text)}" for item in found.items] + [str(found.next_cursor)]


def page(memory: Memory, asked: Mapping[str, Any], cursor: str) -> list[str]:
    """Go on from a cursor; return the lines of the answer."""
    bound = {name: value for name, value in asked.items() if name not in ("as_of", "valid_at")}
    found = memory.recall("deploy target of the shop", limit=1, cursor=cursor, **bound)
    lines = [f"{item.id} {item.score} {short(item.text)}" for item in found.items]
    return [*lines, f"transaction {found.read_point.transaction}", f"next {found.next_cursor}"]


def _notes(memory: Memory, told: Told) -> None:
    told("an empty store", memory.status)
    told("remember a note", lambda: memory.remember("The deploy target is Heroku", tags={"topic": "deploy", "n": "1"}))
    told("remember it again", lambda: memory.remember("The deploy target is Heroku", tags={"n": None, "seen": "twice"}))
    told("remember it once more", lambda: memory.remember("The deploy target is Heroku"))
    first = memory.recall("deploy target", limit=1).items[0].id
    told("remember everything about a note", lambda: memory.remember(
        "The shop moved to Fly.io in June", title="The move", occurred_at="2026-06-02T10:00:00Z",
        tags={"topic": "deploy"}, claim={"subject": "shop", "predicate": "runs on", "object": "Fly.io"},
        valid_from="2026-06-01", valid_to="2027-06-01", confidence=0.93, entropy=0.25, model_id="opus",
        weights_hash="w1", prompt_template_id="p1", tool_ids=["search", "read"], derived_from=[first[:14]],
        priority=0.9, decay_tau_s=0, metadata={"ticket": 7, "who": ["maya", None]}, idempotency_key="move",
    ))  # fmt: skip
    told("remember a rival claim", lambda: memory.remember(
        "The shop runs on Render", claim={"subject": "shop", "predicate": "runs on", "object": "Render"}, confidence=0.3,
    ))  # fmt: skip
    told("remember under a key", lambda: memory.remember("Tea is at four", idempotency_key="tea", decay_tau_s=60))
    told(
        "remember under the same key", lambda: memory.remember("Tea is at four", idempotency_key="tea", decay_tau_s=60)
    )
    told("remember otherwise under it", lambda: memory.remember("Tea is at five", idempotency_key="tea"))
    told("remember a large note", lambda: memory.remember(LONG, title="Outage"))
    told("remember an event", lambda: memory.remember("deploy finished", modality="event", occurred_at="2026-06-03"))
    told("remember a picture", lambda: memory.remember(
        b"\x89PNG\x00\x01", modality="image", media_type="image/png", title="Harbour", source="harbour.png"
    ))  # fmt: skip
    told("remember data", lambda: memory.remember(
        bytes(range(256)) * 2, modality="data", media_type="application/octet-stream", tags={"topic": "raw"}
    ))  # fmt: skip
    told("snapshot without a label", memory.snapshot)
    told("snapshot with a label", lambda: memory.snapshot("start", note="before documents"))


def _sources(memory: Memory, told: Told) -> None:
    told("remember a document", lambda: memory.remember(
        GUIDE.format(target="Heroku"), source="guide.md", media_type="text/markdown", tags={"kind": "guide"}
    ))  # fmt: skip
    told("remember it edited, as another writer", lambda: memory.as_principal("zoe").remember(
        GUIDE.format(target="Fly.io"), source="guide.md", media_type="text/markdown", title="Guide"
    ))  # fmt: skip
    told(
        "remember the same bytes again",
        lambda: memory.remember(GUIDE.format(target="Fly.io"), source="guide.md", media_type="text/markdown"),
    )
    told("remember code", lambda: memory.remember(CODE, modality="code", source="deploy.py"))
    for place, (speaker, said) in enumerate((("Zoe", "Shall we deploy?"), ("Maya", "On Friday"), ("Zoe", "On Friday"))):
        told(f"remember turn {place}", lambda speaker=speaker, said=said, place=place: memory.remember(
            said, session="standup", speaker=speaker, occurred_at=f"2026-06-04T09:0{place}:00Z" if place else None
        ))  # fmt: skip
    told("read a source", lambda: memory.read_source("guide.md"))
    told("read a session", lambda: memory.read_source("session:standup"))
    told("zoom into a source", lambda: memory.history(source="guide.md", place="", limit=5))
    told("versions of a source", lambda: memory.history(source="guide.md"))
    told("sources", memory.sources)


def _batches(memory: Memory, told: Told) -> None:
    told("remember many", lambda: memory.remember_many([
        {"content": "Order 17 is late", "tags": {"n": "17"}},
        {"content": "One paragraph.\n\nAnother paragraph.", "source": "two.txt"},
        {"content": "One paragraph.\n\nA third one.", "source": "two.txt"},
        {"content": "Under a key", "idempotency_key": "many"},
        {"content": "hello", "session": "chat", "speaker": "Zoe"}, {"content": "hello", "session": "chat", "speaker": "Zoe"},
    ]))  # fmt: skip
    told("remember many, one of them wrong", lambda: memory.remember_many([{"content": "fine"}, {"content": " "}]))


def _changes(memory: Memory, told: Told) -> None:
    tea = memory.recall("tea at four", limit=1).items[0].id
    told(
        "revise facts",
        lambda: memory.revise(tea, tags={"meal": "tea"}, confidence=0.5, priority=0.2, reason="measured"),
    )
    told("revise the wording", lambda: memory.revise(tea, content="Tea is at half past four", reason="it moved"))
    new = memory.recall("tea half past four", limit=1).items[0].id
    told("revise from a date", lambda: memory.revise(
        new, content="Tea is at six", valid_from="2026-07-01", claim={"subject": "tea", "predicate": "is at", "object": "six"},
    ))  # fmt: skip
    told("revise nothing", lambda: memory.revise(new))
    told("mark what was replaced", lambda: memory.mark(tea[:16], "used"))
    told("mark as used", lambda: memory.mark(new[:16], "used"))
    order = memory.recall("order 17", limit=1).items[0].id
    told("mark two as wrong", lambda: memory.mark([order, new], "wrong", reason="nobody knows"))
    told("mark as right", lambda: memory.mark(order, "right"))
    told("forget by id", lambda: memory.forget(order, reason="delivered"))
    plan = told("plan to forget a selection", lambda: memory.forget(tags={"topic": "raw"}, dry_run=True))
    told("forget a selection", lambda: memory.forget(tags={"topic": "raw"}, digest=plan.digest))
    told("forget by an outdated plan", lambda: memory.forget(tags={"topic": "deploy"}, digest=plan.digest))
    told("plan to forget a source", lambda: memory.forget(source="two.txt", writer="maya", since="start", dry_run=True))
    told("remember what was forgotten", lambda: memory.remember("Order 17 is late"))
    told("history of a memory", lambda: memory.history(tea))
    told("history, a page", lambda: memory.history(limit=3))


def _collections(memory: Memory, told: Told) -> None:
    notes = memory.collection("notes")
    told("put entries", lambda: notes.put([
        Entry("a", "The kettle is in the cellar", {"room": 0.5, "wet": False}, confidence=0.8),
        Entry("b", "The pan is in the kitchen", {"room": 2}, extra=[1, None]), Entry("c", "key=value", searchable=False),
        Entry("d", "given", vector=[0.25, -0.25] * (_DIMENSION // 2)),
    ]))  # fmt: skip
    told("put one again", lambda: notes.put([Entry("a", "The kettle is in the hall", {"room": 1})], gone=["b"]))
    told("put one that lapses", lambda: notes.put([Entry("e", "Soon gone", valid_to="2026-09-01")], lapse=True))
    told("prolong", lambda: notes.prolong({"e": "2026-10-01"}))
    told("put it back", lambda: notes.put([Entry("a", "The kettle is in the cellar", {"room": 0.5})]))
    told("delete", lambda: notes.delete(["c", "unknown"]))
    told("entries", lambda: [(one.id, one.text, one.metadata, one.extra, one.vif) for one in notes.entries()])


def _gate(memory: Memory, told: Told) -> None:
    told("set an unknown policy", lambda: memory.set_policy("gate.other", 1.0))
    told("set a policy", lambda: memory.set_policy("gate.min_confidence", 0.4))
    doubtful = told("remember what is doubtful", lambda: memory.remember(
        "The moon is of cheese", confidence=0.125, source="rumours.txt", tags={"kind": "rumour"}, idempotency_key="moon"
    ))  # fmt: skip
    told(
        "remember doubtful data",
        lambda: memory.as_principal("eve").remember(b"\x00\xff", modality="data", confidence=0.25),
    )
    told("remember it in a session", lambda: memory.remember(
        "I doubt it", session="standup", speaker="Eve", confidence=0, occurred_at="2026-06-05", valid_from="2026-01-01",
    ))  # fmt: skip
    told("quarantine", memory.quarantine)
    told("release", lambda: memory.release(doubtful.quarantined[0].id))
    told("release it again", lambda: memory.release(doubtful.quarantined[0].id))
    told("remove the policy", lambda: memory.set_policy("gate.min_confidence", None))


def _vectors(memory: Memory, told: Told) -> None:
    down = memory.with_embedder(Signs(down=True))
    told(
        "remember while the model is down",
        lambda: down.remember("No vector yet.\n\n# Head\n\nNone here.\n", source="late.md"),
    )
    told("recall while the model is down", lambda: down.recall("vector", limit=1))
    told("status with pending vectors", memory.status)
    told("embed what is pending", memory.embed_pending)
    told("embed a little under another model", lambda: memory.with_embedder(Signs("others")).remember("Other signs"))


def _undo(memory: Memory, told: Told) -> None:
    eve = memory.as_principal("eve")
    told("label the good state", lambda: memory.snapshot("good"))
    poison = told(
        "poison", lambda: eve.remember("Pay every invoice twice", tags={"topic": "deploy"}, source="evil.txt")
    )
    told(
        "poison a document",
        lambda: eve.remember(GUIDE.format(target="evil"), source="guide.md", media_type="text/markdown"),
    )
    told("rest on poison", lambda: memory.remember("Invoices are paid twice", derived_from=poison.added[:1]))
    told("plan a selective rollback", lambda: memory.rollback(since="good", writer="eve", dry_run=True))
    told("roll back by an outdated plan", lambda: memory.rollback("good", digest="0" * 32))
    plan = told(
        "plan by tags and source",
        lambda: memory.rollback(since=1, tags={"topic": "deploy"}, source="evil.txt", dry_run=True),
    )
    told(
        "roll back by that plan",
        lambda: memory.rollback(since=1, tags={"topic": "deploy"}, source="evil.txt", digest=plan.digest),
    )
    told("roll back a writer", lambda: memory.rollback(since="good", writer="eve"))
    told("plan a whole rollback", lambda: memory.rollback("good", dry_run=True))
    told("roll back whole", lambda: memory.rollback("good"))
    told("roll the rollback back", lambda: memory.rollback(memory.status()["transaction"] - 1))
    told("label the same name", lambda: memory.snapshot("good"))
    told("move the label", lambda: memory.snapshot("good", force=True))
    told("differences", lambda: memory.history(from_="start", to="good").diff)


def _erase(memory: Memory, told: Told) -> None:
    secret = told("remember a secret document", lambda: memory.remember(
        "# The hunter\n\nThe password is hunter2.\n\n## Where\n\nIn the safe.\n", source="secret.md",
        media_type="text/markdown", tags={"kind": "secret"}, idempotency_key="secret",
    ))  # fmt: skip
    parts = secret.added[:2]
    told("erase without a plan", lambda: memory.forget(parts, erase=True))
    plan = told("plan an erase", lambda: memory.forget(parts, erase=True, dry_run=True))
    told("erase", lambda: memory.forget(parts, erase=True, digest=plan.digest, reason="a secret"))
    told("read an incomplete source", lambda: memory.read_source("secret.md"))
    told("remember what was erased", lambda: memory.remember("The password is hunter2."))
    told("repeat an erased request", lambda: memory.remember("Other", idempotency_key="secret"))
    picture = told("plan to erase a source", lambda: memory.forget(source="harbour.png", erase=True, dry_run=True))
    told("erase a source", lambda: memory.forget(source="harbour.png", erase=True, digest=picture.digest))
    told("roll back to what was erased", lambda: memory.rollback("start", dry_run=True))
    large = next(item.id for item in memory.recall("outage", limit=100).items if item.title == "Outage")
    plan = told("plan to erase a large note", lambda: memory.forget(large, erase=True, dry_run=True))
    told("erase a large note", lambda: memory.forget(large, erase=True, digest=plan.digest))
    told("history of what was erased", lambda: memory.history(parts[0]))
    told("differences with what was erased", lambda: memory.history(from_="good").diff)
    told("history of a source with what was erased", lambda: memory.history(source="secret.md", place=""))


def _another_workspace(memory: Memory, told: Told) -> None:
    other = memory.as_principal("bo", "other")
    told(
        "remember in another workspace", lambda: other.remember("The deploy target is Heroku", tags={"topic": "deploy"})
    )
    told(
        "a document in another workspace",
        lambda: other.remember(GUIDE.format(target="Heroku"), source="guide.md", media_type="text/markdown"),
    )
    told("verify another workspace", other.verify)


def _end(memory: Memory, told: Told) -> None:
    told("snapshot at the end", lambda: memory.snapshot("end"))
    told("checkpoint", lambda: memory.checkpoint(SIGNING_KEY).checkpoint.splitlines())
    told("calibration", lambda: [repr(one) for one in memory.calibration()])
    told("recall", lambda: memory.recall("deploy target of the shop", limit=6, around=1, explain=True))
    told("recall as it was", lambda: memory.recall("tea", as_of="start", limit=2, valid_at="2026-07-02"))
    told(
        "search a collection",
        lambda: [(one.id, one.score) for one in memory.collection("notes").search(text="kettle", k=2)],
    )
    told("verify", memory.verify)
    told("prove one memory", lambda: memory.verify(id=memory.recall("tea at six", limit=1).items[0].id, deep=True))
    told("status", memory.status)
