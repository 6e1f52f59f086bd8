"""The indexes over bodies of facts: tags, claims, confidences. A thousand memories with the same facts are one row each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from cmc_mcp.ids import Pid
from cmc_mcp.kernel.kinds import FACTS
from cmc_mcp.model.facts import Claim, claim_of, decode, number_of, tags_of
from cmc_mcp.store.indexes import PayloadIndex, Row
from cmc_mcp.store.ports import RebuildView
from cmc_mcp.store.tables import Table, columns, key

_MILLIONTHS: Final = 1_000_000


class _Tags(PayloadIndex):
    """Rows (name, value, facts)."""

    table = Table(
        "tags", columns("ws name value* facts:pid"), key("facts name value"), "derived",
        write_rank=80, move_rank=90, erased_by="facts", erasable=True, server_key=key("facts name"),
    )  # fmt: skip
    feed = FACTS.number

    def of_payload(self, pid: Pid, body: bytes) -> Iterable[Row]:
        return [(name, value, pid) for name, value in tags_of(decode(body)).items()]


class _Claims(PayloadIndex):
    """Rows (subject, predicate, facts, topic)."""

    table = Table(
        "claims", columns("ws subject* predicate* facts:pid topic"), key("facts subject predicate"), "derived",
        write_rank=90, move_rank=100, erased_by="facts", erasable=True, server_key=key("facts"),
    )  # fmt: skip
    feed = FACTS.number

    def of_payload(self, pid: Pid, body: bytes) -> Iterable[Row]:
        claim = claim_of(decode(body))
        return () if claim is None else ((claim.subject, claim.predicate, pid, claim.topic),)


class _Confidences(PayloadIndex):
    """Rows (millionths, facts)."""

    table = Table(
        "confidences", columns("ws value facts:pid"), key("value facts"), "derived",
        write_rank=100, move_rank=110, erased_by="facts", erasable=True,
    )  # fmt: skip
    feed = FACTS.number

    def of_payload(self, pid: Pid, body: bytes) -> Iterable[Row]:
        confidence = number_of(decode(body), "confidence")
        return () if confidence is None else ((round(confidence * _MILLIONTHS), pid),)


def fill_topics(view: RebuildView) -> None:
    """Number the topics of the claims of a workspace that was written before they had numbers."""
    rows = cast("list[tuple[str, str, Pid, int]]", view.index_rows(CLAIMS.table))
    view.replace(CLAIMS.table, [(*row[:3], Claim(row[0], row[1], "").topic) for row in rows])


TAGS: Final = _Tags()
CLAIMS: Final = _Claims()
CONFIDENCES: Final = _Confidences()
