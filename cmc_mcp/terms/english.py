"""English words that say how a question is put and not what it is about."""

from __future__ import annotations

from typing import Final

_TEXT: Final = """
a about an and any are as at be been being but by can could d did do does doing done for from get had
has have having he her hers him his how i if in into is it its just ll m me mine my no nor not of on or
our ours out over re s she should so some such t than that the their theirs them then there these they
this those through to too under up us ve was we were what when where which while who whom whose why will
with would you your yours
"""
FUNCTION_WORDS: Final = frozenset(_TEXT.split())
"""Stored terms depend on them: of a word that is among them, its capitals are a term too ("US", "IT")."""
