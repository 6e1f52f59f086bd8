"""Traits: the features of a passage, beside its words, that ranking uses; packed into one integer on writing.

Traits follow from the text, the speaker and the time alone, so they can be computed again and compared.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Final, NamedTuple

PERSON, ASSISTANT, USER = 0, 1, 2
"""The roles of a speaker: a person with a name, a model, and the user who talks to a model."""
_ROLES: Final = {
    "assistant": ASSISTANT, "ai": ASSISTANT, "bot": ASSISTANT, "chatbot": ASSISTANT, "model": ASSISTANT,
    "user": USER, "human": USER,
}  # fmt: skip
_FIRST_PERSON: Final = re.compile(r"\b(?:i|my|mine|me|we|our|ours)\b", re.IGNORECASE)
YEAR: Final = re.compile(r"(?<!\w)(?:1\d{3}|20\d\d)(?!\w)")
_HEADING: Final = re.compile(r"#{1,6}[ \t][^\n]*\n?\Z")  # Markdown's, alone
_WORD: Final = re.compile(r"\w+")
_QUESTION_MARKS: Final = "?？؟;"
_YEAR_BASE: Final = 999  # subtracted from a year before it is packed; 0 means no year
BYTES_MAX: Final = 65_536
CHARS_MAX: Final = (1 << 20) - 1
CHARS_SHIFT, FIRST_YEAR_SHIFT, LAST_YEAR_SHIFT, MONTH_SHIFT, HEADING_SHIFT = 5, 25, 36, 47, 61
YEAR_BITS: Final = 11
MONTH_BITS: Final = 14


class PackedTraits(NamedTuple):
    """A passage's traits in one number, and the number of its speaker (0 for none)."""

    traits: int
    speaker: int


NO_TRAITS: Final = PackedTraits(0, 0)
"""Those of a passage without text."""


class Traits(NamedTuple):
    """A passage's traits. The years are those that the text names; the month of `occurred_at` is year · 12 + month - 1.

    `heading` marks a passage that consists of a heading alone: the passages below it carry its words already.
    """

    turn: bool
    heading: bool
    role: int
    question: bool
    first_person: bool
    chars: int
    first_year: int  # 0: none
    last_year: int
    month: int  # 0: unknown


def traits_of(data: bytes, *, turn: bool = False, speaker: str = "", occurred_us: int | None = None) -> int:
    """Pack the traits of a passage; the text of a passage longer than `BYTES_MAX` is not read.

    >>> unpacked(traits_of(b"I moved to Lisbon in 2019.", turn=True, speaker="Maya")).first_year
    2019
    """
    text = data.decode() if len(data) <= BYTES_MAX else ""
    years = [int(year) for year in YEAR.findall(text)]
    stripped = text.rstrip()
    packed = int(turn) | _ROLES.get(speaker.casefold().strip(), PERSON) << 1
    packed |= (stripped[-1:] in _QUESTION_MARKS and bool(stripped)) << 3
    packed |= (_FIRST_PERSON.search(text) is not None) << 4
    packed |= min(len(text), CHARS_MAX) << CHARS_SHIFT
    if years:
        packed |= (min(years) - _YEAR_BASE) << FIRST_YEAR_SHIFT | (max(years) - _YEAR_BASE) << LAST_YEAR_SHIFT
    heading = not turn and _HEADING.match(text) is not None
    return packed | _month(occurred_us) << MONTH_SHIFT | heading << HEADING_SHIFT


def derived_traits(content: bytes, discriminator: bytes | None) -> PackedTraits:
    """Return the packed traits and the speaker's number that follow from a content and its discriminator."""
    said = json.loads(discriminator) if discriminator else {}
    if "session" not in said:
        return PackedTraits(traits_of(content), 0)
    occurred, speaker = said.get("occurred_at"), str(said["speaker"])
    when = None if occurred is None else int(occurred)
    return PackedTraits(traits_of(content, turn=True, speaker=speaker, occurred_us=when), speaker_key(speaker))


def unpacked(packed: int) -> Traits:
    """Unpack traits."""
    first = packed >> FIRST_YEAR_SHIFT & (1 << YEAR_BITS) - 1
    last = packed >> LAST_YEAR_SHIFT & (1 << YEAR_BITS) - 1
    month = packed >> MONTH_SHIFT & (1 << MONTH_BITS) - 1
    return Traits(
        turn=bool(packed & 1),
        heading=bool(packed >> HEADING_SHIFT & 1),
        role=packed >> 1 & 3,
        question=bool(packed >> 3 & 1),
        first_person=bool(packed >> 4 & 1),
        chars=packed >> CHARS_SHIFT & CHARS_MAX,
        first_year=first + _YEAR_BASE if first else 0,
        last_year=last + _YEAR_BASE if last else 0,
        month=month + _YEAR_BASE * 12 if month else 0,
    )


def month_code(year: int, month: int) -> int:
    """Return the packed form of a month, before the shift; 0 for a year out of range."""
    code = (year - _YEAR_BASE) * 12 + month - 1
    return code if 0 < code < 1 << MONTH_BITS else 0


def year_code(year: int) -> int:
    """Return the packed form of a year."""
    return year - _YEAR_BASE


def _month(occurred_us: int | None) -> int:
    if occurred_us is None:
        return 0
    try:
        when = datetime.fromtimestamp(occurred_us // 1_000_000, UTC)
    except (OverflowError, OSError, ValueError):
        return 0
    return month_code(when.year, when.month)


def speaker_key(name: str) -> int:
    """Return the number of a speaker, from the first word of the name, case folded; 0 for an empty name or a role.

    The number is 62 bits of SHA-256, so that names need no table of their own.

    >>> speaker_key("Fahim Khan") == speaker_key("fahim"), speaker_key("assistant")
    (True, 0)
    """
    found = _WORD.search(unicodedata.normalize("NFKC", name))
    if found is None or name.casefold().strip() in _ROLES:
        return 0
    word = found.group().casefold()
    return int.from_bytes(hashlib.sha256(b"cmc/speaker/1\0" + word.encode()).digest()[:8], "big") >> 2 or 1
