"""The facts of an assertion as fields: a flat map from a field's name to its value, encoded canonically.

`remember`, `revise` and undo set fields one by one. Each tag is a field (`tag:topic`); so are the claim, the
confidence and the title. A field with its default value is absent, so equal facts have equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypedDict
from urllib.parse import quote, unquote

from cmc_mcp.canon import Json, canonical, digest, facts_hash, instant
from cmc_mcp.ids import PayloadHash
from cmc_mcp.model.names import name_key

TAG = "tag:"
USED = "used_us"
MARK = "mark:"
PRIORITY_DEFAULT = 0.5
DECAY_TAU_S_DEFAULT = 604_800
FactFields = Mapping[str, Json]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """One body of facts: its hash (32 bytes) and its bytes, or None if they were erased. Equality is by hash."""

    hash: PayloadHash
    body: bytes | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    @property
    def fields(self) -> FactFields:
        """The fields, or an empty map if the body was erased."""
        return decode(self.body) if self.body is not None else {}


def facts_of(fields: FactFields) -> Facts:
    """Encode fields as a body of facts.

    >>> facts_of({"tag:topic": "deploy"}).fields
    {'tag:topic': 'deploy'}
    """
    if not fields:
        return NO_FACTS
    body = canonical(fields)
    return Facts(facts_hash(body), body)


@lru_cache(maxsize=4096)
def decode(body: bytes) -> FactFields:
    """Decode a body that `facts_of` encoded. Callers share the result and must not change it."""
    fields: FactFields = json.loads(body)
    return fields


NO_FACTS = Facts(facts_hash(b"{}"), b"{}")


def merged(fields: FactFields, changes: FactFields) -> dict[str, Json]:
    """Return the fields with changes applied; a value of None removes a field.

    >>> merged({"a": 1, "b": 2}, {"a": None, "c": 3})
    {'b': 2, 'c': 3}
    """
    out = {**fields, **changes}
    return {name: value for name, value in out.items() if value is not None}


def tags_of(fields: FactFields) -> dict[str, str]:
    """Return the tags among fields, sorted by key.

    >>> tags_of({"tag:topic": "deploy", "title": "x"})
    {'topic': 'deploy'}
    """
    return {name[len(TAG) :]: str(value) for name, value in sorted(fields.items()) if name.startswith(TAG)}


def number_of(fields: FactFields, name: str) -> float | None:
    """Read a fixed-point field as a float, or None if it is absent.

    >>> number_of({"confidence": "0.900000"}, "confidence")
    0.9
    """
    value = fields.get(name)
    return float(value) if isinstance(value, str) else None


def used_of(fields: FactFields) -> int | None:
    """Return when a memory was last reported as used (microseconds), or None if it never was.

    >>> used_of({"used_us": 5}), used_of({})
    (5, None)
    """
    value = fields.get(USED)
    return value if isinstance(value, int) else None


def said_fields(speaker: str, occurred_us: int | None) -> dict[str, Json]:
    """Return the fields that say who said a document and when; of notes and turns the id covers both.

    >>> said_fields("Maya", None), said_fields("", 5)
    ({'speaker': 'Maya'}, {'occurred_at': 5})
    """
    said: dict[str, Json] = {"speaker": speaker} if speaker else {}
    return said if occurred_us is None else {**said, "occurred_at": instant(occurred_us)}


def mark_field(principal: str) -> str:
    """Return the name of the field that holds a principal's judgement; register names are ASCII.

    >>> mark_field("agent:zoë")
    'mark:agent:zo%C3%AB'
    """
    return MARK + quote(principal, safe=" !#$&'()*+,/:;=?@[]")


def judgements_of(fields: FactFields) -> dict[str, bool]:
    """Return each principal who judged a memory, sorted, and whether the principal judged it right.

    >>> judgements_of({"mark:zo%C3%AB": "right", "mark:bob": "wrong", "tag:topic": "x"})
    {'bob': False, 'zoë': True}
    """
    marks = ((unquote(name[len(MARK) :]), value) for name, value in fields.items() if name.startswith(MARK))
    return {principal: value == "right" for principal, value in sorted(marks)}


def outcome_fields(fields: FactFields) -> list[str]:
    """Return the names of the fields that outcomes set; a new wording does not inherit these judgements."""
    return [name for name in fields if name == USED or name.startswith(MARK)]


class ClaimArguments(TypedDict, total=False):
    """A claim as callers give it."""

    subject: str
    predicate: str
    object: str
    many: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement in three parts. A (subject, predicate) pair has one object at a time unless `many` is set."""

    subject: str
    predicate: str
    object: str
    many: bool = False

    @property
    def about(self) -> tuple[str, str]:
        """The subject and predicate, as what is equal for two spellings: "Ann" and "ann" are one."""
        return name_key(self.subject), name_key(self.predicate)

    @property
    def topic(self) -> int:
        """The number by which claims about one thing are found, however spelled: 62 bits of SHA-256.

        >>> Claim("Ann", "lives in", "Rome").topic == Claim("ann", "Lives in", "Oslo").topic
        True
        """
        subject, predicate = self.about
        return int.from_bytes(digest("cmc/topic/1", subject.encode(), predicate.encode())[:8], "big") >> 2

    @property
    def value(self) -> str:
        """What is equal for two objects that are one, however spelled: "Heroku" and "heroku"."""
        return name_key(self.object)

    def register(self) -> dict[str, Json]:
        """Encode the claim as the value of the field `claim`."""
        value: dict[str, Json] = {"subject": self.subject, "predicate": self.predicate, "object": self.object}
        if self.many:
            value["many"] = True
        return value


def claim_of(fields: FactFields) -> Claim | None:
    """Read the claim from fields, or None if they hold no claim.

    >>> claim_of({"claim": {"subject": "app", "predicate": "runs on", "object": "Fly.io"}}).object
    'Fly.io'
    """
    value = fields.get("claim")
    if not isinstance(value, Mapping):
        return None
    return Claim(str(value["subject"]), str(value["predicate"]), str(value["object"]), bool(value.get("many", False)))
