"""Digests that follow from arguments alone: requests, quarantine, settings, and what a cursor is bound to."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cmc_mcp import Settings
from cmc_mcp.model.facts import Claim
from tests.pins import doors

REMEMBER: Final[Mapping[str, Sequence[Any]]] = {
    "content": (b"bytes of text", "naïve 東京"),
    "modality": (None, "text", "code", "event"),
    "media_type": (None, "text/markdown"),
    "source": (None, "notes.md"),
    "session": (None, "standup"),
    "speaker": (None, "Zoe"),
    "title": (None, "A title"),
    "occurred_at": (None, "2026-06-01", "2026-06-01T10:00:00.5+02:00"),
    "tags": (None, {}, {"topic": "deploy", "n": ""}, {"topic": None}),
    "claim": (
        None, {"subject": "s", "predicate": "p", "object": "o"},
        {"subject": "s", "predicate": "p", "object": "o", "many": True}, Claim("s", "p", "o", False),
    ),
    "valid_from": (None, "2026-06-01"),
    "valid_to": (None, "2027-06-01"),
    "confidence": (None, 0, 1, 0.5, 0.123456789),
    "entropy": (None, 0.0, 2.5),
    "model_id": (None, "opus"),
    "weights_hash": (None, "w1"),
    "prompt_template_id": (None, "p1"),
    "tool_ids": ((), ["a"], ["a", "b"]),
    "derived_from": ((), ["atom_0123456789abcdef"]),
    "priority": (None, 0.5, 0.9),
    "decay_tau_s": (None, 0, 60, 2_592_000),
    "metadata": (None, {}, {"ticket": 7, "who": ["maya", None]}),
    "idempotency_key": (None, "key"),
}  # fmt: skip
"""Each argument of `remember` as it may be given, the defaults among them; absent is the case of its own."""

BINARY: Final = ("image", "audio", "data")

RECALL: Final[Mapping[str, Sequence[Any]]] = {
    "budget_tokens": (2000, 500),
    "limit": (10, 1),
    "modality": (None, (), "text", ["text", "code"]),
    "source": (None, "guide.md", ["guide.md", "deploy.py"]),
    "writer": (None, "maya", ["maya", "zoe"]),
    "tags": (None, {}, {"topic": "deploy"}, {"topic": "deploy", "n": "1"}),
    "min_confidence": (None, 0, 0.5, 1),
    "around": (0, 2),
}
"""Each argument of `recall` that a cursor is bound to."""


def requests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield requests to remember: plain, with each argument in turn, and with all at once."""
    plain = {"content": "The deploy target is Fly.io"}
    yield "content alone", plain
    for name, values in REMEMBER.items():
        for value in values:
            yield f"{name}={value!r}", {**plain, name: value}
    for modality in BINARY:
        yield f"bytes as {modality}", {"content": b"\x00\xff", "modality": modality}
    yield "everything", {**plain, **{name: values[-1] for name, values in REMEMBER.items()}}


def request_lines() -> dict[str, list[str]]:
    """Return the digest of every request and the bytes that quarantine keeps of it."""
    digests, kept = [], []
    for name, arguments in requests():
        digests.append(f"{name}: {doors.request_digest(arguments).hex()}")
        body = doors.quarantine_bytes(arguments, "maya")
        kept.append(f"{name}: {hashlib.sha256(body).hexdigest()}")
    body = doors.quarantine_bytes(dict(requests())["everything"], "maya")
    return {"request digests": digests, "quarantine": kept, "quarantine, everything": [body.decode()]}


def _changed(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return tuple(_changed(part) for part in value)
    return value + 1 if isinstance(value, int) else value + 0.125


def settings() -> Iterator[tuple[str, Settings]]:
    """Yield settings: the defaults, and each one changed in turn, nested ones too."""
    base = Settings()
    yield "defaults", base
    for field in dataclasses.fields(base):
        value = getattr(base, field.name)
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            yield field.name, dataclasses.replace(base, **{field.name: _changed(value)})
            continue
        for inner in dataclasses.fields(value):
            other = dataclasses.replace(value, **{inner.name: _changed(getattr(value, inner.name))})
            yield f"{field.name}.{inner.name}", dataclasses.replace(base, **{field.name: other})


def settings_lines() -> dict[str, list[str]]:
    """Return the digest of every settings; and the defaults as they are written, which the digest covers."""
    base = Settings()
    return {
        "settings digests": [f"{name}: {given.digest}" for name, given in settings()],
        "settings": [f"{field.name} = {getattr(base, field.name)!r}" for field in dataclasses.fields(base)],
    }


def questions() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the arguments of questions: none but the query, and each in turn."""
    yield "query alone", {}
    for name, values in RECALL.items():
        for value in values:
            yield f"{name}={value!r}", {name: value}


def scope_lines() -> dict[str, list[str]]:
    """Return what cursors of questions are bound to."""
    return {
        "cursor scopes": [
            f"{name}: {doors.cursor_scope('default', Settings().digest, {'query': 'deploy target', **arguments})}"
            for name, arguments in questions()
        ]
    }
