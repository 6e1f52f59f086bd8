"""The passages of a workspace: what full text is made of, read again from what was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cmc_mcp import errors
from cmc_mcp.ids import PayloadHash, Pid, Rid, Ws
from cmc_mcp.kernel.identity import text_of
from cmc_mcp.store.postings import Text
from cmc_mcp.store.rows import TEXTUAL
from cmc_mcp.store.sql.audit import AuditView

_BATCH: Final = 200


Fetch = Callable[[Ws, PayloadHash], bytes]
"""Returns the bytes of an object of a workspace."""


def passages_of(view: AuditView, fetch: Fetch) -> Iterator[list[Text]]:
    """Yield the passages of a workspace in the order of their records, some at a time; those that were erased are left out."""
    headings: dict[Rid, str] = dict(
        view.connection.execute("SELECT rid, heading FROM headings WHERE ws = ?", (view.ws,)).fetchall()
    )
    atoms = sorted(view.all_atoms(), key=lambda atom: atom.rid)
    for start in range(0, len(atoms), _BATCH):
        some = atoms[start : start + _BATCH]
        payloads = view.payload_rows({row.content for row in some if row.modality < TEXTUAL})
        binary = _there(view, [row.content for row in some if row.modality >= TEXTUAL])
        batch: list[Text] = []
        for row in some:
            text = b""
            if row.modality < TEXTUAL:
                payload = payloads.get(row.content)
                if payload is None or (payload.body is None and not payload.object):
                    continue  # erased, or lost, which another check names
                text = payload.body if payload.body is not None else _object(fetch, view.ws, payload.hash)
            elif row.content not in binary:
                continue
            batch.append((row.rid, headings.get(row.rid, ""), text_of(text).decode("utf-8", "replace")))
        yield batch


def _there(view: AuditView, contents: Sequence[Pid]) -> set[Pid]:
    """Return those contents that are not erased, without their bytes."""
    found = view.connection.execute(
        "SELECT pid FROM payloads WHERE ws = ?1 AND pid IN (SELECT value FROM json_each(?2))"
        " AND (object = 1 OR body IS NOT NULL)",
        (view.ws, json.dumps(contents)),
    )
    return {pid for (pid,) in found} if contents else set()


def _object(fetch: Fetch, ws: Ws, hash_: PayloadHash) -> bytes:
    try:
        return fetch(ws, hash_)
    except errors.CmcError:
        return b""  # named by the check of objects
