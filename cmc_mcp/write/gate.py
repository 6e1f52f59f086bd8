"""Gate: requests that are kept back in quarantine, with reasons, and their release."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import cast

from cmc_mcp.atoms.erasures import is_erased
from cmc_mcp.canon import Json, canonical, fixed, payload_hash
from cmc_mcp.errors import Ambiguous, InvalidInput, NotFound, brief
from cmc_mcp.ids import PayloadHash, Pid, Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.intervals import Interval
from cmc_mcp.kernel.kinds import GATE, POLICY, Record
from cmc_mcp.limits import ID_PREFIX_CHARS_MIN
from cmc_mcp.model.facts import facts_of, number_of
from cmc_mcp.model.results import QuarantineEntry
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, format_time
from cmc_mcp.model.traits import NO_TRAITS, derived_traits
from cmc_mcp.store.ports import LedgerView, WriteUnit
from cmc_mcp.store.rows import BINARY
from cmc_mcp.write.draft import Draft
from cmc_mcp.write.validate import Request

GATE_PREFIX = "gate_"
MIN_CONFIDENCE = "gate.min_confidence"
POLICIES = (MIN_CONFIDENCE,)
_SHOWN_CHARS = 2_000


def reasons(view: LedgerView, draft: Draft) -> list[str]:
    """Return the reasons to keep a draft back; an empty list lets it pass."""
    found = []
    if view.erasure_count() and any(is_erased(view, part.hash) for part in draft.parts):
        found.append("its content was erased from this workspace")
    minimum = policy(view, MIN_CONFIDENCE)
    if minimum is not None:
        confidence = number_of(draft.request.fields, "confidence")
        if confidence is not None and confidence < minimum:
            found.append(f"its confidence {confidence:g} is below the workspace's {MIN_CONFIDENCE} of {minimum:g}")
    return found


def policy(view: LedgerView, name: str) -> float | None:
    """Read a numeric policy of the workspace, or None if it is unset."""
    rid = view.rid(POLICY.record(name.encode()))
    intervals = view.intervals(rid) if rid is not None else ()
    return number_of(intervals[0].facts.fields, "value") if intervals else None


def keep_back(unit: WriteUnit, request: Request, principal: str, why: list[str]) -> str:
    """Put a request and its principal into quarantine; return the id of the entry."""
    body = encode_request(request, principal)
    unit.put(body)
    record = GATE.record(payload_hash(body))
    rid, _ = unit.intern(record)
    facts = facts_of({"decision": "quarantined", "reasons": list(why), "request": payload_hash(body).hex()})
    unit.set_intervals(rid, (Interval(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts),))
    return gate_name(record)


def is_kept_back(view: LedgerView, gate: Rid) -> bool:
    """Return whether an entry is in quarantine now."""
    return any(interval.facts.fields["decision"] == "quarantined" for interval in view.intervals(gate))


def readmit(unit: WriteUnit, draft: Draft, inline_bytes: int) -> dict[Pid, PayloadHash]:
    """Restore the bytes and the full text of erased contents that a release lets in.

    Return the contents to embed again, as payload number → hash.
    """
    back: dict[Pid, PayloadHash] = {}
    for part in draft.parts:
        if not is_erased(unit, part.hash):
            continue
        content = unit.put(part.data, hash_=part.hash, object_=len(part.data) > inline_bytes)
        for row in unit.atoms_with_content(content):
            unit.add_passage(row.rid, draft.heading(part), part.data.decode() if draft.searchable else "")
            said = unit.payload(row.discriminator) if row.discriminator else None  # the row's own, not the request's
            unit.set_traits(row.rid, *(derived_traits(part.data, said) if draft.searchable else NO_TRAITS))
        if draft.searchable:
            back[content] = part.hash
    return back


def let_in(unit: WriteUnit, gate: Rid) -> None:
    """Record the release of an entry from quarantine.

    Raises:
        NotFound: the entry left quarantine before.
    """
    if not is_kept_back(unit, gate):
        raise NotFound("the entry is no longer in quarantine; `cmc quarantine list` shows the entries")
    fields = dict(unit.intervals(gate)[0].facts.fields)
    facts = facts_of({**fields, "decision": "released"})
    unit.set_intervals(gate, (Interval(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts),))


def gate_name(record: Record) -> str:
    """Return the id of an entry in quarantine."""
    return GATE_PREFIX + atom_name(record.key).partition("_")[2]


def quarantined(view: LedgerView) -> list[QuarantineEntry]:
    """Return the entries in quarantine, in order."""
    out = []
    for rid, request in view.quarantined():
        fields = view.intervals(rid)[0].facts.fields
        body = view.payload(request)
        row = view.transaction(view.change_seqs(rid)[-1])
        if body is None or row is None:
            continue  # the request was erased
        asked, _ = decode_request(body)
        out.append(
            QuarantineEntry(
                id=gate_name(view.record(rid)),
                reasons=[str(reason) for reason in cast("list[str]", fields.get("reasons", []))],
                transaction=row.seq,
                recorded_at=format_time(row.recorded_us) or "",
                text=asked.data.decode("utf-8", "replace")[:_SHOWN_CHARS],
                source=asked.source,
            )
        )
    return out


def find_quarantined(view: LedgerView, reference: str) -> tuple[Rid, Request, str]:
    """Find an entry in quarantine by its id or a unique prefix; return its gate record, its request and its principal.

    Raises:
        NotFound: the reference names no entry.
        Ambiguous: several ids begin with the reference.
    """
    digits = reference.removeprefix(GATE_PREFIX)
    found = [
        (rid, pid)
        for rid, pid in view.quarantined()
        if len(digits) >= ID_PREFIX_CHARS_MIN and view.record(rid).key.hex().startswith(digits)
    ]
    if len(found) > 1:
        raise Ambiguous(f"{reference} could be {len(found)} entries in quarantine; give more digits")
    body = view.payload(found[0][1]) if found else None
    if body is None:
        raise NotFound(f"{reference} is not in quarantine; `cmc quarantine list` shows the entries", id=reference)
    return found[0][0], *decode_request(body)


def set_policy(unit: WriteUnit, name: str, value: float | None) -> None:
    """Set a numeric policy of the workspace; None removes the policy.

    Raises:
        InvalidInput: the name is not that of a policy.
    """
    if name not in POLICIES:
        raise InvalidInput.at("name", f"{brief(name, 60)} is an unknown policy; use one of {', '.join(POLICIES)}")
    rid, _ = unit.intern(POLICY.record(name.encode()))
    intervals = () if value is None else (_always({"name": name, "value": fixed(value)}),)
    unit.set_intervals(rid, intervals)


def _always(fields: Mapping[str, Json]) -> Interval:
    return Interval(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts_of(fields))


def encode_request(request: Request, principal: str) -> bytes:
    """Encode a request and its principal as canonical bytes, so that a release later restores the exact request."""
    binary = request.modality in BINARY
    body: dict[str, Json] = {name: getattr(request, name) for name in _PLAIN}
    body["principal"] = principal
    body["occurred_us"] = None if request.occurred_us is None else str(request.occurred_us)
    body["content"] = base64.b64encode(request.data).decode() if binary else request.data.decode()
    body["interval"] = [str(request.valid_from), str(request.valid_to)]
    body["registers"] = dict(request.fields)
    body["tool_ids"], body["derived_from"] = list(request.tool_ids), list(request.derived_from)
    if request.further:
        body["further"] = dict(request.further)
    return canonical(body)


def decode_request(body: bytes) -> tuple[Request, str]:
    """Decode a request and its principal from `encode_request`; the idempotency key is not kept."""
    raw = cast("dict[str, Json]", json.loads(body))
    content = str(raw["content"])
    data = base64.b64decode(content) if raw["modality"] in BINARY else content.encode()
    low, high = cast("list[str]", raw["interval"])
    plain = cast("dict[str, str]", {name: raw[name] for name in _PLAIN})
    request = Request(
        data=data,
        modality=plain["modality"],
        media_type=plain["media_type"],
        source=plain["source"],
        session=plain["session"],
        speaker=plain["speaker"],
        occurred_us=None if raw["occurred_us"] is None else int(str(raw["occurred_us"])),
        valid_from=int(low),
        valid_to=int(high),
        fields=cast("Mapping[str, Json]", raw["registers"]),
        model_id=plain["model_id"],
        weights_hash=plain["weights_hash"],
        prompt_template_id=plain["prompt_template_id"],
        tool_ids=tuple(cast("list[str]", raw["tool_ids"])),
        derived_from=tuple(cast("list[str]", raw["derived_from"])),
        idempotency_key=None,
        further=cast("Mapping[str, Json]", raw.get("further", {})),
    )
    return request, str(raw["principal"])


_PLAIN = (
    "modality", "media_type", "source", "session", "speaker", "occurred_us", "model_id", "weights_hash",
    "prompt_template_id",
)  # fmt: skip
