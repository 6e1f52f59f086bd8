"""Validate: turn the arguments of `remember` into a request, or name every problem at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict, cast

from cmc_mcp import limits
from cmc_mcp.canon import Json, canonical, digest, fixed, payload_hash
from cmc_mcp.errors import InvalidInput, LimitExceeded, Problem
from cmc_mcp.model.facts import DECAY_TAU_S_DEFAULT, PRIORITY_DEFAULT, TAG, Claim
from cmc_mcp.model.sentences import BLANK_CHARS
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, TimeLike, interval, parse_time
from cmc_mcp.model.witness import NO_MODEL
from cmc_mcp.store.rows import BINARY, MODALITIES

_TAG_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}\Z")
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,62}/[A-Za-z0-9][A-Za-z0-9.+-]{0,126}\Z")
TAU_NEVER: Final = 0
"""`decay_tau_s` of what never decays."""


class ClaimArguments(TypedDict, total=False):
    """A claim as callers give it."""

    subject: str
    predicate: str
    object: str
    many: bool


class RememberOptions(TypedDict, total=False):
    """The arguments of `remember` besides the content."""

    modality: str
    media_type: str | None
    source: str | None
    session: str | None
    speaker: str | None
    title: str | None
    occurred_at: TimeLike | None
    tags: Mapping[str, str] | None
    claim: ClaimArguments | Claim | None
    valid_from: TimeLike | None
    valid_to: TimeLike | None
    confidence: float | None
    entropy: float | None
    model_id: str | None
    weights_hash: str | None
    prompt_template_id: str | None
    tool_ids: Sequence[str]
    derived_from: Sequence[str]
    priority: float | None
    decay_tau_s: int | None
    metadata: Mapping[str, Json] | None
    idempotency_key: str | None


class RememberArguments(RememberOptions, total=False):
    """The arguments of `remember`, for `remember_many`; `content` is required."""

    content: str | bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A request to remember, checked. Times are microseconds; `registers` are the facts it names."""

    data: bytes
    modality: str
    media_type: str | None
    source: str | None
    session: str | None
    speaker: str
    occurred_us: int | None
    valid_from: int
    valid_to: int
    registers: Mapping[str, Json]
    model_id: str
    weights_hash: str
    prompt_template_id: str
    tool_ids: tuple[str, ...]
    derived_from: tuple[str, ...]
    idempotency_key: str | None

    def digest(self) -> bytes:
        """Hash the request (32 bytes): the same idempotency key must come with the same one."""
        absent = "\0"  # no text holds a NUL character, so this is none
        texts = (
            self.modality, self.media_type or absent, self.source or absent, self.session or absent, self.speaker,
            str(self.occurred_us), str(self.valid_from), str(self.valid_to), self.model_id, self.weights_hash,
            self.prompt_template_id, str(len(self.tool_ids)), *self.tool_ids, *self.derived_from,
        )  # fmt: skip
        registers = canonical(self.registers) if self.registers else b"{}"
        return digest("cmc/request/1", payload_hash(self.data), registers, *(text.encode() for text in texts))


_ARGUMENTS: Final = frozenset({"content", *RememberOptions.__annotations__})


