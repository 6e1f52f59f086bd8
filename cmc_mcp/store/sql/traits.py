"""The traits of passages as rows: what they follow from, for stores that were written before there were any."""

from __future__ import annotations

from typing import cast

from cmc_mcp.model.traits import derived_traits
from cmc_mcp.store.rows import TEXTUAL
from cmc_mcp.store.sql.connection import Connection


def rebuild_all(connection: Connection) -> None:
    """Write the traits of every atom of a store, and its speakers; the text of objects is not looked at."""
    rows = connection.execute(
        "SELECT a.rid, a.ws, p.body, p.object, d.body FROM atoms a JOIN payloads p ON p.ws = a.ws AND p.pid = a.content"
        " LEFT JOIN payloads d ON d.ws = a.ws AND d.pid = a.discriminator"
        " WHERE a.modality < ? AND (p.object <> 0 OR p.body IS NOT NULL)"
        " ORDER BY a.rid",
        (TEXTUAL,),
    )
    found = [
        (*derived_traits(cast("bytes | None", body) or b"", cast("bytes | None", said)), rid, ws)
        for rid, ws, body, _, said in rows
    ]
    connection.executemany("UPDATE atoms SET traits = ?, speaker = ? WHERE rid = ? AND ws = ?", found)
    connection.executemany(
        "INSERT INTO speakers VALUES(?, ?, ?) ON CONFLICT DO NOTHING",
        [(ws, key, rid) for _, key, rid, ws in found if key],
    )
