"""Agree: what a text asserts that must match before it may stand for another: numbers, dates, names, negation.

A similar vector says that two texts are about the same thing, never that they say the same of it ("the limit is 10",
"the limit is 100"). So this looks at the words. It errs towards difference: a merge that is missed costs a line, one
that is wrong hides a fact. Digits and letters may be of any script; the lists below are short and closed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final, Literal

Kind = Literal["number", "date", "name", "negation", "value"]


def _list(text: str) -> list[str]:
    return text.split()


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


SLOT_WORD: Final = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]|[^\W\u2e80-\u9fff\uf900-\ufaff]+")  # an ideogram is a word
STEM: Final = 5  # letters that stand for a word, so that its inflections meet
_STATEMENTS_MAX: Final = 4_096
_NUMERALS: Final = _list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS: Final = _list("twenty thirty forty fifty sixty seventy eighty ninety")
_VALUES: Final = {
    **{word: value for value, word in enumerate(_NUMERALS)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
}
_ORDINALS: Final = {
    word: f"{value}.th"
    for value, word in enumerate(_list("first second third fourth fifth sixth seventh eighth ninth tenth"), 1)
}
_SCALES: Final = {
    "k": 1_000, "thousand": 1_000, "mn": 10**6, "million": 10**6, "millions": 10**6, "bn": 10**9, "billion": 10**9,
    "hundred": 100, "trillion": 10**12,
}  # fmt: skip
_UNITS: Final = {
    spelling: unit
    for unit, spellings in {
        "%": "% percent pct", "ms": "ms millisecond milliseconds", "s": "s sec secs second seconds",
        "min": "min mins minute minutes", "h": "h hr hrs hour hours", "d": "d day days", "w": "week weeks",
        "mo": "month months", "y": "year years yr yrs", "kb": "kb kib", "mb": "mb mib", "gb": "gb gib", "tb": "tb tib",
        "m": "m meter meters metre metres", "km": "km kilometer kilometers kilometre kilometres", "cm": "cm", "mm": "mm",
        "mi": "mile miles", "kg": "kg kilo kilos", "g": "g gram grams", "lb": "lb lbs pound pounds",
        "$": "$ usd dollar dollars", "€": "€ eur euro euros", "£": "£ gbp", "¥": "¥ jpy yen", "c": "cent cents",
    }.items()
    for spelling in spellings.split()
}  # fmt: skip
_MONTHS: Final = {
    spelling: f"m{number}"
    for number, spellings in enumerate(
        ("january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sep sept", "october oct", "november nov", "december dec"),
        1,
    )
    for spelling in spellings.split()
}  # fmt: skip
_DAYS: Final = {
    spelling: f"wd{number}"
    for number, spellings in enumerate(
        ("monday mondays mon", "tuesday tuesdays tue", "wednesday wednesdays wed", "thursday thursdays thu",
         "friday fridays fri", "saturday saturdays sat", "sunday sundays sun"),
        1,
    )
    for spelling in spellings.split()
}  # fmt: skip
_WORDS_TOO: Final = _set("may march mar mon wed sat sun dec jan")  # a date only with a capital
RELATIVE: Final = _set("yesterday today tomorrow tonight ago")
_BEFORE_SPANS: Final = _set("last next this")
_SPANS: Final = _set("week month year weekend morning afternoon evening night spring summer autumn winter")
NEGATIONS: Final = _set(
    # English, then German, French, Spanish, Portuguese, Italian, Russian, and Chinese and Japanese signs
    "not no never none nobody nothing nowhere neither nor without cannot cant dont doesnt didnt isnt arent wasnt werent "
    "wont wouldnt shouldnt couldnt hasnt havent hadnt lacks lacking "
    "nicht kein keine keinen nie niemals ohne ne pas jamais sans nunca sin nada não sem non mai senza не нет никогда без "
    "不 没 沒 无 無 未"
)
FUNCTION_WORDS: Final = _set(
    "a an the this that these those some any each every all both i you he she it we they me him her us them my your his "
    "its our their mine there here who which what when where why how if then than so as at by for from in into of off on "
    "onto out over to up with about after before during and or but is are was were be been being am do does did has have "
    "had will would can could shall should may might must just also very really please yes ok okay note remember"
)
VALUE_WORDS: Final = frozenset((*_VALUES, *_ORDINALS, *_SCALES, *_UNITS, *_MONTHS, *_DAYS, *RELATIVE))
_EMPTY: Final = FUNCTION_WORDS | NEGATIONS | VALUE_WORDS | _set("there one someone somebody ca wo sha")
_EDGE: Final = "\"'’‘“”„«»()[]{}<>*_`~,;:.!?…。、！？：；，（）「」|-–—#"
_STOPS: Final = frozenset(".!?…。！？:;|\n")
_NUMBER: Final = re.compile(
    r"(?P<sign>[-−+~≈]?)(?P<money>[$€£¥]?)(?P<digits>\d{1,3}(?:[,'’_]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?P<unit>%|[^\W\d_]{0,12}|[$€£¥])"
)
_PLAIN_NUMBER: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_ISO_DATE: Final = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ]?(\d{1,2}:\d{2}.*))?")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?\s*([ap]\.?m\.?)?(?:z|utc)?", re.IGNORECASE)
_WORDS: Final = re.compile(r"\w+")
_NEGATING_PREFIXES: Final = ("un", "non", "dis", "in", "im", "ir", "de")
_PREFIXED_MIN: Final = 5  # letters of the rest: "in-valid", not "in-form"


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


@dataclass(frozen=True)
class Asserted:
    """What a text asserts. `words` are case-folded, in order; everything else is a set of canonical strings."""

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

    @property
    def speaks_of_now(self) -> bool:
        """Whether it dates something by its own time: "yesterday", "last week"."""
        return any(date in RELATIVE or " " in date for date in self.dates)

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
        return frozenset(
            short for word, short in self._stem_of.items() if word not in _EMPTY and not any(map(str.isdigit, word))
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
        if low in NEGATIONS:
            self.negations += 1
        elif low in _VALUES:
            if not (low == "one" and self.words[-2:-1] == ["no"]):
                self._numeral(_VALUES[low])
        elif low in _ORDINALS:
            self.numbers.add(_ORDINALS[low])
        elif low in RELATIVE or (low in _SPANS and len(self.words) > 1 and self.words[-2] in _BEFORE_SPANS):
            self.dates.add(low if low in RELATIVE else f"{self.words[-2]} {low}")
        elif (low in _MONTHS or low in _DAYS) and (low not in _WORDS_TOO or word[0].isupper()):
            self._calendar(low)
        elif word[0].isupper() and low not in FUNCTION_WORDS:
            if not self.starts_sentence or (len(word) > 1 and not word[1:].islower()):
                self.names.add(low)
            else:
                self.starts.add(low)

    def _completes(self, low: str) -> bool:
        """Give the number before its unit, scale or month; say whether this word was one."""
        number = self._last_number
        if low in _SCALES:
            self._last_number = _plain(Decimal(number) * _SCALES[low])
        elif low in _VALUES and number.endswith("0") and _VALUES[low] < 10:
            self._last_number = _plain(Decimal(number) + _VALUES[low])
        elif low in _UNITS:
            self._last_number = ""
            self.numbers.add(number + _UNITS[low])
        elif low in _MONTHS and low not in _WORDS_TOO:
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
        if low in _MONTHS:
            self.dates.add(_MONTHS[low])
            self._month = len(self.words)
        else:
            self.dates.add(_DAYS[low])

    def _with_digits(self, core: str, chunk: str) -> None:
        self._settle()
        core = unicodedata.normalize("NFKC", core)
        start = chunk[: len(chunk) - len(chunk.lstrip(_EDGE))][-1:]
        found = _NUMBER.fullmatch(("-" if start == "-" else "") + core)
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
        self.negations += sum(letter in NEGATIONS for letter in rest)

    def _number(self, found: re.Match[str]) -> None:
        value = Decimal(re.sub(r"[,'’_]", "", found["digits"]))
        unit, money = found["unit"].casefold(), found["money"]
        if found["sign"] in ("-", "−") and found["sign"]:
            value = -value
        if unit in ("st", "nd", "rd", "th"):
            self.dates.add(_plain(value)) if self._is_dated() else self.numbers.add(_plain(value) + ".th")
        elif unit in ("am", "pm"):
            self.dates.add(f"{int(value) % 12 + (12 if unit == 'pm' else 0)}:00")
        elif unit in _SCALES or (money and unit == "m"):
            self._last_number = _plain(value * _SCALES.get(unit, 10**6))
        elif unit:
            self.numbers.add(_plain(value) + _UNITS.get(unit, unit))
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
        self.negations += sum(letter in NEGATIONS for letter in core)

    def _name(self, core: str) -> None:
        """A path, an address, an identifier; an abbreviation with dots is its letters."""
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
    """Whether a letter is of a script that writes no spaces: ideograms, kana (others pass as long words)."""
    return "\u2e80" <= letter <= "\u9fff" or "\uf900" <= letter <= "\ufaff" or "\U00020000" <= letter <= "\U0003ffff"


def differences(a: Asserted, b: Asserted) -> frozenset[Kind]:
    """Give in what kinds of assertion two texts differ; empty when one may stand for the other.

    `value` is one open-class word in an otherwise equal text put in another's place ("we use postgres", "we use mysql").

    >>> sorted(differences(asserted("the limit is 10"), asserted("the limit is 100")))
    ['number']
    >>> sorted(differences(asserted("We deploy to Fly.io"), asserted("Fly.io is where we deploy to")))
    []
    """
    kinds: set[Kind] = set()
    if a.numbers != b.numbers:
        kinds.add("number")
    if a.dates != b.dates:
        kinds.add("date")
    if a.negations != b.negations or negated_words(a, b):
        kinds.add("negation")
    if not (a.names <= b.vocabulary and b.names <= a.vocabulary) or (
        a.starts - b.vocabulary and b.starts - a.vocabulary
    ):
        kinds.add("name")
    if not kinds and _substituted(a.words, b.words):
        kinds.add("value")
    return frozenset(kinds)


def negated_words(a: Asserted, b: Asserted) -> frozenset[str]:
    """Give the words of one that the other has with a negating prefix, and those: "unsupported", "supported"."""
    found = {
        part
        for x, y in ((a, b), (b, a))
        for word, rest in x.prefixed
        if word not in y.vocabulary and rest in y.vocabulary
        for part in (word, rest)
    }
    return frozenset(found)


def _substituted(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    if len(a) != len(b):
        return False
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    if len(pairs) != 1:
        return False
    x, y = pairs[0]
    return not (x in FUNCTION_WORDS and y in FUNCTION_WORDS) and not is_inflection(x, y)


@dataclass(frozen=True)
class Statement:
    """A text that is compared with others; what that needs is read from it once, when it is first asked for."""

    text: str

    @cached_property
    def asserted(self) -> Asserted:
        """What it asserts."""
        return asserted(self.text)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its words, in lower case: cheap, and enough for shingles."""
        return tuple(_WORDS.findall(self.text.lower()))

    @cached_property
    def stems(self) -> frozenset[str]:
        """The beginnings of its content words, case folded."""
        words = SLOT_WORD.findall(self.text.casefold())
        return frozenset(word[:STEM] for word in words if word not in FUNCTION_WORDS)

    @cached_property
    def shingles(self) -> frozenset[str]:
        """The runs of three words; of fewer words, the whole (w-shingling; Broder, 1997).

        >>> sorted(Statement("we deploy on Monday").shingles)
        ['deploy on monday', 'we deploy on']
        """
        words = self.words
        # as text: thousands of tuples would wake the garbage collector
        runs = frozenset([f"{a} {b} {c}" for a, b, c in zip(words, words[1:], words[2:], strict=False)])
        return runs or frozenset({" ".join(words)})


class Statements:
    """Texts that were compared lately, by the number of their content: reading one costs more than comparing it.

    An erasure starts a new one. Thread-safe: what two threads read at once is the same.
    """

    def __init__(self) -> None:
        self._known: dict[int, Statement] = {}

    def of(self, content: int, text: str) -> Statement:
        """Give the text of a content, read before or to be read."""
        known = self._known.get(content)
        if known is None:
            if len(self._known) >= _STATEMENTS_MAX:
                self._known.clear()
            known = self._known[content] = Statement(text)
        return known


def is_inflection(x: str, y: str) -> bool:
    """Say whether two words share a stem: all but the last three letters of the longer, and three at least.

    >>> is_inflection("deploy", "deploying"), is_inflection("mysql", "postgres")
    (True, False)
    """
    stem = max(3, max(len(x), len(y)) - 3)
    return x[:stem] == y[:stem]
