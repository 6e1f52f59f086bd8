"""Succession: which memories stand in place of one that was superseded, however often what replaced it was replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cmc_mcp.ids import Rid, Seq
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import EdgeRow

_LAYERS_MAX: Final = 4_096  # revisions in a row that are followed


class Succession:
    """The links `supersedes` among memories, as of transaction `seq`. `holds` says whether a record does there.

    A memory is superseded while any transitive successor holds, also when it is told again. Where links form a circle
    (A gave way to B, and B to A), the latest link wins: links that are older and would close the circle do not count.
    """

    def __init__(self, view: LedgerView, seq: Seq, holds: Callable[[Rid], bool]) -> None:
        self._view, self._seq, self._holds = view, seq, holds
        self._known: dict[Rid, tuple[Rid, ...]] = {}
        self._above: dict[Rid, frozenset[Rid]] = {}

    def standing(self, rid: Rid) -> tuple[Rid, ...]:
        """Return what holds and supersedes a memory: the nearest along each way, those linked latest first."""
        if rid not in self._known:
            links, circular = self._closure(rid)
            self._above[rid] = frozenset(edge.source for edge in links)
            if circular:
                links = self._straightened(links)
            self._known[rid] = self._nearest(rid, links)
        return self._known[rid]

    def succeeds(self, rid: Rid, older: Rid) -> bool:
        """Return whether a memory is among those that ever took the place of an older one."""
        self.standing(older)
        return rid in self._above[older]

    def _closure(self, rid: Rid) -> tuple[list[EdgeRow], bool]:
        """Return every link above a memory, and whether they lead back to it."""
        links: list[EdgeRow] = []
        seen, layer = {rid}, [rid]
        circular = False
        for _ in range(_LAYERS_MAX):
            found = [edge for edge in self._view.edges(layer, incoming=True) if edge.type == "supersedes"]
            found = [edge for edge in found if self._holds(edge.rid)]
            links += found
            circular |= any(edge.source == rid for edge in found)
            layer = sorted({edge.source for edge in found} - seen)
            if not layer:
                break
            seen.update(layer)
        return links, circular

    def _straightened(self, links: list[EdgeRow]) -> list[EdgeRow]:
        """Return the links, latest first, without those that would close a circle of later ones."""
        rows = {edge.rid: self._view.interval_rows(edge.rid) for edge in links}
        since = {
            rid: max((row.tx_from for row in mine if row.tx_from <= self._seq < row.tx_to), default=OPEN)
            for rid, mine in rows.items()  # a link without any was made by the write in progress
        }
        kept: list[EdgeRow] = []
        above: dict[Rid, set[Rid]] = {}
        for edge in sorted(links, key=lambda edge: (since[edge.rid], edge.rid), reverse=True):
            if edge.target not in _reached(edge.source, above):
                above.setdefault(edge.target, set()).add(edge.source)
                kept.append(edge)
        return kept

    def _nearest(self, rid: Rid, links: list[EdgeRow]) -> tuple[Rid, ...]:
        above: dict[Rid, list[Rid]] = {}
        for edge in links:
            above.setdefault(edge.target, []).append(edge.source)
        out: dict[Rid, None] = {}
        seen, layer = {rid}, [rid]
        while layer:
            following: list[Rid] = []
            for each in layer:
                for source in sorted(above.get(each, ()), reverse=True):
                    if source in seen:
                        continue
                    seen.add(source)
                    if self._holds(source):
                        out[source] = None
                    else:
                        following.append(source)
            layer = following
        return tuple(out)


def _reached(start: Rid, above: dict[Rid, set[Rid]]) -> set[Rid]:
    """Return what is above a memory by some links, itself included."""
    seen, layer = {start}, [start]
    while layer:
        layer = [source for each in layer for source in above.get(each, ()) if source not in seen]
        seen.update(layer)
    return seen
