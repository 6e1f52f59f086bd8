"""Pieces: the run-length coding of a function from valid time to facts, and its algebra.

Pieces of one record are ordered, never overlap, and equal neighbours are joined, so one function has one coding and
equal states have equal roots. All functions here are pure.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cmc_mcp.canon import digest
from cmc_mcp.kernel.kinds import Record
from cmc_mcp.model.facts import Facts, Registers, facts_of, merged
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE

_ENDS = struct.Struct(">qq")


class Piece(NamedTuple):
    """Facts that hold on `[valid_from, valid_to)` (microseconds)."""

    valid_from: int
    valid_to: int
    facts: Facts


Pieces = tuple[Piece, ...]
NOTHING: Pieces = ()


def leaf(record: Record, pieces: Pieces) -> bytes:
    """Hash a record with its pieces (32 bytes): the value the state tree holds for it."""
    body = b"".join([_ENDS.pack(p.valid_from, p.valid_to) + p.facts.hash for p in pieces])
    return digest("cmc/leaf/1", bytes([record.kind]) + record.key, body)


def joined(pieces: Iterable[Piece]) -> Pieces:
    """Join equal neighbours of ordered pieces."""
    out: list[Piece] = []
    for piece in pieces:
        if out and out[-1].valid_to == piece.valid_from and out[-1].facts == piece.facts:
            out[-1] = Piece(out[-1].valid_from, piece.valid_to, piece.facts)
        else:
            out.append(piece)
    return tuple(out)


def at(pieces: Pieces, instant: int) -> Facts | None:
    """Return the facts that hold at an instant of valid time."""
    for piece in pieces:
        if piece.valid_from <= instant < piece.valid_to:
            return piece.facts
    return None


def pointwise(
    combine: Callable[[tuple[Facts | None, ...]], Facts | None],
    *functions: Pieces,
    valid_from: int = SINCE_ALWAYS,
    valid_to: int = UNTIL_FURTHER_NOTICE,
) -> Pieces:
    """Combine functions instant by instant inside `[valid_from, valid_to)`; outside it the first one stays."""
    cuts = {SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, valid_from, valid_to}
    for pieces in functions:
        for piece in pieces:
            cuts.update(piece[:2])
    ordered = sorted(cuts)
    out: list[Piece] = []
    for start, end in itertools.pairwise(ordered):
        values = tuple(at(pieces, start) for pieces in functions)
        value = combine(values) if valid_from <= start < valid_to else values[0]
        if value is not None:
            out.append(Piece(start, end, value))
    return joined(out)


def asserted(pieces: Pieces, valid_from: int, valid_to: int, changes: Registers) -> Pieces:
    """Set registers on an interval (SQL:2011 FOR PORTION OF): what is not named, and time elsewhere, stays."""
    if not pieces:
        return (Piece(valid_from, valid_to, facts_of(merged({}, changes))),)
    return pointwise(
        lambda values: facts_of(merged(values[0].registers if values[0] else {}, changes)),
        pieces,
        valid_from=valid_from,
        valid_to=valid_to,
    )


def revised(pieces: Pieces, changes: Registers, *, replace_tags: bool) -> Pieces:
    """Set registers wherever the function holds; with `replace_tags`, tags that are not named go."""

    def change(values: tuple[Facts | None, ...]) -> Facts | None:
        if values[0] is None:
            return None
        old = values[0].registers
        kept = {k: v for k, v in old.items() if not (replace_tags and k.startswith("tag:"))}
        return facts_of(merged(kept, changes))

    return pointwise(change, pieces)


def bounded(pieces: Pieces, valid_from: int | None, valid_to: int | None) -> Pieces:
    """Make validity exactly `[valid_from, valid_to)`: cut, and stretch the outer facts where it grows.

    None keeps that end. The result is empty when nothing is left.
    """
    if not pieces:
        return NOTHING
    start = pieces[0].valid_from if valid_from is None else valid_from
    end = pieces[-1].valid_to if valid_to is None else valid_to
    out: list[Piece] = []
    for index, (old_from, old_to, facts) in enumerate(pieces):
        new_from = start if index == 0 and start < old_from else max(old_from, start)
        new_to = end if index == len(pieces) - 1 and end > old_to else min(old_to, end)
        if new_from < new_to:
            out.append(Piece(new_from, new_to, facts))
    return joined(out)


def without(pieces: Pieces, other: Pieces) -> Pieces:
    """Return a function restricted to where another one does not hold."""
    return pointwise(lambda values: None if values[1] is not None else values[0], pieces, other)


def overlaid(pieces: Pieces, other: Pieces) -> Pieces:
    """Set the registers of another function on top, wherever that one holds."""

    def lay(values: tuple[Facts | None, ...]) -> Facts | None:
        below, above = values
        if above is None or below is None:
            return above or below
        return facts_of(merged(below.registers, above.registers))

    return pointwise(lay, pieces, other)
