"""Answers: complete as text and complete as structure, both bounded; and errors that say what to do next."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar, cast

from mcp_types import CallToolResult, TextContent
from pydantic import JsonValue

from cmc_mcp.errors import CmcError, InvalidInput
from cmc_mcp.limits import ANSWER_CHARS_MAX
from cmc_mcp.model.results import ConflictNote, Diff, Receipt, RecordChange, Result
from cmc_mcp.model.shown import escaped, flat, value

R = TypeVar("R", bound=Result)
Structure = dict[str, JsonValue]

_SHOWN: Final = 200  # characters of a memory in a list
_ENVELOPE: Final = 2_000  # characters kept free for what is added to a bounded answer


def answer(structure: Structure, text: str) -> CallToolResult:
    """Return an answer in both forms; neither passes ANSWER_CHARS_MAX characters."""
    if len(text) > ANSWER_CHARS_MAX:
        text = text[: ANSWER_CHARS_MAX - _ENVELOPE] + "\n… cut here; ask for less at a time to see the rest"
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structure)


def bounded(result: R, always: Sequence[str] = ()) -> tuple[R, Structure, list[str]]:
    """Return a result as lean structure, cut to ANSWER_CHARS_MAX; and the result so cut, with lines that say what was.

    Fields named in `always` stay even when they are empty, so that programs need not guard for them.
    """
    structure = result.lean()
    cut: dict[str, int] = {}
    maximum = ANSWER_CHARS_MAX - _ENVELOPE
    while _size(structure) > maximum:
        path = _cut_largest(structure)
        cut[path[0]] = cut.get(path[0], 0) + path[1]
    if cut:
        result = type(result).model_validate(structure)
    for name in always:
        if name not in structure:
            structure[name] = cast(JsonValue, getattr(result, name))
    lines = [
        f"Cut to fit: {count:,} of {name} are not shown; ask for less at a time to see them."
        for name, count in cut.items()
    ]
    if cut:
        structure["truncated"] = cast(JsonValue, cut)
    return result, structure, lines


def _size(value: JsonValue) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _cut_largest(structure: Structure) -> tuple[str, int]:
    """Halve the largest list, or when no list can shrink the longest text; return its name and how much went."""
    lists: list[tuple[int, str, list[JsonValue]]] = []
    texts: list[tuple[int, str, Structure, str]] = []

    def walk(node: JsonValue, path: str) -> None:
        if isinstance(node, dict):
            for name, part in node.items():
                here = f"{path}.{name}" if path else name
                if isinstance(part, str):
                    texts.append((len(part), here, node, name))
                else:
                    walk(part, here)
        elif isinstance(node, list):
            if len(node) > 1:
                lists.append((_size(node), path, node))
            for part in node:
                walk(part, path)

    walk(structure, "")
    if lists:
        _, path, found = max(lists, key=lambda entry: entry[0])
        gone = (len(found) + 1) // 2
        del found[len(found) - gone :]
        return path, gone
    length, path, holder, name = max(texts, key=lambda entry: entry[0])
    holder[name] = str(holder[name])[: length // 2] + "…"
    return f"the characters of {path}", length - length // 2


# ---------------------------------------------------------------------- errors
_NEXT: Final[dict[str, str]] = {
    "invalid_input": "Correct what is named and call {tool} again.",
    "limit_exceeded": "Stay within the limit that is named (split the work if need be) and call {tool} again.",
    "not_found": "Find the right reference with recall or history, then call {tool} again.",
    "ambiguous": "Name one of the candidates in full and call {tool} again.",
    "conflict": "Nothing was changed. Look at the present state, or make a new dry run, and decide again.",
    "access_denied": "Nothing was changed. Ask whoever runs this server for a token that may do this.",
    "source_incomplete": "Read the parts that are left with recall, or read an earlier state.",
    "embedder_unavailable": "Call recall for what full text finds, or tell whoever runs this server.",
    "dimension_mismatch": "Tell whoever runs this server that the embedding model was changed.",
    "integrity": "Call verify, and tell whoever runs this server what it names.",
    "proof": "Call verify, and tell whoever runs this server what it names.",
    "store": "Tell whoever runs this server; `cmc doctor` says what to do.",
    "busy": "Nothing was changed. Call {tool} again in a few seconds.",
    "rate_limited": "Nothing was changed. Call {tool} again when the time that is named is over, and less often.",
    "future_store": "Tell whoever runs this server to update it; nothing was changed.",
    "wrong_key": "Tell whoever runs this server to check CMC_KEY; nothing was changed.",
    "outcome_unknown": "Call {tool} again with the same idempotency_key: it is done at most once.",
    "cancelled": "Nothing was changed. Call {tool} again if it is still wanted.",
}


def failure(tool: str, error: CmcError) -> CallToolResult:
    """Return an error as text that is complete by itself: its code, what was wrong, and what to do next."""
    return _failed(f"{tool} failed [{error.code}]: {_wrong(error)}", _NEXT.get(error.code, _NEXT["store"]), tool)


def unexpected(tool: str, incident: str) -> CallToolResult:
    """Return an error of ours without its details, which are in the log under the incident's id."""
    wrong = f"{tool} failed [internal]: an error that is not yours; its details are in the server's log as incident {incident}."
    return _failed(wrong, "Try once more; if it fails again, give the incident's id to whoever runs this server.", tool)