class _Check:
    """Collects problems, so that all of them are reported at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.over: LimitExceeded | None = None

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def limit(self, path: str, name: str, value: int, maximum: int) -> bool:
        if value <= maximum:
            return True
        error = LimitExceeded.over(path, name, value, maximum)
        self.over = self.over or error
        self.problems.extend(error.problems)
        return False

    def text(self, path: str, value: object, name: str, maximum: int, *, blank: bool = False) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            self.problem(path, f"is a {type(value).__name__}; pass text")
            return None
        if not blank and not value.strip():
            self.problem(path, "is blank; leave it out or say something")
        elif message := unfit(value):
            self.problem(path, message)
        elif self.limit(path, name, len(value), maximum):
            return value
        return None

    def raise_(self) -> None:
        if not self.problems:
            return
        if self.over is not None and len(self.problems) == 1:
            raise self.over
        raise InvalidInput.of(self.problems)


def unfit(text: str) -> str | None:
    """Say why a text cannot be stored: a NUL character or a lone surrogate; None when it can."""
    if "\0" in text:
        return "holds a NUL character, which text cannot carry; remove it"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is not valid Unicode; encode the text properly"
    return None


def validate(arguments: RememberArguments) -> Request:
    """Check the arguments of `remember`.

    Raises:
        InvalidInput: something is wrong; every problem is listed with its path. LimitExceeded when a bound is all.

    >>> validate({"content": "The deploy target is Fly.io", "tags": {"topic": "deploy"}}).registers
    {'tag:topic': 'deploy'}
    """
    check = _Check()
    if not isinstance(arguments, Mapping):
        raise InvalidInput.at("item", f"is a {type(arguments).__name__}; pass a map of the arguments of remember")
    known = _ARGUMENTS
    for name in arguments:
        if name not in known:
            check.problem(name, f"is no argument; arguments are {', '.join(sorted(known))}")
    modality = arguments.get("modality") or "text"
    if modality not in MODALITIES:
        check.problem("modality", f"{modality!r:.40} is none; modalities are {', '.join(MODALITIES)}")
        modality = "text"
    data = _content(check, arguments.get("content"), modality)
    valid_from, valid_to = _interval(check, arguments)
    get = arguments.get
    tool_ids = _names(check, "tool_ids", get("tool_ids") or (), limits.TOOL_IDS_MAX, "TOOL_IDS_MAX")
    derived = _names(check, "derived_from", get("derived_from") or (), limits.DERIVED_FROM_MAX, "DERIVED_FROM_MAX")
    media_type = get("media_type")
    if media_type is not None and not _MEDIA_TYPE.match(str(media_type)):
        check.problem("media_type", f"{media_type!r:.60} is no media type; pass something like text/markdown")
    session = check.text("session", get("session"), "SESSION_CHARS_MAX", limits.SESSION_CHARS_MAX)
    speaker = check.text("speaker", get("speaker"), "SPEAKER_CHARS_MAX", limits.SPEAKER_CHARS_MAX)
    source = check.text("source", get("source"), "ORIGIN_CHARS_MAX", limits.ORIGIN_CHARS_MAX)
    if source is not None and source.startswith(("note:", "session:", "collection:")):
        check.problem("source", "begins with note:, session: or collection:, which name what has no source of its own")
    occurred = get("occurred_at")
    occurred_us = None
    if occurred is not None:
        occurred_us = _time(check, occurred, "occurred_at")
    model_id, weights, prompt = (
        check.text(name, value, "MODEL_ID_CHARS_MAX", limits.MODEL_ID_CHARS_MAX)
        for name, value in (
            ("model_id", get("model_id")),
            ("weights_hash", get("weights_hash")),
            ("prompt_template_id", get("prompt_template_id")),
        )
    )
    key = check.text(
        "idempotency_key", get("idempotency_key"), "IDEMPOTENCY_KEY_CHARS_MAX", limits.IDEMPOTENCY_KEY_CHARS_MAX
    )
    registers = _registers(check, arguments)
    check.raise_()
    return Request(
        data, modality, cast("str | None", media_type), source, session, speaker or "", occurred_us, valid_from,
        valid_to, registers, model_id or NO_MODEL, weights or "", prompt or "", tool_ids, derived, key,
    )  # fmt: skip


def _content(check: _Check, content: object, modality: str) -> bytes:
    if content is None:
        check.problem("content", "is required")
        return b""
    if isinstance(content, str):
        if modality in BINARY:
            check.problem("content", f"is text, and the modality {modality} takes bytes (base64 over MCP)")
            return b""
        if message := unfit(content):
            check.problem("content", message)
            return b""
        data = content.encode()
    elif isinstance(content, bytes | bytearray | memoryview):
        data = bytes(content)
        if modality not in BINARY:
            try:
                if message := unfit(data.decode("utf-8")):
                    check.problem("content", message)
            except UnicodeDecodeError as error:
                check.problem(
                    "content", f"is not valid UTF-8 (byte {error.start}); decode it first, or say which modality"
                )
                return b""
    else:
        check.problem("content", f"is a {type(content).__name__}; pass text, or bytes for an image or audio")
        return b""
    if check.limit("content", "CONTENT_BYTES_MAX", len(data), limits.CONTENT_BYTES_MAX):
        blank = not data if modality in BINARY else not data.decode("utf-8", "ignore").strip(BLANK_CHARS)
        if blank:
            check.problem("content", "is blank; there is nothing to remember")
    return data


def _time(check: _Check, value: object, path: str) -> int | None:
    try:
        return parse_time(cast(TimeLike, value), path)
    except InvalidInput as error:
        check.problems.extend(error.problems)
        return None


def _interval(check: _Check, arguments: RememberArguments) -> tuple[int, int]:
    valid_from, valid_to = arguments.get("valid_from"), arguments.get("valid_to")
    if valid_from is None and valid_to is None:
        return SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
    try:
        return interval(valid_from, valid_to)
    except InvalidInput as error:
        check.problems.extend(error.problems)
        return SINCE_ALWAYS, UNTIL_FURTHER_NOTICE


def _names(check: _Check, path: str, values: object, maximum: int, limit: str) -> tuple[str, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        check.problem(path, "is no list of texts")
        return ()
    check.limit(path, limit, len(values), maximum)
    for index, value in enumerate(values[:maximum]):
        if value is None:
            check.problem(f"{path}[{index}]", "is nothing; pass text")
        check.text(f"{path}[{index}]", value, "MODEL_ID_CHARS_MAX", limits.MODEL_ID_CHARS_MAX)
    return tuple(values)


def _registers(check: _Check, arguments: RememberArguments) -> dict[str, Json]:
    out: dict[str, Json] = {}
    get = arguments.get
    if (tags := get("tags")) is not None:
        out.update(check_tags(check, tags))
    if (claim := get("claim")) is not None:
        out.update(check_claim(check, claim))
    if (title := check.text("title", get("title"), "TITLE_CHARS_MAX", limits.TITLE_CHARS_MAX)) is not None:
        out["title"] = title
    out.update(check_numbers(check, get("confidence"), get("entropy"), get("priority")))
    if (tau := get("decay_tau_s")) is not None:
        if isinstance(tau, bool) or not isinstance(tau, int) or tau < 0:
            check.problem("decay_tau_s", "is seconds as a whole number, 0 for never")
        else:
            out["decay_tau_s"] = None if tau == DECAY_TAU_S_DEFAULT else tau
    if (metadata := get("metadata")) is not None:
        out.update(_metadata(check, metadata))
    return out


def check_numbers(check: _Check, confidence: object, entropy: object, priority: object) -> dict[str, Json]:
    """Check the numbers among the facts, and write them as fixed-point text."""
    out: dict[str, Json] = {}
    for name, value, top in (("confidence", confidence, 1.0), ("entropy", entropy, 1e6), ("priority", priority, 1.0)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= top:
            check.problem(name, f"{value!r:.40} is not a number from 0 to {top:g}")
        else:
            text = fixed(value + 0)  # no negative zero
            # the default is an absent register, so that equal facts have equal bytes; None sets it back
            out[name] = None if name == "priority" and text == fixed(PRIORITY_DEFAULT) else text
    return out


def check_tags(check: _Check, tags: object) -> dict[str, Json]:
    """Check tags, and give them as registers. A None as value removes the tag."""
    if not isinstance(tags, Mapping):
        check.problem("tags", 'is no map of names to values, such as {"topic": "deploy"}')
        return {}
    check.limit("tags", "TAGS_MAX", len(tags), limits.TAGS_MAX)
    out: dict[str, Json] = {}
    for name, value in tags.items():
        if not isinstance(name, str) or not _TAG_KEY.match(name):
            check.problem(f"tags.{name!s:.70}", "is no tag name: ASCII letters, digits and _ . : / -, at most 64")
        elif value is None:
            out[TAG + name] = None
        elif (
            check.text(f"tags.{name}", value, "TAG_VALUE_CHARS_MAX", limits.TAG_VALUE_CHARS_MAX, blank=True) is not None
        ):
            out[TAG + name] = value
    return out


def check_claim(check: _Check, claim: object) -> dict[str, Json]:
    """Check a claim, and give it as a register."""
    if isinstance(claim, Claim):
        claim = claim.register()
    if not isinstance(claim, Mapping):
        check.problem("claim", "is no map with subject, predicate and object")
        return {}
    for name in claim:
        if name not in ClaimArguments.__annotations__:
            check.problem(f"claim.{name!s:.40}", "is no part of a claim: subject, predicate, object, many")
    parts = [
        check.text(f"claim.{name}", claim.get(name) or "", "CLAIM_CHARS_MAX", limits.CLAIM_CHARS_MAX)
        for name in ("subject", "predicate", "object")
    ]
    many = claim.get("many", False)
    if not isinstance(many, bool):
        check.problem("claim.many", "is true or false")
    if None in parts:
        return {}
    subject, predicate, object_ = (part or "" for part in parts)
    return {"claim": Claim(subject, predicate, object_, bool(many)).register()}


def _metadata(check: _Check, metadata: object) -> dict[str, Json]:
    if not isinstance(metadata, Mapping):
        check.problem("metadata", "is no map")
        return {}
    try:
        size = len(canonical(dict(metadata)))
    except InvalidInput as error:
        check.problems.extend(Problem("metadata" + p.path[1:], p.message) for p in error.problems)
        return {}
    check.limit("metadata", "METADATA_BYTES_MAX", size, limits.METADATA_BYTES_MAX)
    return {f"meta:{name}": value for name, value in metadata.items()}


def checker() -> _Check:
    """Give a collector of problems, for verbs that share these checks."""
    return _Check()
