"""What the fuzzer sends: values made from the published schemas, good, on the edge, and hostile.

Nothing here knows a tool: a new tool or argument is drawn for as soon as its schema is published. Names of arguments are
hints alone, so that a call hits what is there; an argument without one gets a bit of everything.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cmc_mcp import limits

Schema = Mapping[str, Any]
Arguments = dict[str, Any]
KEPT: Final = 48  # of each kind that answers told of

LENGTHS: Final = sorted(
    {n + d for name, n in vars(limits).items() if name.endswith("_CHARS_MAX") and n <= 8_192 for d in (-1, 0, 1)}
)
WORDS: Final = (
    *(
        "deploy",
        "Fly.io",
        "Heroku",
        "release",
        "on Friday",
        "Maya",
        "not",
        "budget",
        "2026",
        "moved to",
        "every",
        "30 days",
    ),
    *(
        a + b
        for a in ("bar", "cel", "dor", "fen", "gil", "har", "kes", "lum")
        for b in ("an", "bor", "dit", "eth", "ix", "ow")
    ),
)  # few of them in many memories: a question that everything answers costs most of the time
TIMES: Final = (
    "2026-06-01", "2026-06-01T09:00:00Z", "2026-06-01T09:00:00.123456+05:30", "2024-02-29", "1969-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1970-01-01", "2026-12-31T23:59:59-23:59",
)  # fmt: skip
BAD_TIMES: Final = (
    "2016-12-31T23:59:60Z", "0000-01-01", "0000-12-31T23:59:59Z", "10000-01-01", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", "2026-02-30", "2026-06-01T25:00:00Z", "2026-06-01T09:00:00", "2026-06-01T09:00:00+24:00",
    "2026-W23", "2026-152", "next Tuesday", "1780000000", "2026-06-01 09:00Z", "٢٠٢٦-٠٦-٠١", "-0001-01-01", "2026-06-01T",
    "2026-06-01T09:00:00.1234567891Z", "2026-06-01t09:00:00z", "+2026-06-01", "2026-6-1",
)  # fmt: skip
TEXTS: Final = (
    "", " ", "\n", "\t", "\u2003", "\0", "a\0b", "\ud800", "a\udfffb", "\ud83d\ude00", "\ufeff", "\u202eevil\u202c",
    "\u2066x\u2069", "\u200b", "z\u200bw\u200dj", "e" + "\u0301" * 300, "é", "e\u0301", "ﬁ", "İ", "ß", "🜁 ☃", "👩‍👩‍👧‍👦" * 20,
    "\x1b[31mred\x1b[0m", "\x1b]8;;http://x\x07y\x1b]8;;\x07", "\x85next", "\u2028line", "a\r\nb", "\x7f", "\x9b2J",
    "'; DROP TABLE atoms; --", '" OR ""="', "%", "_", "*", "NEAR(a, 2)", "text:deploy", "../../etc/passwd", "/dev/zero",
    "file:///etc/passwd", "http://169.254.169.254/", "{{task}}", "${HOME}", "$(id)", "%s%n%x", "{0.__class__}",
    "null", "true", "NaN", "Infinity", "[]", "{}", '{"a": 1}', "[[[[", '"', "\\", "\\u0000", "__proto__", "constructor",
    "atom_", "atom_zz", "snap_", "snap_zzzz", "-1", "0", "00", "1e3", "9" * 30, "٣", "１", "0x10", "CON", "nul.txt",
    "<script>", "</memory>", "```", "]]>", "\u0600" * 40, "\U000e0041\U000e0042", "A" * 65, "文" * 400,
)  # fmt: skip
NUMBERS: Final = (
    0, 1, -1, 2, 0.5, -0.0, 1.0, 1.0000000001, -1e-9, float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324,
    2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, 10**400, 3.7,
)  # fmt: skip
EDGES: Final = tuple(
    {
        n + d
        for name, n in vars(limits).items()
        if isinstance(n, int) and not isinstance(n, bool) and name.isupper()
        for d in (-1, 0, 1)
    }
)
HINTS: Final = {
    "id": "atom", "ids": "atom", "derived_from": "atom", "to": "state", "from": "state", "since": "state", "as_of": "state",
    "cursor": "cursor", "digest": "digest", "source": "origin", "place": "place", "writer": "writer", "label": "label",
    "session": "session", "valid_at": "time", "valid_from": "time", "valid_to": "time", "occurred_at": "time",
    "idempotency_key": "key", "content": "prose", "query": "words", "speaker": "name", "subject": "name",
    "predicate": "name", "object": "name", "media_type": "media", "reason": "words", "note": "words", "title": "words",
    "checkpoint": "checkpoint", "modality": "modality", "confidence": "share", "priority": "share", "min_confidence": "share",
}  # fmt: skip
_FOUND: Final = (
    ("atom", re.compile(r"atom_[0-9a-f]{32}\Z")),
    ("state", re.compile(r"snap_[0-9a-f]+\Z")),
    ("digest", re.compile(r"[0-9a-f]{32}\Z|[0-9a-f]{64}\Z")),
    ("time", re.compile(r"\d{4}-\d\d-\d\dT.*Z\Z")),
)


class Pool:
    """What earlier answers told of, by kind; the newest of each."""

    def __init__(self) -> None:
        self.kinds: dict[str, deque[Any]] = {}

    def add(self, kind: str, value: Any) -> None:
        """Keep one value."""
        self.kinds.setdefault(kind, deque(maxlen=KEPT)).append(value)

    def learn(self, answer: Any, name: str = "") -> None:
        """Keep every reference that an answer holds."""
        if isinstance(answer, dict):
            for key, part in answer.items():
                self.learn(part, key)
        elif isinstance(answer, list):
            for part in answer[:KEPT]:
                self.learn(part, name)
        elif isinstance(answer, str):
            kind = next((kind for kind, pattern in _FOUND if pattern.match(answer)), None)
            if kind or name in ("next_cursor", "source", "path", "writer", "label", "undo_with"):
                self.add(kind or {"next_cursor": "cursor", "source": "origin", "path": "place"}.get(name, name), answer)
        elif name == "transaction":
            self.add("state", str(answer))

    def take(self, rng: random.Random, kind: str) -> Any:
        """Return something of a kind, or None."""
        kept = self.kinds.get(kind)
        return rng.choice(kept) if kept else None


class Giver:
    """Draws arguments for a schema."""

    def __init__(self, rng: random.Random, pool: Pool) -> None:
        self.rng, self.pool = rng, pool
        self._good: dict[str, Callable[[], Any]] = {
            "prose": self._prose, "words": self._words, "name": lambda: rng.choice(WORDS), "share": lambda: rng.random(),
            "time": lambda: rng.choice(TIMES), "key": lambda: f"key-{rng.randrange(6)}",
            "label": lambda: f"label {rng.randrange(30)}", "session": lambda: f"team/{rng.randrange(3)}",
            "origin": lambda: f"doc:{rng.randrange(5)}", "media": lambda: rng.choice(MEDIA), "modality": lambda: "text",
            "state": lambda: rng.choice((f"label {rng.randrange(30)}", str(rng.randrange(40)), rng.choice(TIMES))),
            "writer": lambda: rng.choice(("fuzz", "eve", "nobody")), "place": lambda: rng.choice(("", "1", "1/2", "s1")),
        }  # fmt: skip

    # ------------------------------------------------------------------ a whole call
    def arguments(self, schema: Schema) -> Any:
        """Draw the arguments of one call: good ones, good ones with something broken, or anything."""
        roll = self.rng.random()
        if roll < 0.03:
            return self.hostile({"type": "object"}, "", 0)
        out = self._object(schema, self.rng.choice((0.0, 0.15, 0.4)))
        if roll < 0.50:
            return out
        for _ in range(1 if roll < 0.85 else self.rng.randint(2, 4)):
            self._break(out, schema)
        if roll > 0.97:  # some clients send lists and objects as text
            out = {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in out.items()}
        return out

    def _break(self, out: Arguments, schema: Schema) -> None:
        names = list(schema.get("properties", {}))
        how = self.rng.random()
        if how < 0.1 and out:
            del out[self.rng.choice(list(out))]
        elif how < 0.18:
            out[self.rng.choice(("limt", "colour", "from_", "workspace", "principal", *TEXTS))] = self.value({}, "", 0)
        elif names:
            name = self.rng.choice(names)
            out[name] = self.hostile(schema["properties"][name], name, 0)

    def _object(self, schema: Schema, share: float, depth: int = 0) -> Arguments:
        required = schema.get("required", ())
        return {
            name: self.value(part, name, depth + 1)
            for name, part in schema.get("properties", {}).items()
            if name in required or self.rng.random() < share
        }

    # ------------------------------------------------------------------ good values
    def value(self, schema: Schema, name: str, depth: int) -> Any:
        """Draw a value that fits."""
        if "enum" in schema:
            return self.rng.choice(schema["enum"]) if self.rng.random() < 0.5 else schema["enum"][0]
        if "const" in schema:
            return schema["const"]
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self.value(self.rng.choice(schema[several]), name, depth)
        kind = schema.get("type", self.rng.choice(("string", "integer", "boolean", "object", "array")))
        if kind == "string":
            return self.text(name)
        if kind == "boolean":
            return self.rng.random() < 0.3
        if kind == "integer":
            return self.rng.choice((0, 1, 2, 3, 5, 10, 50, 200, 2000))
        if kind == "number":
            return self.rng.random()
        if kind == "array":
            return [self.value(schema.get("items", {}), name, depth + 1) for _ in range(self.rng.randint(0, 3))]
        if "properties" in schema:
            return self._object(schema, 0.3, depth)
        part = schema.get("additionalProperties")
        named = part if isinstance(part, dict) else {"type": "string"}
        return {
            self.rng.choice(("topic", "project", "owner", "x.y:z")): self.value(named, "speaker", depth + 1)
            for _ in range(self.rng.randint(0, 2))
        }

    def text(self, name: str) -> str:
        """Draw a text that an argument of this name may well take."""
        kind = HINTS.get(name) or self.rng.choice((*HINTS.values(), "words"))
        told = self.pool.take(self.rng, kind) if self.rng.random() < 0.8 else None
        if told is None:
            return str(self._good.get(kind, self._words)())
        if kind == "atom" and self.rng.random() < 0.2:
            return str(told)[: self.rng.randint(7, 30)]  # a prefix
        return str(told)

    def _words(self) -> str:
        return " ".join(self.rng.choices(WORDS, k=self.rng.randint(1, 5)))

    def _prose(self) -> str:
        roll = self.rng.random()
        if roll < 0.06:
            return "\n\n".join(f"# {self._words()}\n\n{self._words()}." for _ in range(self.rng.randint(1, 6)))
        if roll < 0.09:
            return "aGVsbG8gd29ybGQ="
        if roll < 0.12:
            return json.dumps({"event": self._words(), "n": self.rng.randrange(9)})
        if roll < 0.14:
            return f"def f{self.rng.randrange(9)}(x):\n    return x + {self.rng.randrange(99)}\n"
        if roll < 0.142:
            return self._words() * self.rng.choice((30, 300, 6_000))
        return f"{self._words()} {self.rng.randrange(200)}"

    # ------------------------------------------------------------------ hostile values
    def hostile(self, schema: Schema, name: str, depth: int) -> Any:
        """Draw a value that is wrong, on an edge, or nearly right."""
        roll = self.rng.random()
        kind = schema.get("type")
        if roll < 0.06:
            return None
        if roll < 0.22:
            return self._other_kind(kind)
        if kind in ("integer", "number"):
            return self.rng.choice(EDGES if self.rng.random() < 0.5 else NUMBERS)
        if kind == "array" and roll < 0.9:
            part = schema.get("items", {})
            if roll < 0.3:
                return [self.value(part, name, depth + 1)] * self.rng.choice((64, 65, 256, 257, 1_000, 1_001))
            return [self.hostile(part, name, depth + 1), self.value(part, name, depth + 1)][: self.rng.randint(1, 2)]
        if kind == "object" and roll < 0.9:
            return self._hostile_object(schema, depth)
        return self._hostile_text(name)

    def _hostile_object(self, schema: Schema, depth: int) -> Any:
        if schema.get("properties"):
            out = self._object(schema, 0.5, depth)
            self._break(out, schema)
            return out
        if self.rng.random() < 0.1:
            return {f"tag{n}": "x" for n in range(self.rng.choice((64, 65, 500)))}
        values: Sequence[Callable[[], Any]] = (
            lambda: "x",
            lambda: self._hostile_text(""),
            lambda: self._other_kind(None),
        )
        return {self.rng.choice(("topic", *TEXTS)): self.rng.choice(values)() for _ in range(self.rng.randint(1, 3))}

    def _other_kind(self, kind: object) -> Any:
        deep: Any = "x"
        for _ in range(self.rng.choice((3, 40, 400))):
            deep = [deep] if self.rng.random() < 0.5 else {"a": deep}
        choices = [self.rng.choice(NUMBERS), True, False, [], {}, ["x"], {"a": 1}, "", "x", deep, [None], "[" * 5_000]
        return self.rng.choice(choices)

    def _hostile_text(self, name: str) -> str:
        roll = self.rng.random()
        good = self.text(name)
        if roll < 0.4:
            return self.rng.choice(TEXTS)
        if roll < 0.5:
            return self.rng.choice(BAD_TIMES)
        if roll < 0.6:
            return self.rng.choice("xé文") * self.rng.choice(LENGTHS)
        if roll < 0.602:
            return "x " * 400_000
        if roll < 0.75 and good:  # one character edited: a stale digest, a forged cursor, another id
            at = self.rng.randrange(len(good))
            return good[:at] + self.rng.choice("0f_ \0é") + good[at + 1 :]
        if roll < 0.85:
            return good[: self.rng.randrange(len(good) + 1)]
        return good + self.rng.choice(TEXTS)


MEDIA: Final = ("image/png", "audio/wav", "text/markdown", "text/x-python", "application/json", "text/plain")


def changed(arguments: Any, **more: Any) -> Any:
    """Return the same arguments with some others in their place; None takes one out."""
    out = copy.deepcopy(arguments)
    for name, value in more.items():
        out.pop(name, None)
        if value is not None:
            out[name] = value
    return out
