"""Traits of passages, which are columns of atoms, and the first passage of each speaker, which follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from cmc_mcp.ids import Rid
from cmc_mcp.kernel.identity import text_of
from cmc_mcp.model.traits import NO_TRAITS, PackedTraits, derived_traits
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.indexes import Delta, Index, Row, difference
from cmc_mcp.store.ports import RebuildView, WriteUnit
from cmc_mcp.store.rows import BINARY, MODALITIES
from cmc_mcp.store.tables import SPEAKERS as SPEAKERS_TABLE
from cmc_mcp.store.tables import TRAITS as TRAITS_COLUMNS


class _Traits(Index):
    """Rows (rid, traits, speaker), written with the atom."""

    table = TRAITS_COLUMNS

    def whole(self, audit: Audit) -> Iterator[Row]:
        view = audit.view
        found = view.traits([atom.rid for atom in audit.atoms])
        stored = {row.rid: PackedTraits(row.traits, row.speaker) for row in found}
        for atom in audit.atoms:
            made = NO_TRAITS
            row = audit.payloads[atom.content]
            if MODALITIES[atom.modality] not in BINARY and (row.object or row.pid in audit.inline):
                said = audit.body(atom.discriminator)
                made = derived_traits(audit.text(row.pid) or b"", said)
                if row.object and stored.get(atom.rid) == (unread := derived_traits(b"", said)):
                    made = unread  # a migration cannot look at objects
            yield (atom.rid, *made)


class _Speakers(Index):
    """Rows (speaker, rid), a group each: the unit of work writes them with the traits, the first atom of a speaker wins."""

    table = SPEAKERS_TABLE

    def whole(self, audit: Audit) -> Iterator[Row]:
        first: dict[int, Rid] = {}
        for rid, _, speaker in cast("set[tuple[Rid, int, int]]", audit.wanted(TRAITS)):
            if speaker:
                first[speaker] = min(first.get(speaker, rid), rid)
        yield from first.items()

    def erased(self, unit: WriteUnit) -> Delta:
        return difference(unit.index_rows(self.table), unit.first_spoken())


def fill_traits(view: RebuildView) -> None:
    """Write the traits and speakers of a workspace that was written before there were any; objects are not looked at."""
    made: list[tuple[Rid, int, int]] = []
    first: dict[int, Rid] = {}
    for rid, body, said in view.spoken_texts():
        traits, speaker = derived_traits(text_of(body), said)
        made.append((rid, traits, speaker))
        if speaker:
            first.setdefault(speaker, rid)
    view.replace(TRAITS.table, made)
    view.replace(SPEAKERS.table, first.items())


TRAITS: Final = _Traits()
SPEAKERS: Final = _Speakers()
