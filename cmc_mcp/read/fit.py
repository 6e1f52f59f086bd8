"""Fit: a hard token budget, counted on the text as it is given, ids and separators included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cmc_mcp.model.results import Item, Neighbour
from cmc_mcp.model.shown import beside, body, part

SEPARATOR = "\n\n"
ID_DIGITS_SHOWN: Final = 12
"""Of an id, how much is written in a text: enough for a reference, and half the tokens. Of a million, one in 10⁸ is met."""

_MIDNIGHT: Final = "T00:00:00Z"  # a date alone names the same instant
_WIDENED_MIN: Final = 16  # tokens of room that are worth a longer excerpt


def render(item: Item) -> str:
    """Write one memory as text: a line that says what it is, then its words, as data that cannot pose as such a line.

    >>> print(render(Item(id="atom_1", text="We deploy to Fly.io", speaker="Maya")))
    [atom_1 · Maya]
    We deploy to Fly.io
    """
    parts = [short(item.id)]
    if item.speaker:
        parts.append(part(item.speaker, alone=True))
    if item.occurred_at:
        parts.append(item.occurred_at.removesuffix(_MIDNIGHT))
    place = item.place or item.source
    if place:
        whole = place if not item.source or item.session else f"{item.source} {item.place or ''}".rstrip()
        parts.append(part(whole, alone=True))
    if item.title:
        parts.append(f"“{part(item.title)}”")
    if item.witness:
        parts.append(f"by {part(item.witness.writer)}")
    parts += [f"#{name}={part(value)}" for name, value in item.tags.items()]
    if item.valid_from or item.valid_to:
        parts.append(f"valid {item.valid_from or '…'} to {item.valid_to or '…'}")
    if item.witness and item.witness.band:
        parts.append(f"confidence {item.witness.band}")
    for name in item.superseded_by:
        parts.append(f"SUPERSEDED by {short(name)}")
    for note in item.conflicts:
        if note.kind in ("claim", "contradicts"):
            parts.append(f"CONFLICTS with {short(note.with_id)} ({part(note.reason)})")
        elif note.kind in ("newer", "older"):
            parts.append(f"{note.kind.upper()} than {short(note.with_id)} ({part(note.reason)})")
        elif note.kind == "possible":
            parts.append(f"MAY CONFLICT with {short(note.with_id)}")
    if item.more_conflicts:
        parts.append(f"and {item.more_conflicts:,} more disagree")
    if item.stale_premises:
        parts.append(f"STALE premises {', '.join(short(name) for name in item.stale_premises)}")
    if item.original_tokens:
        parts.append(f"excerpt of {item.original_tokens} tokens")
    before = [_beside(near) for near in item.around if not near.after]
    after = [_beside(near) for near in item.around if near.after]
    return "\n".join([f"[{' · '.join(parts)}]", *before, body(item.text), *after])


def _beside(near: Neighbour) -> str:
    return beside(short(near.id), near.text)


def short(name: str) -> str:
    """Shorten an id to what every reference accepts.

    >>> short("atom_" + "0123456789abcdef" * 2)
    'atom_0123456789ab'
    """
    prefix, mark, digits = name.partition("_")
    return f"{prefix}{mark}{digits[:ID_DIGITS_SHOWN]}"


@dataclass(slots=True)
class Page:
    """What of a sequence went into one answer. `given` has a bit for each item from `offset` on that is dealt with."""

    offset: int
    given: int
    items: list[Item] = field(default_factory=list)
    tokens: int = 0
    left_out: list[str] = field(default_factory=list)
    puts_off: bool = False  # something waits for the next answer

    def deal(self, place: int) -> None:
        """Note that the item at a place of the sequence is dealt with: given, or too big for any answer."""
        self.given |= 1 << (place - self.offset)
        while self.given & 1:
            self.given >>= 1
            self.offset += 1


class Shortener(Protocol):
    """A maker of excerpts for one question; `read/compress.py` has the one that ships."""

    def shortened(self, whole: Item, tokens: int, share: int, budget: int) -> Item:
        """Return a memory that takes `tokens` cut to its share of the budget, or whole if that is enough."""
        ...

    def widened(self, whole: Item, room: int) -> Item:
        """Return a memory that was shortened before with `room` tokens more."""
        ...


@dataclass(slots=True)
class _Entry:
    """One memory on its way into an answer: as it is given now, and what that and the whole of it cost."""

    place: int
    item: Item
    tokens: int
    whole: Item
    whole_tokens: int


def fit(
    items: Iterable[tuple[int, Item]],
    offset: int,
    given: int,
    budget_tokens: int,
    limit: int,
    count: Callable[[str], int],
    shortener: Shortener | None = None,
) -> Page:
    """Fill an answer with the strongest that fit, skipping what does not; `items` are (place in the sequence, item).

    With a shortener, a memory longer than its share of the budget is shown as an excerpt first. What was skipped then
    takes the place of something weaker where that makes room enough, and what room is left goes to longer excerpts,
    strongest first. What fits no answer of this budget is named and not tried again; what does not fit this one any
    more is named and put off to the next. The whole rendered text is counted at the end, since tokens may join across a
    separator.
    """
    filling = _Filling(budget_tokens, limit, count, shortener)
    filling.fill(items)
    filling.exchange()
    filling.widen()
    tokens = filling.trim()
    page = Page(offset, given, tokens=tokens)
    hopeless = [entry.place for entry in filling.left if filling.is_hopeless(entry)]
    for place in sorted([entry.place for entry in filling.placed] + hopeless):
        page.deal(place)
    page.items = [entry.item.model_copy(update={"tokens": entry.tokens}) for entry in filling.placed]
    page.puts_off = len(hopeless) < len(filling.left)
    page.left_out = [entry.item.id for entry in sorted(filling.left, key=lambda entry: entry.place)]
    return page


def both_ends(items: Sequence[Item]) -> list[Item]:
    """Order strongest-first items so that the strongest stand at both ends and the weakest in the middle.

    Source: Liu et al., Lost in the Middle: How Language Models Use Long Contexts (2023).

    >>> [item.id for item in both_ends([Item(id=name, text="") for name in "12345"])]
    ['1', '3', '5', '4', '2']
    """
    return [*items[::2], *items[1::2][::-1]]


class _Filling:
    """An answer while it is filled, for one budget."""

    def __init__(self, budget: int, limit: int, count: Callable[[str], int], shortener: Shortener | None) -> None:
        self._budget, self._limit, self._count, self._shortener = budget, limit, count, shortener
        self._separator = count(SEPARATOR)
        self._is_short_of_room = False
        self._used = -self._separator  # one less than there are memories
        self.placed: list[_Entry] = []
        self.left: list[_Entry] = []

    def is_hopeless(self, entry: _Entry) -> bool:
        """Return whether a memory fits no answer of this budget."""
        return entry.tokens > self._budget

    def fill(self, items: Iterable[tuple[int, Item]]) -> None:
        """Go through the sequence, strongest first, and place what fits."""
        for place, item in items:
            entry = self._entry(place, item)
            if self._room() < entry.tokens:
                self._is_short_of_room |= entry.item is not entry.whole
                self.left.append(entry)
            else:
                self._place(entry)
                if len(self.placed) == self._limit:
                    break
            if len(self.left) > self._limit:
                break

    def exchange(self) -> None:
        """Let what was skipped take the place of the weakest that is weaker and makes room enough."""
        for entry in [entry for entry in self.left if not self.is_hopeless(entry)]:
            for weaker in reversed(self.placed):
                if weaker.place < entry.place:
                    break
                if entry.tokens - weaker.tokens <= self._room() + self._separator:
                    self.placed.remove(weaker)
                    self._used -= weaker.tokens + self._separator
                    self.left[self.left.index(entry)] = weaker
                    self._place(entry)
                    self.placed.sort(key=lambda placed: placed.place)
                    break

    def widen(self) -> None:
        """Widen the excerpts into the room that is left, strongest first."""
        for entry in self.placed:
            room = self._room() + self._separator
            if self._shortener is None or room < _WIDENED_MIN:
                break
            if entry.tokens == entry.whole_tokens:
                continue
            item, tokens = entry.whole, entry.whole_tokens
            if tokens - entry.tokens > room:
                item = self._shortener.widened(item, room)
                tokens = self._count(render(item))
            if 0 < tokens - entry.tokens <= room:
                self._used += tokens - entry.tokens
                entry.item, entry.tokens = item, tokens

    def trim(self) -> int:
        """Count the whole text, leave out the weakest while it is too long, and return its tokens."""
        while self.placed:
            tokens = self._count(SEPARATOR.join([render(entry.item) for entry in self.placed]))
            if tokens <= self._budget:
                return tokens
            entry = self.placed.pop()
            if not self.placed:
                entry.tokens = tokens
            self.left.append(entry)
        return 0

    def _entry(self, place: int, whole: Item) -> _Entry:
        whole_tokens = self._count(render(whole))
        entry = _Entry(place, whole, whole_tokens, whole, whole_tokens)
        share = self._budget // self._limit
        if self._shortener is None or whole_tokens <= share:
            return entry
        if self._is_short_of_room and whole_tokens <= self._budget:
            return entry  # one excerpt had no room, nor has another; the next answer has
        item = self._shortener.shortened(whole, whole_tokens, share, self._budget)
        if item is not whole:
            entry.item, entry.tokens = item, self._count(render(item))
        return entry

    def _room(self) -> int:
        """Return the tokens that one more memory may have."""
        return self._budget - self._used - self._separator

    def _place(self, entry: _Entry) -> None:
        self.placed.append(entry)
        self._used += entry.tokens + self._separator
