"""Agree: what a text asserts that must match before it may stand for another: numbers, dates, names, negation.

A similar vector says that two texts are about the same thing, never that they say the same of it ("the limit is 10",
"the limit is 100"). So this looks at the words. It errs towards difference: a merge that is missed costs a line, one
that is wrong hides a fact. Digits and letters may be of any script; the lists of words are short and closed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final

from cmc_mcp.ids import Pid
from cmc_mcp.model.equality import equality_key
from cmc_mcp.model.patterns import late
from cmc_mcp.read.words import stem, words

IDEOGRAMS: Final = "\u2e80-\u9fff\uf900-\ufaff"
"""The signs that are a word each, as ranges of a character class."""
SLOT_WORD: Final = late(rf"[{IDEOGRAMS}]|[^\W{IDEOGRAMS}]+")
STEM: Final = 5  # letters that stand for a word, so that its inflections meet
_STATEMENTS_MAX: Final = 4_096
_EDGE: Final = "\"'’‘“”„«»()[]{}<>*_`~,;:.!?…。、！？：；，（）「」|-–—#"
_SENTENCE: Final = late(
    r"(?!(?<=\b[Nn][ro]\.)\s*\d|(?<=\b[Nn][uú]m\.)\s*\d|(?<=\b[Nn]\.º)\s*\d)(?<=[.!?。！？;；])\s+|\n+|(?<=[。！？])"
)
_STOPS: Final = frozenset(".!?…。！？:;|\n")
_NUMBER: Final = late(
    r"(?P<sign>[-−+~≈]?)(?P<money>[$€£¥]?)(?P<digits>\d{1,3}(?:[,'’_]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?P<unit>%|[^\W\d_]{0,12}|[$€£¥])"
)
_PLAIN_NUMBER: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_ISO_DATE: Final = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ]?(\d{1,2}:\d{2}.*))?")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?\s*([ap]\.?m\.?)?(?:z|utc)?", re.IGNORECASE)
_NEGATING_PREFIXES: Final = ("un", "non", "dis", "in", "im", "ir", "de")
_PREFIXED_MIN: Final = 5  # letters of the rest: "in-valid", not "in-form"


@dataclass(frozen=True)
class Asserted:
    """The assertions of a text. `words` are case-folded, in order; everything else is a set of canonical strings."""

    words: tuple[str, ...]
    numbers: frozenset[str]
    dates: frozenset[str]
    names: frozenset[str]  # certain ones
    starts: frozenset[str]  # open-class words that begin a sentence: names perhaps
    negations: int

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """The distinct words."""
        return frozenset(self.words)

    @cached_property
    def _stem_of(self) -> dict[str, str]:
        return {word: stem(word) for word in self.vocabulary}

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of the words."""
        return frozenset(self._stem_of.values())

    @cached_property
    def content(self) -> frozenset[str]:
        """The stems of the words that are neither function words, negations, numbers nor dates."""
        empty = words().empty
        return frozenset(
            short for word, short in self._stem_of.items() if word not in empty and not any(map(str.isdigit, word))
        )

    @cached_property
    def prefixed(self) -> tuple[tuple[str, str], ...]:
        """The words that begin like a negation ("unsupported"), and what follows it."""
        return tuple(
            (word, word[len(prefix) :])
            for word in self.vocabulary
            if word.startswith(_NEGATING_PREFIXES)
            for prefix in _NEGATING_PREFIXES
            if word.startswith(prefix) and len(word) - len(prefix) >= _PREFIXED_MIN
        )


def asserted(text: str) -> Asserted:
    """Read what a text asserts.

    Numbers are values with units ("3.14" is one number, "1,000" is 1000, "five" is 5); dates are months, weekdays, days,
    times of day and words such as "yesterday"; names are capitalised words inside a sentence, and identifiers, versions,
    paths and addresses anywhere. About 20 µs for 300 characters.

    >>> sorted(asserted("Since 5 June the limit for Fly.io is 1,000 ms, not 5 s").numbers)
    ['1000ms', '5s']
    >>> sorted(asserted("Since 5 June the limit for Fly.io is 1,000 ms, not 5 s").names)
    ['fly.io']
    """
    reader = _Reader()
    for line in text.split("\n"):
        reader.starts_sentence = True
        for chunk in line.split():
            reader.read(chunk)
    return reader.result()


