"""`history`: what happened, to everything, to one memory, to one source, or between two states."""

from __future__ import annotations

import json

from cmc_mcp.kernel.identity import ID_BYTES
from cmc_mcp.model.results import HistoryResult, Item, TransactionModel, Version
from cmc_mcp.model.shown import escaped, value
from cmc_mcp.read.frame import Names, lines_of
from cmc_mcp.tools.respond import diff_lines, listed, quoted
from cmc_mcp.tools.tool import Hints, ToolSpec, ask
from cmc_mcp.verbs.models import History

DESCRIPTION = """See what changed, when and by whom. Ask for one of four: nothing: the latest transactions; id: one \
memory's versions, both clocks and lineage; source: its versions; from and/or to (snapshot id, label, transaction \
number or time): the difference between two states, by default from the beginning, to now.
Use it to review changes, to explain why something is believed, and to find where to roll back to. Not for searching: \
use recall.
Example: {"from": "before the refactor"}"""


def write(result: HistoryResult, asked: History) -> list[str]:
    """Write the answer."""
    lines: list[str] = []
    if result.memory is not None:
        lines += [*lines_of([result.memory], Names(least=2 * ID_BYTES)), "---", *_facts(result.memory)]
    lines += [_version(version) for version in result.versions]
    lines += listed("derived from", result.derived_from)
    lines += listed("premise of", result.supports)
    lines += listed("supersedes", result.supersedes)
    lines += listed("superseded by", result.superseded_by)
    for version in result.source_versions:
        size = "" if version.bytes is None else f", {version.bytes:,} bytes"
        when = f"transaction {version.transaction}, {version.recorded_at}"
        lines.append(f"version {value(version.version)}: {when}, {version.parts} parts{size}")
    lines += [
        f"level {node.level}: {value(node.path or '.')} {value(node.title)} ({node.dependency_hash})"
        for node in result.nodes
    ]
    lines += _places(result)
    if result.diff is not None:
        lines += diff_lines(result.diff)
    lines += [_transaction(entry) for entry in result.transactions]
    if result.next_cursor:
        lines.append(f"more: call history with cursor={result.next_cursor}")
    return lines or ["Nothing has happened yet."]


def _places(result: HistoryResult) -> list[str]:
    """Write a place and what is around it, a line each: its path, what it is, how its text begins, its hash."""
    around = [("here", result.node), ("in", result.parent), *(("holds", node) for node in result.children)]
    around += [("beside", node) for node in result.siblings]
    return [
        f"{role} {value(node.path or '.')} {node.id or value(node.title)} ({node.dependency_hash})"
        + (f": {value(node.text)}" if node.text else "")
        for role, node in around
        if node is not None
    ]


def _facts(item: Item) -> list[str]:
    lines = [f"tag {value(name)}={value(said)}" for name, said in item.tags.items()]
    if item.claim is not None:
        lines.append("claim " + " | ".join(map(value, (item.claim.subject, item.claim.predicate, item.claim.object))))
    if item.witness is not None:
        lines.append("; ".join(f"{name} {quoted(said)}" for name, said in item.witness.lean().items()))
    return lines


def _version(version: Version) -> str:
    valid = f"valid {version.valid_from or 'always'} to {version.valid_to or 'further notice'}"
    known = f"believed since transaction {version.recorded}"
    ended = f" until {version.ended}" if version.ended is not None else ""
    facts = f" {escaped(json.dumps(version.facts, ensure_ascii=False))}" if version.facts else ""
    return f"{known}{ended}: {valid}{facts}"


def _transaction(entry: TransactionModel) -> str:
    extras = [f"{entry.changes} changes, {entry.atoms} memories after"]
    if entry.reason:
        extras.append(f"reason: {quoted(entry.reason)}")
    extras += [f"label {value(label)}" for label in entry.labels]
    return (
        f"{entry.transaction} {entry.recorded_at} {entry.verb} by {value(entry.principal)}: "
        f"{'; '.join(extras)}; {entry.snapshot}; hash {entry.hash}"
    )


TOOL = ToolSpec(
    title="History",
    description=DESCRIPTION,
    verb=History,
    result=HistoryResult,
    hints=Hints(read_only=True, destructive=False, idempotent=True),
    handle=ask,
    write=write,
)
