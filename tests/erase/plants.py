"""Where a word can be planted: each function writes it somewhere, and gives the memories that hold it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from zlib import crc32

from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry

Plant = Callable[[Memory, str], Sequence[str]]
LARGE = 4_000
"""The bytes of a text that goes to the object store, where the bound is `INLINE_BYTES`."""
INLINE_BYTES = 1_024


def _plain(**arguments: object) -> Plant:
    """Plant it with `remember`: `{}` in any text stands for the word."""

    def filled(value: object, word: str) -> object:
        if isinstance(value, str):
            return value.replace("{}", word)
        if isinstance(value, dict):
            return {filled(name, word): filled(part, word) for name, part in value.items()}
        if isinstance(value, bytes):
            return value.replace(b"{}", word.encode())
        return value

    def plant(memory: Memory, word: str) -> Sequence[str]:
        return memory.remember(**filled(arguments, word)).added  # type: ignore[arg-type]

    return plant


def _holding(memory: Memory, ids: Sequence[str], word: str) -> list[str]:
    return [id for id in ids if word in memory.history(id).model_dump_json()]


def _paragraph(memory: Memory, word: str) -> Sequence[str]:
    text = f"# Guide\n\nfirst words\n\nin the middle {word} stands\n\nlast words\n"
    return _holding(memory, memory.remember(text, source="guide.md").added, f"middle {word}")


def _heading(memory: Memory, word: str) -> Sequence[str]:
    text = f"# Guide\n\n## About {word}\n\nwords below\n\n### Deeper\n\nmore words\n\n## Other\n\nthe rest\n"
    added = memory.remember(text, source="headed.md").added
    return [id for id in added if word in (memory.history(id).memory or _none()).text]


def _versions(memory: Memory, word: str) -> Sequence[str]:
    first = memory.remember(f"kept\n\nold {word}\n", source="versioned.md").added
    second = memory.remember(f"kept\n\nnew {word}\n", source="versioned.md").added
    memory.remember("kept\n", source="versioned.md")
    return [*first[1:], *second]


def _function(memory: Memory, word: str) -> Sequence[str]:
    code = f"def near():\n    return 1\n\n\ndef f_{word}():\n    return '{word}'\n\n\nclass C:\n    x = 1\n"
    added = memory.remember(code, modality="code", source="near.py").added
    return [id for id in added if word in (memory.history(id).memory or _none()).text]


def _turns(memory: Memory, word: str) -> Sequence[str]:
    memory.remember("hello", session="talk", speaker="ana")
    out = memory.remember(f"it is {word}", session="talk", speaker="bo").added
    memory.remember("fine", session="talk", speaker="ana")
    return out


def _superseded(memory: Memory, word: str) -> Sequence[str]:
    first = memory.remember(f"the code is {word}", tags={"a": word}).added
    second = memory.revise(first[0], content=f"the code was {word}", reason=f"since {word}").added
    third = memory.revise(second[0], content="no code any more").added  # it has the tag still
    return [*first, *second, *third]


def _rolled_back(memory: Memory, word: str) -> Sequence[str]:
    before = memory.snapshot().transaction
    out = memory.remember(f"to be undone {word}", title=f"T {word}").added
    memory.rollback(before)
    return out


def _forgotten(memory: Memory, word: str) -> Sequence[str]:
    out = memory.remember(f"to be forgotten {word}").added
    memory.forget(out, reason=f"because {word}")
    return out


def _twins(memory: Memory, word: str) -> Sequence[str]:
    memory.remember(f"twin {word}")
    memory.remember(f"twin {word}", session="twins")
    return memory.remember(f"twin {word}\n\nand more\n", source="twins.md").added[:1]


def _keyed(memory: Memory, word: str) -> Sequence[str]:
    memory.remember("the rival", claim={"subject": "app", "predicate": "on", "object": "H"})
    claim = {"subject": "app", "predicate": "on", "object": word}
    return memory.remember(
        "the keyed", claim=claim, source=f"s {word}", idempotency_key=f"key-{crc32(word.encode())}"
    ).added  # type: ignore[arg-type]


def _key_named(memory: Memory, word: str) -> Sequence[str]:
    return memory.remember("under a key", idempotency_key=f"key {word}").added


def _kept_back(memory: Memory, word: str) -> Sequence[str]:
    out = memory.remember(f"doubted {word}", confidence=0.9).added
    memory.set_policy("gate.min_confidence", 0.5)
    memory.remember(f"doubted {word}", confidence=0.1, tags={"t": word}, source=f"s{word}.md")
    memory.set_policy("gate.min_confidence", None)
    return out


def _released(memory: Memory, word: str) -> Sequence[str]:
    memory.set_policy("gate.min_confidence", 0.5)
    kept = memory.remember(f"released {word}", confidence=0.1, tags={"t": word}).quarantined
    out = memory.release(kept[0].id).added
    memory.set_policy("gate.min_confidence", None)
    return out


def _entry(memory: Memory, word: str) -> Sequence[str]:
    things = memory.collection("things")
    things.put([Entry("near", "a near entry", {"n": 1})])
    receipts = things.put(
        [Entry(f"id {word}", f"an entry {word}", {"where": word, f"k{word}": [word, {"deep": word}]})]
    )
    again = things.put([Entry(f"id {word}", f"another wording {word}", {"where": f"now {word}"})])
    return [*receipts[0].added, *again[0].added]


def _marked(memory: Memory, word: str) -> Sequence[str]:
    out = memory.remember(f"to be marked {word}").added
    memory.mark(out, "wrong", reason=f"it is {word}")
    return out


class _none:  # what `history` never gives of a live memory
    text = ""


BIG = "filling words " * (LARGE // 14)
PLANTS: dict[str, Plant] = {
    "note": _plain(content="the word is {} indeed"),
    "long note": _plain(content="a sentence about something. " * 20 + "{} " + "and a sentence after it. " * 20),
    "tag": _plain(content="tagged", tags={"secret": "{}"}),
    "tag name": _plain(content="tag named", tags={"{}": "x"}),
    "title": _plain(content="titled", title="About {}"),
    "claim": _plain(content="claimed", claim={"subject": "{}", "predicate": "p{}", "object": "not {}"}),
    "metadata": _plain(content="with metadata", metadata={"where": "{}", "{}": ["{}", {"in": "{}"}]}),
    "origin": _plain(content="from afar", source="file:///{}.md"),
    "speaker": _plain(content="spoken", session="s", speaker="{}"),
    "session": _plain(content="in a session", session="{}"),
    "document": _plain(content="# About {}\n\nfirst {}\n\n## And {}\n\nlast", source="whole.md"),
    "code": _plain(content="def f_{}():\n    return 1\n\n\ndef g():\n    return 2\n", modality="code", source="a.py"),
    "event": _plain(content=json.dumps({"key": "{}"}), modality="event"),
    "data": _plain(content=b"{}\n", modality="data", source="rows.csv"),
    "object": _plain(content="{} " + BIG, modality="event", title="{}"),
    "image": _plain(content=b"\x89PNG {}", modality="image", media_type="image/png", title="{}"),
    "large image": _plain(content=b"\x89PNG {}" + bytes(LARGE), modality="image", media_type="image/png"),
    "paragraph": _paragraph,
    "heading": _heading,
    "versions": _versions,
    "function": _function,
    "turns": _turns,
    "superseded": _superseded,
    "rolled back": _rolled_back,
    "forgotten": _forgotten,
    "twins": _twins,
    "keyed": _keyed,
    "key": _key_named,
    "kept back": _kept_back,
    "released": _released,
    "entry": _entry,
    "marked": _marked,
}