class _Reader:
    """Reads the chunks of a text in order."""

    __slots__ = (
        "_known",
        "_last_number",
        "_month",
        "dates",
        "names",
        "negations",
        "numbers",
        "starts",
        "starts_sentence",
        "words",
    )

    def __init__(self) -> None:
        self._known = words()
        self.words: list[str] = []
        self.numbers: set[str] = set()
        self.dates: set[str] = set()
        self.names: set[str] = set()
        self.starts: set[str] = set()
        self.negations = 0
        self.starts_sentence = True
        self._last_number = ""  # a bare one that the next word may give a unit, a scale or a month
        self._month = -9  # which word was the last month: a number right after it, or one word on, is of its date

    def result(self) -> Asserted:
        self._settle()
        numbers, dates, names = frozenset(self.numbers), frozenset(self.dates), frozenset(self.names)
        return Asserted(tuple(self.words), numbers, dates, names, frozenset(self.starts), self.negations)

    def read(self, chunk: str) -> None:
        if chunk.isalpha():
            self._word(chunk)
            self.starts_sentence = False
            return
        core = chunk.strip(_EDGE)
        if core:
            self._core(core, chunk)
        else:
            self._settle()
        self.starts_sentence = chunk[-1] in _STOPS or (chunk[-1] in "\"”'’)" and chunk[-2:-1] in _STOPS)
        self.starts_sentence |= not core  # after a bullet or a dash

    def _core(self, core: str, chunk: str) -> None:
        if core.isalpha():
            self._word(core)
        elif any(map(str.isdigit, core)):
            self._with_digits(core, chunk)
        elif "'" in core or "’" in core:
            self._contraction(core)
        elif "-" in core or "–" in core or "—" in core:
            for part in re.split("[-–—]+", core):
                self._word(part)
                self.starts_sentence = False
        elif not core.isascii() and any(map(_is_ideogram, core)):
            self._ideograms(core)
        else:
            self._name(core)

    def _word(self, word: str) -> None:
        low = word.lower() if word.isascii() else word.casefold()
        if not word.isascii() and any(map(_is_ideogram, word)):
            self._ideograms(word)
            return
        self.words.append(low)
        before = self._last_number
        if before and self._completes(low):
            return
        known = self._known
        if low in known.negations:
            self.negations += 1
        elif low in known.numerals:
            if not (low == "one" and self.words[-2:-1] == ["no"]):
                self._numeral(known.numerals[low])
        elif low in known.ordinals:
            self.numbers.add(f"{known.ordinals[low]}.th")
        elif low in known.relative or (
            low in known.spans and len(self.words) > 1 and self.words[-2] in known.before_spans
        ):
            self.dates.add(low if low in known.relative else f"{self.words[-2]} {low}")
        elif (low in known.months or low in known.days) and (low not in known.dates_too or word[0].isupper()):
            self._calendar(low)
        elif word[0].isupper() and low not in known.function:
            if not self.starts_sentence or (len(word) > 1 and not word[1:].islower()):
                self.names.add(low)
            else:
                self.starts.add(low)

    def _completes(self, low: str) -> bool:
        """Add to the number before a word the unit, scale or month that the word is; return whether it was one."""
        number, known = self._last_number, self._known
        if low in known.scales:
            self._last_number = _plain(Decimal(number) * known.scales[low])
        elif low in known.numerals and number.endswith("0") and known.numerals[low] < 10:
            self._last_number = _plain(Decimal(number) + known.numerals[low])
        elif low in known.units:
            self._last_number = ""
            self.numbers.add(number + known.units[low])
        elif low in known.months and low not in known.dates_too:
            self._last_number = ""
            self.dates.add(number)
            self._calendar(low)
        else:
            self._settle()
            return False
        return True

    def _numeral(self, value: int) -> None:
        self._settle()
        self._last_number = str(value)

    def _settle(self) -> None:
        if self._last_number:
            self.numbers.add(self._last_number)
            self._last_number = ""

    def _calendar(self, low: str) -> None:
        known = self._known
        if low in known.months:
            self.dates.add(f"m{known.months[low]}")
            self._month = len(self.words)
        else:
            self.dates.add(f"wd{known.days[low]}")

    def _with_digits(self, core: str, chunk: str) -> None:
        self._settle()
        core = unicodedata.normalize("NFKC", core)
        start = chunk[: len(chunk) - len(chunk.lstrip(_EDGE))][-1:]
        found = _NUMBER().fullmatch(("-" if start == "-" else "") + core)
        low = core.casefold()
        self.words.append(low)
        if found:
            self._number(found)
        elif iso := _ISO_DATE.fullmatch(core):
            self.dates |= {iso[1], f"m{int(iso[2])}", str(int(iso[3])), *([iso[4]] if iso[4] else [])}
        elif clock := _CLOCK.fullmatch(core):
            self.dates.add(_time_of_day(clock))
        elif core.isascii() and ("-" not in core or any(map(str.isalpha, core))):
            self.names.add(low)
        else:
            self._mixed(core)

    def _mixed(self, core: str) -> None:
        """Read digits inside other writing, "限额是10个", and both ends of "10-20": each number counts."""
        inside = [part.casefold() for part in re.findall(r"[A-Za-z]+[\d.]+\w*", core)]
        self.names.update(inside)
        self.words += inside
        for match in _PLAIN_NUMBER.finditer(core):
            self.numbers.add(_plain(Decimal(match[0].replace(",", ""))))
        rest = re.sub(r"[\d.,]+", " ", core)
        self.words += [letter for letter in rest if _is_ideogram(letter)]
        self.negations += sum(letter in self._known.negations for letter in rest)

    def _number(self, found: re.Match[str]) -> None:
        value = Decimal(re.sub(r"[,'’_]", "", found["digits"]))
        unit, money = found["unit"].casefold(), found["money"]
        if found["sign"] in ("-", "−"):
            value = -value
        if unit in ("st", "nd", "rd", "th"):
            if self._is_dated():
                self.dates.add(_plain(value))
            else:
                self.numbers.add(_plain(value) + ".th")
        elif unit in ("am", "pm"):
            self.dates.add(f"{int(value) % 12 + (12 if unit == 'pm' else 0)}:00")
        elif unit in self._known.scales or (money and unit == "m"):
            self._last_number = _plain(value * self._known.scales.get(unit, 10**6))
        elif unit:
            self.numbers.add(_plain(value) + self._known.units.get(unit, unit))
        elif self._is_dated() and not money:
            self.dates.add(_plain(value))
        else:
            self._last_number = _plain(value)
        if money:
            self.numbers.add(money)

    def _is_dated(self) -> bool:
        return len(self.words) - self._month <= 2

    def _contraction(self, core: str) -> None:
        head, _, tail = core.replace("’", "'").rpartition("'")
        if tail.casefold() == "t" and head[-1:].casefold() == "n":
            self.words += [head[:-1].casefold(), "not"]
            self.negations += 1
        elif head:
            self._word(head) if head.isalpha() else self._name(head)
        else:
            self._word(tail)

    def _ideograms(self, core: str) -> None:
        self._settle()
        self.words += [letter for letter in core if letter.isalnum()]
        self.negations += sum(letter in self._known.negations for letter in core)

    def _name(self, core: str) -> None:
        """Read a path, an address or an identifier, which are names; "e.g." and the like are not."""
        self._settle()
        low = core.casefold()
        self.words.append(low)
        if low not in ("e.g", "i.e", "a.m", "p.m"):
            self.names.add(low)


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"


