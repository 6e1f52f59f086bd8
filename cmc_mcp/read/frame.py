"""Frame: how memories are written as text, so that no stored text can leave its place.

A page is lines of four kinds, told apart by how they begin:

    # session standup, 2026-06-01 09:30, by scribe     a group: a session or source, a day, who wrote it down
    a1b2c3 Maya, 09:45, #topic=deploy, confidence A    a memory: its id, who spoke, what else is said of it
     We deploy to Fly.io                               stored words: every line of them begins with one space
    - d4e5f6                                           a neighbour before (`-`) or after (`+`); its words follow

A head says only what differs from its group, and a group its writer only where it differs from the group above. Values on
lines of ours are `shown.value`: plain words, or JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from cmc_mcp.history.references import ID_DIGITS_SHOWN
from cmc_mcp.kernel.identity import ATOM_PREFIX
from cmc_mcp.model.results import RIVALS_NAMED, ConflictNote, Item
from cmc_mcp.model.shown import body, value

DUPLICATES_NAMED: Final = 8
REASON_CHARS_MAX: Final = 120

_SESSION: Final = "session:"
_SAYS: Final = {
    "claim": "CONFLICTS with",
    "contradicts": "CONFLICTS with",
    "newer": "NEWER than",
    "older": "OLDER than",
}


class Names:
    """How ids are written: six digits, but for those that need more.

    >>> Names({"atom_" + "ab" * 16: 8})("atom_" + "ab" * 16), Names()("atom_" + "0123456789abcdef" * 2)
    ('abababab', '012345')
    """

    def __init__(self, digits: Mapping[str, int] | None = None, least: int = ID_DIGITS_SHOWN) -> None:
        self._digits, self._least = {} if digits is None else digits, least

    def __call__(self, name: str) -> str:
        """Return an id as it is written."""
        return name.removeprefix(ATOM_PREFIX)[: self._digits.get(name, self._least)]


class Group(NamedTuple):
    """What makes memories one group: where they are from (a session or a source, or neither) and their day."""

    kind: str
    where: str
    day: str


class Shared(NamedTuple):
    """What a group line says for its first memory, and so for all that do not say otherwise: the time of day, the writer."""

    time: str
    writer: str


def group_of(item: Item) -> Group:
    """Return the group of a memory: its day is the day it happened, else the one it was recorded on."""
    day = item.occurred_at or item.recorded_at or ""
    day = day.partition("T")[0] if item.occurred_at or not day else f"recorded {day.partition('T')[0]}"
    if item.session:
        return Group("session", item.session, day)
    return Group("source", item.source, day) if item.source else Group("", "", day)


def shared_of(item: Item) -> Shared:
    """Return what a group line says if this memory is the group's first."""
    time = (item.occurred_at or "").partition("T")[2].removesuffix("Z").removesuffix(":00")
    return Shared("" if time == "00:00" else time, item.witness.writer if item.witness else "")


def group_line(group: Group, shared: Shared, before: str = "") -> str:
    """Write the line above a group; its writer is said where it is not `before`, the writer of the group above.

    >>> group_line(Group("session", "standup", "2026-06-01"), Shared("09:30", "scribe"))
    '# session standup, 2026-06-01 09:30, by scribe'
    """
    parts = [f"{group.kind} {value(group.where)}"] if group.kind else []
    if group.day:
        parts.append(f"{group.day} {shared.time}".rstrip())
    if shared.writer != before:
        parts.append(f"by {value(shared.writer)}" if shared.writer else "by …")
    return f"# {', '.join(parts)}".rstrip()


def head(item: Item, names: Names, shared: Shared, same_as: str | None = None) -> str:
    """Write the line above a memory's words; `same_as` is the id of the memory on this page that has the very same words.

    >>> head(Item(id="atom_a1b2c3", text="", speaker="Maya", tags={"topic": "tea"}), Names(), Shared("", ""))
    'a1b2c3 Maya, #topic=tea'
    """
    first = names(item.id)
    if item.speaker:
        first += f" {value(item.speaker)}"
    parts = [first, *_circumstances(item, shared), *_marks(item, names)]
    if item.original_tokens:
        parts.append(f"excerpt of {item.original_tokens} tokens")
    if same_as is not None:
        parts.append(f"same words as {same_as}")
    return ", ".join(parts)


def _circumstances(item: Item, shared: Shared) -> Iterator[str]:
    own = shared_of(item)
    if own.time != shared.time:
        yield own.time or "00:00"
    if item.place and not item.session:  # of a turn it says the session again
        yield f"in {value(item.place)}"
    if item.session and item.source and item.source != _SESSION + item.session:
        yield f"from {value(item.source)}"
    if item.title:
        yield f"title {value(item.title)}"
    if own.writer and own.writer != shared.writer:
        yield f"by {value(own.writer)}"
    for name, said in item.tags.items():
        yield f"#{value(name)}={value(said)}"
    if item.valid_from or item.valid_to:
        yield f"valid {_time(item.valid_from)} to {_time(item.valid_to)}"
    if item.witness and item.witness.band:
        yield f"confidence {item.witness.band}"
    if item.gate not in (None, "passes"):
        yield unsure(item)


