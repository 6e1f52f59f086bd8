"""Packed codes of vectors, as `verify` wants them; what is packed when, the unit of work says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cmc_mcp.ids import Vid
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.codes import SEGMENT_VECTORS, pack
from cmc_mcp.store.indexes import Index, Row
from cmc_mcp.store.tables import CODES as CODES_TABLE
from cmc_mcp.store.tables import WORKSPACE_SHIFT


class _Codes(Index):
    """Rows (model, segment, vids, seqs, errors, codes) of every full run of vector numbers."""

    table = CODES_TABLE

    def whole(self, audit: Audit) -> Iterator[Row]:
        """Yield the packed codes of every full run; those that an erase dropped are not packed again."""
        view = audit.view
        low, last = view.ws << WORKSPACE_SHIFT, view.head().last_vid
        stored = {(row[0], row[1]) for row in audit.stored(self)}
        for model, *_, dimension in view.models():
            end = low - 1
            while (
                found := view.next_vector(Vid(end))
            ) is not None:  # what there is bounds this, not what the head says
                segment = (found - low) // SEGMENT_VECTORS
                start, end = low + segment * SEGMENT_VECTORS, low + (segment + 1) * SEGMENT_VECTORS - 1
                if end > last:
                    break
                found_here = view.vector_columns(model, Vid(start - 1), Vid(end + 1))
                # the check of vectors names those of another length
                rows = [(model, v, seq, vector) for v, seq, vector in found_here if len(vector) == 4 * dimension]
                if rows and ((model, segment) in stored or not view.erasure_count()):
                    yield (model, segment, *pack(rows)[model])


CODES: Final = _Codes()
