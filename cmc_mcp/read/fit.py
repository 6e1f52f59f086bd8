"""Fit: a hard token budget, counted on the text as it is given, ids and separators included."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cmc_mcp.model.results import Item

SEPARATOR = "\n\n"


def render(item: Item) -> str:
    """Write one memory as text: a line that says what it is, then its words, as data.

    >>> print(render(Item(id="atom_1", text="We deploy to Fly.io", speaker="Maya")))
    [atom_1 · Maya]
    We deploy to Fly.io
    """
    parts = [item.id]
    if item.speaker:
        parts.append(item.speaker)
    if item.occurred_at:
        parts.append(item.occurred_at)
    place = item.place or item.source
    if place:
        parts.append(place if not item.source or item.session else f"{item.source} {item.place or ''}".rstrip())
    if item.title:
        parts.append(f"“{item.title}”")
    if item.witness:
        parts.append(f"by {item.witness.writer}")
    parts += [f"#{name}={value}" for name, value in item.tags.items()]
    if item.valid_from or item.valid_to:
        parts.append(f"valid {item.valid_from or '…'} to {item.valid_to or '…'}")
    if item.witness and item.witness.band:
        parts.append(f"confidence {item.witness.band}")
    for name in item.superseded_by:
        parts.append(f"SUPERSEDED by {name}")
    for note in item.conflicts:
        if note.kind in ("claim", "contradicts"):
            parts.append(f"CONFLICTS with {note.with_id} ({note.reason})")
    if item.stale_premises:
        parts.append(f"STALE premises {', '.join(item.stale_premises)}")
    return f"[{' · '.join(parts)}]\n{item.text}"


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


def fit(
    items: Iterable[tuple[int, Item]],
    offset: int,
    given: int,
    budget_tokens: int,
    limit: int,
    count: Callable[[str], int],
) -> Page:
    """Fill an answer with the strongest that fit, skipping what does not; `items` are (place in the sequence, item).

    What fits no answer of this budget is named and not tried again; what does not fit this one any more is named and
    put off to the next. The whole rendered text is counted at the end, since tokens may join across a separator.
    """
    page = Page(offset, given)
    used, separator = 0, count(SEPARATOR)
    placed: list[tuple[int, Item]] = []
    left: list[tuple[int, str, bool]] = []
    for place, item in items:
        tokens = count(render(item))
        if used + tokens + (separator if placed else 0) > budget_tokens:
            left.append((place, item.id, tokens > budget_tokens))
        else:
            used += tokens + (separator if placed else 0)
            placed.append((place, item.model_copy(update={"tokens": tokens})))
            if len(placed) == limit:
                break
        if len(left) > limit:
            break
    text = count(SEPARATOR.join([render(item) for _, item in placed])) if placed else 0
    while text > budget_tokens:
        place, item = placed.pop()
        left.append((place, item.id, not placed))
        text = count(SEPARATOR.join([render(item) for _, item in placed])) if placed else 0
    for place in sorted([place for place, _ in placed] + [place for place, _, hopeless in left if hopeless]):
        page.deal(place)
    page.items, page.tokens = [item for _, item in placed], text
    page.puts_off = any(not hopeless for _, _, hopeless in left)
    page.left_out = [name for _, name, _ in sorted(left)]
    return page
