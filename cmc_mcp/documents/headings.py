"""Headings: what full text shows beside a passage, as `verify` wants it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final, cast

from cmc_mcp.documents.manifest import Manifest
from cmc_mcp.documents.nodes import lineage
from cmc_mcp.documents.sources import documents
from cmc_mcp.ids import Rid
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import format_time
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.indexes import Index, Row
from cmc_mcp.store.rows import AtomRow
from cmc_mcp.store.tables import HEADINGS as HEADINGS_TABLE

SEPARATOR: Final = " › "


class _Headings(Index):
    """Rows (rid, heading), written with the passage."""

    table = HEADINGS_TABLE

    def whole(self, audit: Audit) -> Iterator[Row]:
        """Yield a title, then the sections above it, or the speaker and the date.

        What an erase took out of the headings of a source is told nowhere, so there the stored ones stand; as does the
        title of what was told twice in one transaction. That they are what full text knows, its own check finds.
        """
        stored = cast("dict[Rid, str]", dict(cast("set[tuple[Rid, str]]", audit.stored(self))))
        verbs = {row.seq: row.verb for row in audit.rows}
        touched = {atom.origin for atom in audit.atoms if atom.origin and audit.was_erased(atom)}
        placed: dict[bytes, tuple[str, ...]] = {}
        for versions in audit.once(documents).values():
            for _, _, manifest in versions:
                for key, titles in () if manifest is None else _places(manifest):
                    placed.setdefault(key, titles)
        for atom in audit.atoms:
            said = stored.get(atom.rid, "")
            if audit.payloads[atom.content].hash in audit.erased:
                continue
            if atom.origin in touched or audit.was_erased(atom):
                heading = said
            else:
                heading = _heading(audit, atom, said, placed.get(atom.key), revised=verbs.get(atom.seq) == "revise")
            if heading:
                yield atom.rid, heading


def _heading(audit: Audit, atom: AtomRow, said: str, place: tuple[str, ...] | None, *, revised: bool) -> str:
    tail = place or _turn(audit.body(atom.discriminator))
    given = [""] if revised else [str(audit.fields(pid).get("title", "")) for pid in audit.first[atom.rid][1]]
    made = [_joined(title, tail) for title in given]
    told_twice = place is None and said and said == _joined(said.split(SEPARATOR)[0], tail)
    return said if said in made or told_twice else made[0]


def _places(manifest: Manifest) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Yield each atom of a version with the titles it stands under, the document's own left out."""
    titles = {node.path: node.title for node in manifest.nodes}
    for part in manifest.parts:
        above = [path for path in reversed(lineage(part.place.rpartition("#")[0])) if path]
        yield part.atom, tuple(titles.get(path, ERASED) for path in above)


def _turn(discriminator: bytes | None) -> tuple[str, ...]:
    said = json.loads(discriminator) if discriminator else {}
    if "speaker" not in said:
        return ()
    occurred = said.get("occurred_at")
    date = None if occurred is None else format_time(int(occurred))
    return str(said["speaker"]), date[:10] if date else ""


def _joined(title: str, tail: Iterable[str]) -> str:
    return SEPARATOR.join(dict.fromkeys(word for word in (title, *tail) if word))


HEADINGS: Final = _Headings()
