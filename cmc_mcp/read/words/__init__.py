"""The words that reading knows: short, closed lists, one file a language, loaded on first use.

Other languages lose nothing by a list that they have not: what is in none is a word like every other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cmc_mcp.terms.english import FUNCTION_WORDS

_WORD: Final = re.compile(r"[^\W\d_]+")
_SENTENCE_END: Final = re.compile(r"[.!?:;…\n。！？]")


@dataclass(frozen=True, slots=True)
class Words:
    """The lists of all languages together; every word is in lower case."""

    asking: frozenset[str]  # they say how a question is put, and do not search as long as others are left
    function: frozenset[str]  # they assert nothing by themselves
    negations: frozenset[str]
    empty: frozenset[str]  # function words, negations, numbers, dates, and a few more: not content
    opposites: tuple[tuple[str, str], ...]
    numerals: Mapping[str, int]  # "five": 5
    ordinals: Mapping[str, int]
    scales: Mapping[str, int]  # "thousand": 1000
    units: Mapping[str, str]  # "seconds": "s"
    months: Mapping[str, int]  # 1 to 12
    days: Mapping[str, int]  # 1 for Monday
    months_too: frozenset[str]  # that are other words or names: a month only with a capital
    dates_too: frozenset[str]  # the same of months and days together
    relative: frozenset[str]  # dates by the time of speaking
    spans: frozenset[str]
    before_spans: frozenset[str]


@lru_cache(maxsize=1)
def words() -> Words:
    """Return the lists, read once."""
    import tomllib
    from importlib import resources

    folder = sorted(resources.files(__name__).iterdir(), key=lambda entry: entry.name)
    files = {entry.name: tomllib.loads(entry.read_text("utf-8")) for entry in folder if entry.name.endswith(".toml")}
    negations = frozenset(word for file in files.values() for word in file["negations"].split())
    en = files["en.toml"]
    numerals = {word: value for value, word in enumerate(en["numerals"].split())}
    numerals |= {word: 10 * value for value, word in enumerate(en["tens"].split(), 2)}
    ordinals, months, days = (_numbered(en[name]) for name in ("ordinals", "months", "days"))
    units = {spelling: unit for unit, spellings in en["units"].items() for spelling in spellings.split()}
    function, relative = frozenset(en["function"].split()), frozenset(en["relative"].split())
    return Words(
        asking=FUNCTION_WORDS,
        function=function,
        negations=negations,
        empty=function
        | negations
        | relative
        | frozenset(en["empty"].split())
        | frozenset((*numerals, *ordinals, *en["scales"], *units, *months, *days)),
        opposites=tuple((one, other) for one, _, other in (pair.partition("/") for pair in en["opposites"].split())),
        numerals=numerals,
        ordinals=ordinals,
        scales=en["scales"],
        units=units,
        months=months,
        days=days,
        months_too=frozenset(en["months_too"].split()),
        dates_too=frozenset(en["dates_too"].split()),
        relative=relative,
        spans=frozenset(en["spans"].split()),
        before_spans=frozenset(en["before_spans"].split()),
    )


def _numbered(lines: list[str]) -> dict[str, int]:
    """Number lines from 1, each the spellings of one word."""
    return {spelling: number for number, spellings in enumerate(lines, 1) for spelling in spellings.split()}


def stem(word: str) -> str:
    """Cut the commonest English endings, so that "plays" and "playing" meet; other words stay.

    >>> stem("plays") == stem("playing") == stem("play"), stem("stopped") == stem("stop")
    (True, True)
    """
    if word[-1] in "gds":  # most words end otherwise
        for ending in ("ing", "ied", "ies", "ed", "es", "s"):
            if word.endswith(ending) and len(word) - len(ending) >= 3:
                word = word[: -len(ending)] + ("y" if ending in ("ied", "ies") else "")
                break
    return word[:-1] if len(word) > 3 and (word[-1] == word[-2] or word[-1] == "e") else word


def capitals(text: str) -> frozenset[str]:
    """Return, in lower case, the words of a text whose capitals say that they are names: "US", "IT", or "Will" inside.

    A first word has a capital anyway, and in a text that is all in capitals, or begins every word with one, they say nothing.

    >>> sorted(capitals("Is the IT budget approved, and did Will see it?"))
    ['it', 'will']
    >>> capitals("Will it rain?"), capitals("IS IT"), capitals("Where Is The Key")
    (frozenset(), frozenset(), frozenset())
    """
    found = list(_WORD.finditer(text))
    lower = any(match.group()[0].islower() for match in found)
    named: set[str] = set()
    end = 0
    for match in found if lower or len(found) == 1 else ():
        word, between = match.group(), text[end : match.start()]
        starts = not end or _SENTENCE_END.search(between) is not None
        end = match.end()
        if len(word) > 1 and (word.isupper() or (word[0].isupper() and not starts)):
            named.add(word.lower())
    return frozenset(named)
