"""Numbers that are written with signs or words between their digits: amounts, phones, and a few names with signs.

They may run over spaces, so they are looked for in a whole text, and only where it has digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

_NOT_INSIDE: Final = "(?<![0-9A-Za-z_.,])"
_SCALES: Final = {
    "k": 3, "thousand": 3, "m": 6, "mn": 6, "million": 6, "bn": 9, "billion": 9, "trillion": 12,
}  # fmt: skip
_PHONE_DIGITS_MIN: Final = 7
_PHONE_DIGITS_MAX: Final = 15
_SUFFIX_DIGITS_MIN: Final = 6
_COUNTRY_DIGITS_MAX: Final = 3


def numbers(text: str) -> dict[str, str]:
    """Return the numbers of a normalised text as digits, each with how it is written.

    >>> list(numbers("1,250,000 or 1.5 million"))
    ['1250000', '1500000']
    >>> list(numbers("call +1 (555) 123-4567"))
    ['15551234567', '5551234567', '1234567']
    """
    out: dict[str, str] = {}
    for find in (_grouped, _phones, _scaled):
        for digits, written in find(text):
            out.setdefault(digits, written)
    return out


def has_digits(text: str) -> bool:
    """Return whether there may be a number in a text."""
    return _digit().search(text) is not None


def signed_names(text: str) -> list[str]:
    """Return names that end in signs, in lower case.

    >>> signed_names("C++17 and C#, not a+b")
    ['c++', 'c#']
    """
    return [name.lower() for name in _signed().findall(text)] if "+" in text or "#" in text else []


def _grouped(text: str) -> Iterator[tuple[str, str]]:
    for found in _groups().finditer(text):
        yield _digits().sub("", found[0]), found[0]


def _phones(text: str) -> Iterator[tuple[str, str]]:
    """Yield a phone's number, and what is left of it from each group on; national numbers without their first zero too."""
    for found in _phone().finditer(text):
        groups = [group for group in _digits().split(found[0].replace("(0)", "")) if group]
        if _PHONE_DIGITS_MIN <= sum(map(len, groups)) <= _PHONE_DIGITS_MAX and not _date().match(found[0]):
            for place in range(max(1, len(groups) - 1)):
                rest = "".join(groups[place:])
                for number in dict.fromkeys((rest, rest.lstrip("0"))):
                    if len(number) >= _SUFFIX_DIGITS_MIN:
                        yield number, found[0]
    for found in _international().finditer(text):
        for cut in range(1, _COUNTRY_DIGITS_MAX + 1):
            yield found[1][cut:], found[0]


def _scaled(text: str) -> Iterator[tuple[str, str]]:
    for found in _scale().finditer(text):
        whole, part, scale = found[1], found[2] or "", _SCALES[found[3].lower()]
        if len(part) <= scale:
            yield str(int(whole + part) * 10 ** (scale - len(part))), found[0]


@cache
def _digit() -> re.Pattern[str]:
    return re.compile("[0-9]")


@cache
def _digits() -> re.Pattern[str]:
    return re.compile("[^0-9]+")


@cache
def _groups() -> re.Pattern[str]:
    return re.compile(
        rf"{_NOT_INSIDE}[0-9]{{1,3}}(?:([,.'_ ])[0-9]{{3}})(?:\1[0-9]{{3}}){{0,6}}(?![0-9A-Za-z])(?!\1[0-9])"
    )


@cache
def _phone() -> re.Pattern[str]:
    group = r"(?:[ ./-]{0,2}\([0-9]{1,4}\)|[ ./-]{1,2}[0-9]{2,8}|(?<=\))[0-9]{2,8})"
    return re.compile(rf"(?<![0-9A-Za-z.])\+?(?:\([0-9]{{1,4}}\)|[0-9]{{1,4}}){group}{{1,5}}(?![0-9A-Za-z(])")


@cache
def _date() -> re.Pattern[str]:
    return re.compile(r"(?:19|20)[0-9]{2}[-./][0-9]{2}|[0-9]{1,2}[-./][0-9]{1,2}[-./](?:19|20)[0-9]{2}")


@cache
def _international() -> re.Pattern[str]:
    return re.compile(r"\+([0-9]{10,15})(?![0-9A-Za-z])")


@cache
def _scale() -> re.Pattern[str]:
    names = "|".join(sorted(_SCALES, key=len, reverse=True))
    return re.compile(
        rf"{_NOT_INSIDE}([0-9]{{1,15}})(?:\.([0-9]{{1,12}}))?\s{{0,2}}({names})(?![0-9A-Za-z])", re.IGNORECASE
    )


@cache
def _signed() -> re.Pattern[str]:
    return re.compile(r"(?<![0-9A-Za-z+#])(?:[A-Za-z]{1,10}\+\+(?![A-Za-z+])|[A-Za-z]#(?![0-9A-Za-z#]))")
