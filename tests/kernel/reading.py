"""What a store holds, read back as the plain values that the oracle speaks of."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from cmc_mcp.canon import digest
from cmc_mcp.documents.manifest import decode_manifest
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import ATOM, EDGE, ITEM, KINDS, SOURCE, Record
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.store.ports import Objects, ReadView
from cmc_mcp.store.rows import MODALITIES
from tests.kernel.oracle import BOUNDS, CELLS, Name, State, encoded, planned

_ENDS = {SINCE_ALWAYS: 0, **{bound: n + 1 for n, bound in enumerate(BOUNDS)}, UNTIL_FURTHER_NOTICE: len(CELLS)}


class Reading:
    """The names of records and the facts of intervals, learnt while their words are there: an erasure may take them."""

    def __init__(self) -> None:
        self.names: dict[int, Name] = {}
        self.keys: dict[Name, bytes] = {}
        self.shown: dict[str, Name] = {}
        self._names_of: dict[str, Name] = {}  # atoms by their key in hexadecimal
        self._facts: dict[int, str] = {}
        self._by_hash: dict[bytes, str] = {}
        self._chains: dict[str, list[str]] = {bytes(32).hex(): []}

    def learn(self, view: ReadView, objects: Objects) -> None:
        """Name every record that is new."""
        for rid, record in sorted(view.all_records().items()):
            if rid not in self.names and KINDS[record.kind].memory:
                self.names[rid] = name = self.name(view, objects, rid, record)
                self.shown[_shown(record)] = name
                if record.kind == ATOM.code:
                    self.keys[name] = record.key
                    self._names_of[record.key.hex()] = name

    def learn_facts(self, view: ReadView) -> None:
        """Read every body of facts that is new, as the chain of a conversation has it: in order."""
        for _, opens, rid, _, _, pid in view.interval_events():
            if opens and pid not in self._facts and rid in self.names:
                facts = view.facts(pid)
                if facts.body is not None:
                    self._facts[pid] = self._by_hash[facts.hash] = self._plain(view, self.names[rid][0], facts.fields)

    def name(self, view: ReadView, objects: Objects, rid: int, record: Record) -> Name:
        """Say in plain values what a record is about."""
        if record.kind == EDGE.code:
            edge = view.edge(rid)
            assert edge is not None
            return ("edge", self.names[edge.source], edge.type, self.names[edge.target])
        if record.kind in (SOURCE.code, ITEM.code):
            pid = view.origin_of(rid)
            assert pid is not None
            origin = (view.payload(pid) or b"").decode()
            if record.kind == SOURCE.code:
                return ("source", origin)
            (position,) = [at for at, item in view.items(pid) if item == rid]
            return ("item", origin, position)
        row = view.atom(rid)
        assert row is not None and MODALITIES[row.modality] == "text"
        content = view.payload_row(row.content)
        body = content.body if content.body is not None else objects.get(view.ws, content.hash)
        text, media = body.decode(), (view.payload(row.media_type) or b"").decode()
        writer = json.loads(view.payload(row.witness) or b"{}")["writer"]
        if not row.origin:
            return ("note", media, text, writer)
        origin = (view.payload(row.origin) or b"").decode()
        told = json.loads(view.payload(row.discriminator) or b"{}") if row.discriminator else {}
        if "session" not in told:
            return ("part", origin, media, text, told.get("twin", 0))
        last = ("at", told["occurred_at"]) if "occurred_at" in told else ("nth", told["ordinal"])
        return ("turn", origin, media, text, writer, told["speaker"], *last)

    def _plain(self, view: ReadView, kind: str, fields: Mapping[str, Any]) -> str:
        if kind == "source":
            pid = view.pid(bytes.fromhex(fields["manifest"]))
            body = None if pid is None else view.payload(pid)
            assert body is not None
            manifest = decode_manifest(body)
            parts = [repr(self._names_of[part.atom.hex()]) for part in manifest.parts]
            return planned(parts, redacted=any(node.title == ERASED for node in manifest.nodes))
        if kind == "item":
            name = self._names_of[fields["atom"]]
            if fields["chain"] not in self._chains:
                (before,) = [
                    chain
                    for chain in self._chains
                    if digest("cmc/chain/1", bytes.fromhex(chain), self.keys[name]).hex() == fields["chain"]
                ]
                self._chains[fields["chain"]] = [*self._chains[before], repr(name)]
            return encoded({"atom": repr(name), "chain": self._chains[fields["chain"]]})
        return encoded(fields)

    def state(self, view: ReadView, seq: int) -> State:
        """Read a whole state back, on the grid; the coding has to be canonical on the way."""
        out: State = {}
        for rid, intervals in view.intervals_of(list(self.names), seq).items():
            name = self.names[rid]
            for left, right in itertools.pairwise(intervals):
                assert left.valid_to <= right.valid_from, "pieces overlap"
                assert left.valid_to < right.valid_from or left.facts != right.facts, "equal neighbours are not joined"
            for interval in intervals:
                facts = self._by_hash[interval.facts.hash]
                for cell in range(_ENDS[interval.valid_from], _ENDS[interval.valid_to]):
                    out[name, cell] = facts
        return out


def _shown(record: Record) -> str:
    kind = KINDS[record.kind].name
    return atom_name(record.key) if record.kind == ATOM.code else f"{kind}_{record.key.hex()}"
