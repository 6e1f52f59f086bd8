"""Validate: turn the arguments of `remember` into a request, or name every problem at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from cmc_mcp.canon import Json, canonical, digest, payload_hash
from cmc_mcp.errors import InvalidInput
from cmc_mcp.kernel.identity import text_of
from cmc_mcp.limits import PROBLEMS_MAX
from cmc_mcp.model.facts import Claim, ClaimArguments
from cmc_mcp.model.modality import BINARY
from cmc_mcp.model.sentences import BLANK_CHARS
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, TimeLike, interval
from cmc_mcp.model.witness import NO_MODEL
from cmc_mcp.verbs.argument import Verb
from cmc_mcp.verbs.check import Check, fields, unfit
from cmc_mcp.verbs.models import Remember

_TOGETHER: Final = frozenset({"content", "modality", "valid_from", "valid_to"})  # one is checked with the other


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
    """A request to remember, checked. Times are microseconds; `fields` are the facts it names.

    `further` holds by name what is not its default of the arguments that are younger than the fields, so that a request
    without them has the bytes it always had.
    """

    data: bytes
    modality: str
    media_type: str | None
    source: str | None
    session: str | None
    speaker: str
    occurred_us: int | None
    valid_from: int
    valid_to: int
    fields: Mapping[str, Json]
    model_id: str
    weights_hash: str
    prompt_template_id: str
    tool_ids: tuple[str, ...]
    derived_from: tuple[str, ...]
    idempotency_key: str | None
    further: Mapping[str, Json] = field(default_factory=dict)

    @property
    def is_said(self) -> bool:
        """Whether it says who said it, or when."""
        return bool(self.speaker) or self.occurred_us is not None

    def digest(self) -> bytes:
        """Hash the request (32 bytes): the same idempotency key must come with the same one."""
        absent = "\0"  # no text holds a NUL character, so this is none
        texts = (
            self.modality, self.media_type or absent, self.source or absent, self.session or absent, self.speaker,
            str(self.occurred_us), str(self.valid_from), str(self.valid_to), self.model_id, self.weights_hash,
            self.prompt_template_id, str(len(self.tool_ids)), *self.tool_ids, *self.derived_from,
            *([absent + canonical(self.further).decode()] if self.further else ()),
        )  # fmt: skip
        facts = canonical(self.fields) if self.fields else b"{}"
        return digest("cmc/request/1", payload_hash(self.data), facts, *(text.encode() for text in texts))


def validate(arguments: RememberArguments, verb: type[Verb[Any]] = Remember) -> Request:
    """Check the arguments of `remember`, as its model has them.

    Raises:
        InvalidInput: something is wrong; every problem is listed with its path.
        LimitExceeded: a bound was passed, and that is all.

    >>> validate({"content": "The deploy target is Fly.io", "tags": {"topic": "deploy"}}).fields
    {'tag:topic': 'deploy'}
    """
    check = Check()
    if not isinstance(arguments, Mapping):
        raise InvalidInput.at("item", f"is a {type(arguments).__name__}; pass a map of the arguments of remember")
    known = verb.abouts
    unknown = [str(name) for name in arguments if name not in known]
    for name in unknown[:PROBLEMS_MAX]:
        check.problem(name, f"is an unknown argument; use one of {', '.join(sorted(known))}")
    check.more += len(unknown[PROBLEMS_MAX:])
    modality = arguments.get("modality") or "text"
    if check.one(known["modality"], modality) is None:
        modality = "text"
    data = _content(check, arguments.get("content"), modality)
    start, end = _interval(check, arguments)
    found = check.read(verb, arguments, leave=_TOGETHER)
    check.raise_()
    facts, pop = fields(verb, found), found.pop
    return Request(
        data, modality, pop("media_type", None), pop("source", None), pop("session", None), pop("speaker", ""),
        pop("occurred_at", None), start, end, facts, pop("model_id", NO_MODEL), pop("weights_hash", ""),
        pop("prompt_template_id", ""), pop("tool_ids"), pop("derived_from"), pop("idempotency_key", None),
        {name: value for name, value in found.items() if value != known[name].default},
    )  # fmt: skip


def _content(check: Check, content: object, modality: str) -> bytes:
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
    if check.limit("content", "CONTENT_BYTES_MAX", len(data)):
        blank = not data if modality in BINARY else not data.decode("utf-8", "ignore").strip(BLANK_CHARS)
        if blank:
            check.problem("content", "is blank; pass content to remember")
    if text_of(data) != data:
        check.problem("content", "ends as the name of a vector does, which readers would not see; add a byte behind it")
    return data


def _interval(check: Check, arguments: RememberArguments) -> tuple[int, int]:
    valid_from, valid_to = arguments.get("valid_from"), arguments.get("valid_to")
    if valid_from is None and valid_to is None:
        return SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
    try:
        return interval(valid_from, valid_to)
    except InvalidInput as error:
        check.problems.extend(error.problems)
        return SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
