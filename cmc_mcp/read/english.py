"""The little that ranking knows of English. Other languages lose nothing by it; a question of these words alone keeps them."""

from __future__ import annotations

from typing import Final

FUNCTION_WORDS: Final = frozenset(
    "".join(
        (
            "a about an and any are as at be been being but by can could d did do does doing done for from get had ",
            "has have having he her hers him his how i if in into is it its just ll m me mine my no nor not of on or ",
            "our ours out over re s she should so some such t than that the their theirs them then there these they ",
            "this those through to too under up us ve was we were what when where which while who whom whose why will ",
            "with would you your yours ",
        )
    ).split()
)
"""Words that say how a question is put and not what it is about; they do not search, as long as others are left."""

MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            "january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
            "september sep sept", "october oct", "november nov", "december dec",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
"""Months by name, lower case."""
AMBIGUOUS_MONTHS: Final = frozenset({"may", "march", "mar", "jan", "sept", "dec"})
"""Months that are other words or names too: they count only with a capital."""
