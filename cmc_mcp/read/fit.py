"""Fit: a hard token budget, counted on the text as it is given, with the lines of groups and heads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cmc_mcp.limits import RECALL_TOKENS_MIN
from cmc_mcp.model.results import Item
from cmc_mcp.read.compress import Passages
from cmc_mcp.read.frame import Group, Names, Shared, group_line, group_of, head, piece, printed_as, shared_of, written

_WIDENED_MIN: Final = 16  # tokens of room that are worth a longer excerpt
_WINDOW_MIN: Final = 24  # tokens of words; for more of them a head gives up tags, title and notes
_WINDOW_SHARE: Final = 3  # of a small budget a window takes a third, so that others have room beside it
_LONG: Final = 99_999  # as many tokens as the longest texts have
_SIX: Final = "000000"  # as long as an id is shown


@dataclass(frozen=True, slots=True)
class Room:
    """What an answer may take, and how it is counted, shortened and named."""

    budget: int
    limit: int
    count: Callable[[str], int]
    passages: Passages
    names: Names = field(default_factory=Names)


@dataclass(slots=True)
class Page:
    """What of a sequence went into one answer. `given` has a bit for each item from `offset` on that is dealt with."""

    offset: int
    given: int
    items: list[Item] = field(default_factory=list)
    tokens: int = 0
    left_out: dict[str, int] = field(default_factory=dict)  # id: tokens of the whole

    @property
    def puts_off(self) -> bool:
        """Whether something waits for the next answer."""
        return bool(self.left_out)

    def deal(self, place: int) -> None:
        """Note that the item at a place of the sequence is given."""
        self.given |= 1 << (place - self.offset)
        while self.given & 1:
            self.given >>= 1
            self.offset += 1


@dataclass(slots=True)
class _Entry:
    """One memory on its way into an answer: as it is given now, and what that and the whole of it cost below a group line."""

    place: int
    group: Group
    shared: Shared
    item: Item
    tokens: int
    whole: Item
    whole_tokens: int
    opening: int  # tokens of the group line that it opens, where there is no such group yet
    is_window: bool = False


def fit(items: Iterable[tuple[int, Item]], offset: int, given: int, room: Room) -> Page:
    """Fill an answer with the strongest that fit, skipping what does not; `items` are (place in the sequence, item).

    A memory longer than its share of the budget is shown as an excerpt first, where it may be. What no answer of this
    budget holds is given as a window around the match, so that each answer holds one memory at least; none with a budget
    below `RECALL_TOKENS_MIN`. What was skipped then takes the place of something weaker where that makes room enough, and
    what room is left goes to longer excerpts, strongest first. A memory costs its head and words, and its group's line
    where it is the first of the group; words that are there already cost nothing. What was skipped is named with its size
    and put off to the next answer.

    The parts are counted one by one: counts add up where a line begins with a character that is not blank, and each part
    begins one. The whole text is counted at the end.
    """
    page = Page(offset, given)
    if room.budget < RECALL_TOKENS_MIN:
        return page
    filling = _Filling(room)
    filling.fill(items)
    filling.exchange()
    filling.widen()
    page.tokens = filling.trim()
    for place in sorted(entry.place for entry in filling.placed):
        page.deal(place)
    page.items = [entry.item.model_copy(update={"tokens": entry.tokens}) for entry in filling.placed]
    left = sorted(filling.left, key=lambda entry: entry.place)
    page.left_out = {entry.whole.id: entry.whole_tokens for entry in left}
    return page


def both_ends(items: Sequence[Item]) -> list[Item]:
    """Order strongest-first items so that the strongest stand at both ends and the weakest in the middle.

    Source: Liu et al., Lost in the Middle: How Language Models Use Long Contexts (2023).

    >>> [item.id for item in both_ends([Item(id=name, text="") for name in "12345"])]
    ['1', '3', '5', '4', '2']
    """
    return [*items[::2], *items[1::2][::-1]]


def reduced(item: Item) -> Iterator[Item]:
    """Yield a memory with less and less beside its words: first without tags, title and notes, at last with its id alone."""
    fewer: dict[str, object] = {
        "tags": {},
        "title": None,
        "place": None,
        "around": [],
        "stale_premises": [],
        "more_stale_premises": 0,
        "more_conflicts": 0,
        "duplicates": [],
    }
    yield (item := item.model_copy(update=fewer | {"conflicts": item.conflicts[:1]}))
    yield (item := item.model_copy(update={"conflicts": [], "superseded_by": item.superseded_by[:1], "speaker": None}))
    fewer = {"session": None, "source": None, "witness": None, "valid_from": None, "valid_to": None}
    yield (item := item.model_copy(update=fewer))
    yield item.model_copy(update={"superseded_by": [], "occurred_at": None, "recorded_at": None})


class _Filling:
    """An answer while it is filled."""

    def __init__(self, room: Room) -> None:
        self._room, self._count = room, room.count
        self._is_short_of_room = False
        self._used = 0
        self._groups: dict[Group, tuple[Shared, int, int]] = {}  # what its line says, its tokens, its members
        self._printed: Counter[tuple[str, int | None]] = Counter()
        self.placed: list[_Entry] = []
        self.left: list[_Entry] = []

    def fill(self, items: Iterable[tuple[int, Item]]) -> None:
        """Go through the sequence, strongest first, and place what fits."""
        for place, item in items:
            entry = self._entry(place, item)
            if self._cost(entry) > self._room.budget - self._used:
                self._is_short_of_room |= entry.item is not entry.whole
                self.left.append(entry)
            else:
                self._place(entry)
                if len(self.placed) == self._room.limit:
                    break
            if len(self.left) > self._room.limit:
                break

    def exchange(self) -> None:
        """Let what was skipped take the place of the weakest that is weaker and makes room enough."""
        for entry in list(self.left):
            for weaker in reversed(list(self.placed)):
                if weaker.place < entry.place:
                    break
                if entry.tokens - weaker.tokens - weaker.opening <= self._room.budget - self._used and self._swap(
                    weaker, entry
                ):
                    break

    def _swap(self, out: _Entry, into: _Entry) -> bool:
        """Put one memory in the place of another if there is room for it; say whether."""
        used = self._used
        self._remove(out)
        if fits := self._cost(into) <= self._room.budget - self._used:
            self.left[self.left.index(into)] = out
            self._place(into)
        else:
            self._place(out)
            self._used = used
        self.placed.sort(key=lambda placed: placed.place)
        return fits

    def widen(self) -> None:
        """Widen the excerpts into the room that is left, strongest first."""
        for entry in self.placed:
            room = self._room.budget - self._used
            if room < _WIDENED_MIN:
                break
            if entry.item.original_tokens is None:
                continue
            item, tokens = entry.whole, entry.whole_tokens
            if entry.is_window or tokens - entry.tokens > room:
                item = self._widened(entry, room)
                tokens = self._priced(item, entry.shared)
            if 0 < tokens - entry.tokens <= room:
                self._used += tokens - entry.tokens
                self._printed[printed_as(entry.item)] -= 1
                self._printed[printed_as(item)] += 1
                entry.item, entry.tokens = item, tokens

    def trim(self) -> int:
        """Count the whole text and return its tokens; while it is too long, shorten windows, and leave out the weakest.

        It is too long only where tokens were not counted but bounded, which depends on what stands around them.
        """
        while self.placed:
            tokens = self._count(written([entry.item for entry in self.placed], self._room.names))
            if (excess := tokens - self._room.budget) <= 0:
                return tokens
            if not self._narrow(excess):
                self.left.append(self.placed.pop())
        return 0

    def _narrow(self, excess: int) -> bool:
        """Cut the longest window by what is too much; say whether one could be."""
        windows = [entry for entry in self.placed if entry.is_window or len(self.placed) == 1]
        if not windows:
            return False
        entry = max(windows, key=lambda entry: entry.tokens)
        item = self._window(entry.whole, entry.tokens + entry.opening - excess)
        tokens = self._priced(item, shared_of(item))
        if tokens >= entry.tokens:
            return False
        entry.item, entry.tokens, entry.is_window = item, tokens, True
        return True

    # ------------------------------------------------------------------ prices
    def _priced(self, item: Item, shared: Shared) -> int:
        return self._count(piece(item, self._room.names, shared))

    def _alone(self, item: Item) -> int:
        """Count a memory with the line of its group, and the line end after it."""
        return self._count(written([item], self._room.names) + "\n")

    def _cost(self, entry: _Entry) -> int:
        """Return what an entry costs now: without its group's line if that is there, without its words if they are."""
        cost = entry.tokens + (0 if entry.group in self._groups else entry.opening)
        if self._printed[printed_as(entry.item)] and not entry.item.around:
            line = head(entry.item, self._room.names, entry.shared, _SIX) + "\n"
            cost += self._count(line) - entry.tokens
        return cost

    def _place(self, entry: _Entry) -> None:
        self._used += self._cost(entry)
        shared, opening, members = self._groups.get(entry.group, (entry.shared, entry.opening, 0))
        self._groups[entry.group] = (shared, opening, members + 1)
        self._printed[printed_as(entry.item)] += 1
        self.placed.append(entry)

    def _remove(self, entry: _Entry) -> None:
        shared, opening, members = self._groups.pop(entry.group)
        if members > 1:
            self._groups[entry.group] = (shared, opening, members - 1)
        self._printed[printed_as(entry.item)] -= 1
        self.placed.remove(entry)
        self._used -= self._cost(entry)

    def _opening(self, group: Group, shared: Shared) -> int:
        """Price the line of a group that would come last."""
        before = next(reversed(self._groups.values()))[0].writer if self._groups else ""
        return self._count(group_line(group, shared, before) + "\n")

    # ------------------------------------------------------------------ excerpts
    def _entry(self, place: int, whole: Item) -> _Entry:
        """Price a memory, as an excerpt if it is longer than its share."""
        room = self._room
        group = group_of(whole)
        known = self._groups.get(group)
        shared = shared_of(whole) if known is None else known[0]
        opening = self._opening(group, shared) if known is None else known[1]
        tokens = self._priced(whole, shared)
        entry = _Entry(place, group, shared, whole, tokens, whole, tokens, opening)
        share = room.budget // room.limit
        if tokens + opening > share:
            self._shorten(entry, share)
        if entry.tokens + opening > room.budget:
            item = self._window(whole, self._first_share(whole, share))
            entry.group, entry.shared, entry.is_window = group_of(item), shared_of(item), True
            entry.opening = self._opening(entry.group, entry.shared)
            entry.item, entry.tokens = item, self._priced(item, entry.shared)
        return entry

    def _first_share(self, whole: Item, share: int) -> int:
        """Return what a window may take as long as others may want room too; `widen` uses what they leave."""
        budget = self._room.budget
        bare = whole.model_copy(update={"text": "", "original_tokens": _LONG})
        needed = self._alone(bare) + _WINDOW_MIN
        passage = min(self._room.passages.constants.passage_tokens, budget // _WINDOW_SHARE)
        return min(budget, max(share, passage, RECALL_TOKENS_MIN, needed))

    def _shorten(self, entry: _Entry, share: int) -> None:
        room = self._room
        if self._is_short_of_room and entry.tokens + entry.opening <= room.budget:
            return  # one excerpt had no room, nor has another; the next answer has
        item = room.passages.shortened(entry.whole, entry.tokens, share, room.budget - entry.opening)
        if item is not entry.whole:
            entry.item, entry.tokens = item, self._priced(item, entry.shared)

    def _widened(self, entry: _Entry, room: int) -> Item:
        if entry.is_window:
            return self._cut(entry.whole, entry.item, entry.tokens + entry.opening + room)
        return self._room.passages.widened(entry.whole, room)

    def _window(self, whole: Item, tokens: int) -> Item:
        """Return a memory with a window of its words, in at most `tokens` with the line of its group.

        Where its head leaves too little for words, it gives up what is beside them.
        """
        original = self._count(whole.text)
        text, spare = (whole.text, 0) if original < _WINDOW_MIN else ("", _WINDOW_MIN)
        short = shape = whole.model_copy(update={"text": text, "level": "reference", "original_tokens": original})
        for shape in (short, *reduced(short)):
            if self._alone(shape) + spare <= tokens:
                break
        return self._cut(whole, shape, tokens)

    def _cut(self, whole: Item, shape: Item, tokens: int) -> Item:
        """Return what `shape` says of a memory with as much of its words as `tokens` hold."""
        bare = self._alone(shape.model_copy(update={"text": ""}))
        room = max(0, tokens - bare)
        target = max(room, _WINDOW_MIN)  # beside others, words may take less than they count
        while True:
            item = shape.model_copy(update={"text": self._room.passages.window(whole, target)})
            taken = self._alone(item) - bare
            if taken <= room or not target:
                break
            target = min(target - 1, target * room // taken)  # or more, where they are escaped
        as_whole = item.model_copy(update={"level": whole.level, "original_tokens": None})
        return whole if as_whole == whole else item  # a head that gave something up is said to be shortened