def _time_of_day(clock: re.Match[str]) -> str:
    hour = int(clock[1])
    if clock[4]:
        hour = hour % 12 + (12 if clock[4][0] in "pP" else 0)
    return f"{hour}:{clock[2]}" + (f":{clock[3]}" if clock[3] else "")


def _is_ideogram(letter: str) -> bool:
    """Return whether a letter is of a script that writes no spaces: ideograms, kana (others pass as long words)."""
    return "\u2e80" <= letter <= "\u9fff" or "\uf900" <= letter <= "\ufaff" or "\U00020000" <= letter <= "\U0003ffff"


def negated_words(a: Asserted, b: Asserted) -> frozenset[str]:
    """Return the words of one that the other has with a negating prefix, and those: "unsupported", "supported"."""
    found = {
        part
        for x, y in ((a, b), (b, a))
        for word, rest in x.prefixed
        if word not in y.vocabulary and rest in y.vocabulary
        for part in (word, rest)
    }
    return frozenset(found)


@dataclass(frozen=True)
class Statement:
    """A text that is compared with others; what that needs is read from it once, when it is first asked for."""

    text: str

    @cached_property
    def asserted(self) -> Asserted:
        """What it asserts."""
        return asserted(self.text)

    @cached_property
    def sentences(self) -> tuple[Statement, ...]:
        """Its sentences, each as a text of its own."""
        return tuple(Statement(part.strip()) for part in _SENTENCE().split(self.text) if part and part.strip())

    @cached_property
    def key(self) -> str:
        """What is equal for two texts of which one may stand for the other, of prose."""
        return equality_key(self.text, code=False)

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """The first letters of its content words, case folded."""
        found, function = SLOT_WORD().findall(self.text.casefold()), words().function
        return frozenset(word[:STEM] for word in found if word not in function)


class Statements:
    """Texts that were compared lately, by the number of their content: reading one costs more than comparing it.

    An erasure starts a new one. Thread-safe: what two threads read at once is the same.
    """

    def __init__(self) -> None:
        self._known: dict[Pid, Statement] = {}

    def of(self, content: Pid, text: str) -> Statement:
        """Return the text of a content, read before or to be read."""
        known = self._known.get(content)
        if known is None:
            if len(self._known) >= _STATEMENTS_MAX:
                self._known.clear()
            known = self._known[content] = Statement(text)
        return known
