"""Fit: a hard token budget, counted on the text as it is given, ids and separators included."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def fit(
    items: Sequence[Item], budget_tokens: int, limit: int, count: Callable[[str], int]
) -> tuple[list[Item], int, list[str]]:
    """Keep the strongest that fit, skipping what does not; give them, their tokens, and the ids left out.

    The whole rendered text is counted again at the end, since tokens may join across a separator.
    """
    kept: list[Item] = []
    left_out: list[str] = []
    used, separator = 0, count(SEPARATOR)
    for item in items:
        if len(kept) >= limit:
            break
        tokens = count(render(item))
        if used + tokens + separator > budget_tokens:
            left_out.append(item.id)
            continue
        used += tokens + separator
        kept.append(item.model_copy(update={"tokens": tokens}))
    total = count(SEPARATOR.join(render(item) for item in kept)) if kept else 0
    while total > budget_tokens:
        left_out.append(kept.pop().id)
        total = count(SEPARATOR.join(render(item) for item in kept)) if kept else 0
    return kept, total, left_out