def _time(said: str | None) -> str:
    return "…" if said is None else said.removesuffix("T00:00:00Z")  # a date alone names the same instant


def unsure(item: Item) -> str:
    """Return the mark of a memory that is not sure enough for what is at stake.

    >>> unsure(Item(id="atom_1", text="", gate="unknown"))
    'UNSURE (confidence unknown)'
    """
    confidence = item.witness.confidence if item.witness and item.gate == "below" else None
    return f"UNSURE (confidence {'unknown' if confidence is None else f'{confidence:g}'})"


def _marks(item: Item, names: Names) -> Iterator[str]:
    if item.superseded_by:
        yield f"SUPERSEDED by {_named(item.superseded_by, names, RIVALS_NAMED)}"
    said = [note for note in item.conflicts if note.kind in _SAYS or note.kind == "possible"]
    yield from (_note(note, names) for note in said[:RIVALS_NAMED])
    if more := max(0, len(said) - RIVALS_NAMED) + item.more_conflicts:
        yield f"CONFLICTS with {more} more"
    if item.stale_premises:
        yield f"STALE premises {_named(item.stale_premises, names, RIVALS_NAMED, item.more_stale_premises)}"
    if item.duplicates:
        yield f"stands for {_named(item.duplicates, names, DUPLICATES_NAMED)}"


def _note(note: ConflictNote, names: Names) -> str:
    if note.kind == "possible":
        return f"MAY CONFLICT with {names(note.with_id)}"
    reason = note.reason if len(note.reason) <= REASON_CHARS_MAX else note.reason[: REASON_CHARS_MAX - 1] + "…"
    return f"{_SAYS[note.kind]} {names(note.with_id)} ({value(reason)})"


def _named(ids: Sequence[str], names: Names, most: int, more: int = 0) -> str:
    """Name the first of some ids, and count the others, with `more` that are not among them."""
    said, more = " ".join(map(names, ids[:most])), more + max(0, len(ids) - most)
    return f"{said} and {more} more" if more else said


def words(item: Item, names: Names, *, printed: bool = True) -> list[str]:
    """Write what stands below a head, as lines: the neighbours before, the words if they are printed, the neighbours after."""
    lines: list[str] = []
    for near in item.around:
        if not near.after:
            lines += [f"- {names(near.id)}", *body(near.text).split("\n")]
    if lines and printed:
        lines.append(f"= {names(item.id)}")  # its own words again
    if printed:
        lines += body(item.text).split("\n")
    for near in item.around:
        if near.after:
            lines += [f"+ {names(near.id)}", *body(near.text).split("\n")]
    return lines


def piece(item: Item, names: Names, shared: Shared) -> str:
    """Write one memory below its group's line, with the line end that separates it from what follows."""
    return "\n".join([head(item, names, shared), *words(item, names)]) + "\n"


def printed_as(item: Item) -> tuple[str, int | None]:
    """Return what is equal of memories whose words are printed once: excerpts are told from whole texts."""
    return item.text, item.original_tokens


def lines_of(items: Iterable[Item], names: Names | None = None) -> list[str]:
    """Write the memories of a page as lines: groups in the order of their first memory, inside in the order given.

    Words that were printed on the page are not printed again: the later head says whose they are.

    >>> said = {"recorded_at": "2026-06-01T09:30:00Z", "text": "We deploy to Fly.io"}
    >>> print("\\n".join(lines_of([Item(id="atom_a1b2c3", **said), Item(id="atom_d4e5f6", speaker="Maya", **said)])))
    # recorded 2026-06-01
    a1b2c3
     We deploy to Fly.io
    d4e5f6 Maya, same words as a1b2c3
    """
    names = names or Names()
    groups: dict[Group, list[Item]] = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)
    out: list[str] = []
    printed: dict[tuple[str, int | None], str] = {}
    before = ""
    for group, members in groups.items():
        shared = shared_of(members[0])
        out.append(group_line(group, shared, before))
        before = shared.writer
        for item in members:
            key = printed_as(item)
            same_as = printed.get(key)
            printed.setdefault(key, names(item.id))
            out += [head(item, names, shared, same_as), *words(item, names, printed=same_as is None)]
    return out


def written(items: Iterable[Item], names: Names | None = None) -> str:
    """Write the memories of a page as text; see `lines_of`."""
    return "\n".join(lines_of(items, names))


def ids_in(items: Iterable[Item]) -> Iterator[str]:
    """Yield every id that the text of these memories may name."""
    for item in items:
        yield item.id
        yield from item.superseded_by
        yield from item.stale_premises
        yield from item.duplicates[:DUPLICATES_NAMED]
        yield from (note.with_id for note in item.conflicts)
        yield from (near.id for near in item.around)