def _failed(wrong: str, next_: str, tool: str) -> CallToolResult:
    text = f"{wrong[: ANSWER_CHARS_MAX - _ENVELOPE]}\nWhat to do: {next_.format(tool=tool)}"
    text = text.encode("utf-8", "backslashreplace").decode()  # what was wrong may be quoted, a lone surrogate say
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _wrong(error: CmcError) -> str:
    if isinstance(error, InvalidInput) and len(error.problems) > 1:
        more = f"\n- and {error.more:,} more" if error.more else ""
        return "".join(f"\n- {flat(problem.path)}: {flat(problem.message)}" for problem in error.problems) + more
    message = flat(str(error))
    return message if message.endswith((".", "!", "?")) else message + "."


# ---------------------------------------------------------------------- parts of texts
def listed(name: str, values: Iterable[str]) -> list[str]:
    """Return one line for a list of ids, or none when it is empty."""
    text = ", ".join(values)
    return [f"{name}: {text}"] if text else []


def quoted(said: JsonValue) -> str:
    """Write a value as `shown.value` does; what is no text as JSON."""
    return value(said) if isinstance(said, str) else escaped(json.dumps(said, ensure_ascii=False))


def conflict(note: ConflictNote) -> str:
    """Write one disagreement."""
    return f"{note.with_id} ({note.kind}: {value(note.reason)})"


def shortened(text: str) -> str:
    """Return the beginning of a text as a value for a line of ours."""
    line = " ".join(text.split())
    return value(line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…")


def receipt_lines(receipt: Receipt) -> list[str]:
    """Write a receipt, a line for each thing that happened."""
    before, after = receipt.snapshot.before, receipt.snapshot.after
    state = f"snapshot {after} (before: {before})" if before != after else f"snapshot {after}, unchanged"
    lines = [f"transaction {receipt.transaction}; {state}"]
    for name in ("added", "reaffirmed", "restored", "revised", "retracted", "retired"):
        lines += listed(name, getattr(receipt, name))
    lines += [f"quarantined: {kept.id} ({'; '.join(map(value, kept.reasons))})" for kept in receipt.quarantined]
    lines += listed("CONFLICTS with", (conflict(note) for note in receipt.conflicts))
    if receipt.more_conflicts:
        lines.append(f"and {receipt.more_conflicts:,} more disagree")
    if receipt.echo_of:
        lines.append(
            f"echo of: {', '.join(receipt.echo_of)}; superseded, and stays so; to go back, revise the successor"
        )
    if receipt.source:
        lines.append(f"source: {value(receipt.source)}")
    if receipt.pending:
        lines.append(f"pending: {receipt.pending} found by full text only until they have a vector")
    if receipt.transactions > 1:
        lines.append(f"transactions: {receipt.transactions}")
    if receipt.undone_by is not None:
        lines.append(f"undone by: transaction {receipt.undone_by} (this is the receipt of the first call)")
    if receipt.pages_pending:
        lines.append("erased pages still wait in the journal; they go when its last reader closes")
    return lines


def diff_lines(diff: Diff) -> list[str]:
    """Write what differs between two states, a line for each record."""
    head = f"{len(diff.added)} added, {len(diff.removed)} removed, {len(diff.changed)} changed"
    lines = [f"from transaction {diff.from_transaction} to {diff.to_transaction}: {head}"]
    for sign, records in (("+", diff.added), ("-", diff.removed), ("~", diff.changed)):
        lines += [_record_line(sign, record) for record in records]
    return lines


def _record_line(sign: str, record: RecordChange) -> str:
    kind = "" if record.kind == "atom" else f" {record.kind}"
    text = f": {shortened(record.text)}" if record.text else ""
    changes = "; ".join(f"{value(c.field)}: {_value(c.before)} → {_value(c.after)}" for c in record.changes)
    return f"{sign} {record.id}{kind}{f' [{changes}]' if changes else ''}{text}"


def _value(said: JsonValue) -> str:
    return "nothing" if said is None else shortened(said) if isinstance(said, str) else shortened(json.dumps(said))
