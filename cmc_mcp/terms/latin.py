"""Latin words: their stems, the parts of compounds of code, and what is joined by hyphens, dots and underscores.

A term of a word is what SQLite's `porter unicode61` makes of it. All else is added beside it, in the same namespace:
"getUserName" is found by "user", "e-mail" by "email", "U.S.A." by "usa".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final

from cmc_mcp import limits
from cmc_mcp.terms import characters
from cmc_mcp.terms.english import FUNCTION_WORDS
from cmc_mcp.terms.normal import cased, folded
from cmc_mcp.terms.porter import stem
from cmc_mcp.terms.runs import Piece, Weighted

_KEPT_WORDS: Final = 8_192
_PART: Final = 0.6
_JOIN: Final = 1.0
_PAIR: Final = 1.0
_UMLAUT: Final = 0.6
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"})
_PARTS_MAX: Final = 6
_ENDINGS: Final = frozenset(("st", "nd", "rd", "th", "s"))  # of ordinals and plurals: no parts
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_HASH_CHARS_MIN: Final = 7
_CAPITALS_MAX: Final = 4  # letters of an abbreviation
_JOINED_MAX: Final = 10  # words of which neighbouring ones are paired
_INITIALS_MAX: Final = 6
_SNAKE_MAX: Final = 4
_HYPHENATED_MAX: Final = 3  # words, where none of them has a digit
_HYPHENATED_CHARS_MAX: Final = 40
_SHORT_CHARS_MAX: Final = 4  # of each of two words that "/", "&" or "." joins


def latin(run: str) -> list[Piece]:
    """Return what a run of Latin words gives.

    >>> [(piece.term, [term for term, _ in piece.extras]) for piece in latin("e-mail")]
    [('e', []), ('mail', []), ('', ['email'])]
    >>> latin("getUserName")[0].term, [term for term, _ in latin("getUserName")[0].extras]
    ('getusernam', ['get', 'user', 'name'])
    >>> [term for term, _ in latin("v4.21.7")[-1].extras]
    ['4·21', '21·7']
    """
    if run.isalnum() and run.isascii():
        return [_word(run[: limits.TERM_CHARS_MAX], not _hash(run))]
    between = [separator for separator in characters.latin_alone().findall(run) if separator]
    words = [word[: limits.TERM_CHARS_MAX] for word in characters.latin_alone().split(run) if word]
    digital = any(map(_hash, words)) and all(_HEX.issuperset(word) for word in words)
    out = [piece for piece in (_word(word, not digital) for word in words) if piece.term]
    if 1 < len(words) <= _JOINED_MAX:
        together = _together([folded(word) for word in words], words, frozenset(between))
        if together:
            named = run.isupper() and together[0][0] in FUNCTION_WORDS  # U.S.
            out.append(Piece(run, "", 0.0, together, "".join(words) if named else ""))
    return out


@lru_cache(maxsize=_KEPT_WORDS)
def _word(word: str, takes_apart: bool) -> Piece:
    plain = folded(word)
    term = stemmed(plain)
    if word.isascii():
        extras = tuple((part, _PART) for part in _parts(word)) if takes_apart else ()
    else:
        extras = tuple(one for one in _spellings(word) if one[0] != term)
    named = 1 < len(word) <= _CAPITALS_MAX and word.isascii() and word.isupper() and plain in FUNCTION_WORDS
    return Piece(word, term, 1.0, extras, word if named else "")


def stemmed(word: str) -> str:
    """Return the stem of a folded word; of one that has letters of its own, the word."""
    return stem(word) if word.isascii() else word


def _hash(word: str) -> bool:
    """Return whether a word is, or begins, a hash: its letters and digits are no parts."""
    return len(word) >= _HASH_CHARS_MIN and _HEX.issuperset(word) and not word.isdigit() and not word.isalpha()


def _parts(word: str) -> list[str]:
    """Return the stems of the parts of a word: by capitals inside, and where letters and digits meet.

    >>> _parts("HTTPServer2"), _parts("word"), _parts("21st"), _parts("URLs"), _parts("5k")
    (['http', 'server', '2'], [], ['21'], [], [])
    """
    if word.isdigit() or (word.isalpha() and (word.islower() or word[1:].islower())):
        return []
    if len(word) == 2 and word[0].isdigit():
        return []
    parts = _camel().findall(word)
    if not 1 < len(parts) <= _PARTS_MAX or (word[-1] == "s" and word[:-1].isupper()):
        return []
    told = [part.lower() for part in parts if len(part) > 1 or part.isdigit()]  # one letter tells nothing
    return [stem(part) for part in told if part not in _ENDINGS]


def _spellings(word: str) -> list[Weighted]:
    """Return other spellings of a word with letters outside ASCII: ä as ae, CO₂ as CO2."""
    out: list[Weighted] = []
    plain = cased(word)
    spelt = plain.translate(_UMLAUTS)
    if spelt != plain:
        out.append((stemmed(folded(spelt)), _UMLAUT))
    if _lowered().search(word):
        out.append((stemmed(folded(unicodedata.normalize("NFKC", plain))), _JOIN))
    return out


def _together(plain: Sequence[str], words: Sequence[str], between: frozenset[str]) -> tuple[Weighted, ...]:
    """Return what the words of a run give together: joined, and each two neighbours with digits."""
    digits = [any("0" <= sign <= "9" for sign in word) for word in plain]
    out: list[Weighted] = []
    if joined := _joined(plain, words, between, digits):
        out.append((stemmed(joined)[: limits.TERM_CHARS_MAX], _JOIN))
    for place in range(len(plain) - 1):
        if digits[place] and digits[place + 1]:
            out.append((_pair(plain[place], plain[place + 1]), _PAIR))
    return tuple(out)


def _joined(plain: Sequence[str], words: Sequence[str], between: frozenset[str], digits: Sequence[bool]) -> str:
    """Return the words of a run as one, where they are often written so; else nothing."""
    count, initials = len(plain), all(len(word) == 1 and word.isalpha() for word in plain)
    if "'" in between:  # O'Reilly's
        parts = plain[:-1] if plain[-1] in ("s", "t", "d") else plain
        return "".join(parts) if count <= 3 and len(parts) > 1 and words[1][0].isupper() else ""
    hyphens = between == {"-"}
    short = count == 2 and between <= {"/", "&", "."} and max(map(len, plain)) <= _SHORT_CHARS_MAX
    if (
        (initials and count <= _INITIALS_MAX and between <= {".", "-"})
        or (count == 2 and hyphens and not all(digits))
        or (short and not all(digits))
        or (between == {"_"} and count <= _SNAKE_MAX)
        or (hyphens and (count <= _HYPHENATED_MAX or any(digits)) and sum(map(len, plain)) <= _HYPHENATED_CHARS_MAX)
    ):
        return "".join(plain)
    return ""


def _pair(one: str, other: str) -> str:
    """Write two neighbouring numbers as one term: of "v1" and "2rc", the numbers that meet."""
    tail, head = _tail().search(one), _head().match(other)
    return f"{tail[0] if tail else one}·{head[0] if head else other}"[: limits.TERM_CHARS_MAX]


@cache
def _camel() -> re.Pattern[str]:
    return re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@cache
def _lowered() -> re.Pattern[str]:
    return re.compile("[\u2080-\u2089\u2090-\u209c]|(?<=[A-Za-z])[\u00b2\u00b3\u00b9\u2070-\u2079]")


@cache
def _tail() -> re.Pattern[str]:
    return re.compile(r"[0-9]{1,128}\Z")


@cache
def _head() -> re.Pattern[str]:
    return re.compile("[0-9]+")
