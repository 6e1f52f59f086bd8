"""Subject: whether two statements speak of the same thing, so that a value in which they differ may be its newer one.

"Alice's birthday is 3 May" and "Carol's birthday is 9 July" are worded alike and differ in a date, and yet neither is newer.
So the words in which two statements differ are told apart: one value on each side may differ, and nothing else that names
what they are about: no name, no noun, no number of a room, an invoice or a month. It errs towards different subjects: a mark
that is missed costs a reader a look, one that is wrong says something false of somebody. It knows little of any language:
which words are alike on both sides, and where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from cmc_mcp.model.patterns import late
from cmc_mcp.read.agree import IDEOGRAMS, Statement, negated_words
from cmc_mcp.read.words import capitals, stem, words

_TOKEN: Final = late(rf"[{IDEOGRAMS}]|[^\W{IDEOGRAMS}]+(?:[.:/_@-]\w+|,\d+)*|[%$€£¥]")
_AMOUNT: Final = re.compile(r"[/:%$€£¥]|,\d{3}")  # never the number of a room or an invoice
_ASKS: Final = frozenset("?？؟")
_CLAUSE: Final = re.compile(r"[,;:，；：、]")
_IDENTIFIER_PLACE: Final = 1  # "room 101", "release 1.4": the first or second word that is not a function word
_WITHIN_VALUE: Final = frozenset(
    ["at", "of", "on", "the", "to", "and", "um", "am", "den", "à", "le", "el", "la", "de", "del", "a", "в"]
)
"""Words between the parts of one value: "3 May at 9:00"."""
_BEFORE_REST: Final = frozenset(("at", "to", "and", "um", "bis", "und", "à", "a", "в", "до"))
"""Words before the time of a day, or the end of a range."""
_NUMBER_WORDS: Final = frozenset(
    (
        "number", "nr", "num", "núm", "nummer", "numero", "numéro", "número", "nº", "номер", "numer", "numar", "număr",
        "číslo", "numara", "nomor", "αριθμός", "αριθμόσ", "رقم", "מספר", "नंबर", "번호",
    )
)  # fmt: skip
"""Words after which a number says which one: "locker number 4"."""
_NUMBER_SIGN: Final = re.compile(r"[#№＃]\s?\Z")
_NUMBER_SHORT: Final = re.compile(r"\A(?:[.°]\s?|\.[ºª]?\s?)\Z")  # what makes "no" or "n" a word for a number
_LABEL: Final = re.compile(r"(?:番目?|[号號호])?\s?[:：](?!\d)|\s+[-–—=]\s+(?!\d)")  # "10:30" is a time
_LABELLED: Final = re.compile(r"\d+:[^\W\d]")  # "question 1:yes"
_IS: Final = frozenset(
    (
        "is", "are", "was", "were", "has", "have", "had", "isn", "wasn", "ist", "sind", "war", "hat", "est", "sont", "était",
        "es", "está", "estaba", "era", "tiene", "è", "é", "foi", "são", "sono", "ha", "tem", "jest", "är", "becomes",
    )
)  # fmt: skip
"""Words with which a predicate begins: what stands before them is the subject."""
_CHANGING: Final = frozenset(
    (
        "actually", "again", "already", "changed", "corrected", "correction", "currently", "decreased", "down",
        "dropped", "finally", "fell", "grew", "grown", "increased", "instead", "longer", "lowered", "moved", "new",
        "newly", "now", "only", "postponed", "raised", "recently", "reduced", "rescheduled", "risen", "rose", "set",
        "shrank", "still", "today", "updated", "went", "gone",
    )
)  # fmt: skip
"""English words that say that a value changed, or stands, and name no subject."""
_MEASURE: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[a-z]+)")
_BASE_UNITS: Final[Mapping[str, tuple[Decimal, str]]] = {
    unit: (Decimal(factor), base)
    for base, factors in {
        "g": {"kg": "1000", "g": "1", "mg": "0.001"},
        "m": {"km": "1000", "m": "1", "cm": "0.01", "mm": "0.001"},
        "l": {"l": "1", "dl": "0.1", "cl": "0.01", "ml": "0.001"},
        "s": {"d": "86400", "h": "3600", "min": "60", "s": "1", "ms": "0.001"},
    }.items()
    for unit, factor in factors.items()
}
_ROMAN: Final = re.compile(r"[ivx]+")  # of parts, chapters, kings
_DIRECTED: Final = frozenset(
    ("to", "from", "into", "over", "under", "above", "below", "before", "after", "than", "by", "of")
)
"""English words between two things that do not say the same when the things are swapped."""
_ENDS: Final = frozenset(
    (
        "to",
        "from",
        "nach",
        "von",
        "aus",
        "hacia",
        "a",
        "desde",
        "vers",
        "depuis",
        "verso",
        "para",
        "do",
        "z",
        "из",
        "в",
        "إلى",
        "من",
    )
)
"""Words for where something goes to or comes from."""
_STATING: Final = frozenset(("i", "we", "my", "our", "the", "a", "an", "it", "he", "she", "they"))
"""English words that begin a statement, though they stand in lists of words that ask."""


class _Token(NamedTuple):
    """A word as it is compared: case-folded but for a lone capital letter, which is a name ("trial A")."""

    word: str
    is_value: bool
    is_content: bool
    is_name: bool  # written with a capital, and no function word
    is_label: bool  # a number that says which one: "locker number 4: Ann", "the east gate 4 is closed"


class Contrast(NamedTuple):
    """How two statements differ: whether they name another subject, and how many values stand in each other's place."""

    is_other_subject: bool
    values: int


@lru_cache(maxsize=1)
def _calendar() -> frozenset[str]:
    known = words()
    return frozenset((*known.months, *known.days)) - known.dates_too


@lru_cache(maxsize=1)
def opposites() -> Mapping[str, frozenset[str]]:
    """Return the stems that are opposite to each stem."""
    out: dict[str, frozenset[str]] = {}
    for pair in words().opposites:
        x, y = map(stem, pair)
        out[x], out[y] = out.get(x, frozenset()) | {y}, out.get(y, frozenset()) | {x}
    return out


def asks(text: str) -> bool:
    """Return whether a text ends by asking.

    >>> asks("Is the server up?"), asks("It is up.")
    (True, False)
    """
    return text.rstrip()[-1:] in _ASKS


def only_asks(text: str, short: int) -> bool:
    """Return whether a text asks and states nothing: it is short, and no clause before its end states something.

    >>> only_asks("Is the server up?", 20), only_asks("The budget is now $700, is that enough?", 20)
    (True, False)
    """
    if not asks(text):
        return False
    found = _TOKEN().findall(text.casefold())
    if len(found) > short or any(end in text.rstrip()[:-1] for end in (". ", "! ", "\n", "。", "！")):
        return False
    return not _CLAUSE.search(text) or bool(found and found[0] in words().asking and found[0] not in _STATING)


def amounts(values: frozenset[str]) -> frozenset[str]:
    """Return values without signs of money, in base units: "$4,000" is 4000 dollars, and 1 kg is 1000 g.

    >>> sorted(amounts(frozenset({"1.5kg", "2h"})))
    ['1500g', '7200s']
    >>> sorted(amounts(frozenset({"4000", "$"}))) == sorted(amounts(frozenset({"4000$"})))
    True
    """
    return frozenset(map(_in_base_unit, (value.strip("$€£¥") for value in values))) - {""}


def _in_base_unit(value: str) -> str:
    found = _MEASURE.fullmatch(value)
    if found is None or found["unit"] not in _BASE_UNITS:
        return value
    factor, unit = _BASE_UNITS[found["unit"]]
    return f"{(Decimal(found['number']) * factor).normalize():f}{unit}"


def contrast(a: Statement, b: Statement) -> Contrast:
    """Compare two short statements, each of one sentence.

    >>> contrast(Statement("Room 101 seats 12 people"), Statement("Room 101 now seats 16 people"))
    Contrast(is_other_subject=False, values=1)
    >>> contrast(Statement("Room 101 seats 12 people"), Statement("Room 102 seats 16 people")).is_other_subject
    True
    """
    x, y = _tokens(a.text), _tokens(b.text)
    spans = _differing(x, y)
    values = sum(span.is_value for span in spans)
    mine, theirs = _left(x, y), _left(y, x)
    negated = negated_words(a.asserted, b.asserted)
    mine, theirs = mine - negated, theirs - negated
    turned = bool(negated) or _turned(x, y)
    if bool(a.asserted.negations) != bool(b.asserted.negations):  # but "it is not 10 but 100" does differ in a value
        turned |= not (a.asserted.numbers <= b.asserted.numbers or b.asserted.numbers <= a.asserted.numbers)
    other = bool(mine and theirs) or values > 1 or any(span.names for span in spans) or bool(values and turned)
    return Contrast(other or _swapped(x, y) or _redirected(x, y), values)


def _redirected(x: list[_Token], y: list[_Token]) -> bool:
    """Return whether one says where something goes to, and the other where it comes from."""
    one, two = ({token.word for token in side} & _ENDS for side in (x, y))
    return bool(one - two and two - one)


def _swapped(x: list[_Token], y: list[_Token]) -> bool:
    """Return whether two statements say the same things in another order.

    So do "Ann owes Ben" and "Ben owes Ann", "euros to dollars" and "dollars to euros".
    """
    one, two = ([token.word.casefold() for token in side if token.is_name] for side in (x, y))
    if [name for name in one if name in two] != [name for name in two if name in one]:
        return True
    return not _joined(x).isdisjoint((last, word, first) for first, word, last in _joined(y))


def _joined(tokens: list[_Token]) -> set[tuple[str, str, str]]:
    """Return the words on both sides of one that has a direction, as in "euros to dollars"."""
    return {
        (left.word, middle.word, right.word)
        for left, middle, right in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if middle.word in _DIRECTED
        and left.word != right.word
        and not any(token.is_value or token.word in words().function for token in (left, right))
    }


def _turned(x: list[_Token], y: list[_Token]) -> bool:
    """Return whether each has a word that the other turns into its opposite, or might."""
    one, other = ({stem(token.word) for token in side} for side in (x, y))
    return any(not opposites()[word].isdisjoint(other - one) for word in (one - other) & opposites().keys())


class _Span(NamedTuple):
    """Words that stand in each other's place."""

    is_value: bool
    names: bool  # what the statement is about: a number that belongs to a noun, or the time it holds for


def _tokens(text: str) -> list[_Token]:
    known, calendar = words(), _calendar()
    out: list[_Token] = []
    matches = list(_TOKEN().finditer(text))
    shouted = capitals(text)
    for place, match in enumerate(matches):
        found = match[0]
        low = found.casefold()
        lone = len(found) == 1 and found.isupper() and found.isascii() and (place > 0 and found != "I")
        word = found if lone else low
        dated = low in known.dates_too and found[:1].isupper() and (place > 0 or low not in ("may", "march", "mar"))
        value = (
            any(map(str.isdigit, found)) or low in known.numerals or low in known.ordinals or low in calendar or dated
            or low in known.relative or low in "%$€£¥"
        )  # fmt: skip
        named = found[:1].isupper() and place > 0 and low in known.negations  # "Mai" is a month, and never in Italian
        named |= low in shouted and found.isupper()  # "US"
        named |= (
            low in known.units and low.isalpha() and not (out and out[-1].is_value)
        )  # "min" says the least of something
        content = lone or named or not (value or low in known.empty or low in _CHANGING)
        label = value and _is_label(text, matches, place, out[-1] if out else None)
        out.append(_Token(word, value, content, found[:1].isupper() and content, label))
    return out


def _is_label(text: str, matches: Sequence[re.Match[str]], place: int, before: _Token | None) -> bool:
    """Return whether a number says which one of its kind is spoken of, and something is said of that one.

    It comes right after a word or sign for "number", or after a noun that ends with it before a colon or a predicate.
    """
    following = matches[place + 1][0].casefold() if place + 1 < len(matches) else ""
    if _LABELLED.match(matches[place][0]):
        labels = True
    elif not following or _AMOUNT.search(matches[place][0]):
        return False
    else:
        labels = bool(_LABEL.match(text, matches[place].end()))
    gap = text[matches[place - 1].end() if place else 0 : matches[place].start()]
    if _NUMBER_SIGN.search(gap):
        return True
    if before is None:
        return False
    short = before.word.casefold() in ("no", "n")
    if before.word.casefold() in _NUMBER_WORDS or (short and _NUMBER_SHORT.match(gap)):
        return True
    if matches[place][0].casefold() in _calendar() or before.word == "月":  # a date says when
        return False
    return before.is_content and not gap.strip() and (labels or following in _IS)


def _left(x: list[_Token], y: list[_Token]) -> frozenset[str]:
    """Return the content words of one that the other has in no form."""
    theirs = {token.word for token in y}
    stems = {stem(word) for word in theirs}
    return frozenset(
        token.word
        for token in x
        if token.is_content
        and token.word not in theirs
        and stem(token.word) not in stems
        and stems.isdisjoint(opposites().get(stem(token.word), ()))
        and not (
            len(token.word) > 3 and token.word.isalpha() and not token.is_name and _is_inflected(token.word, theirs)
        )
    )


def _is_inflected(word: str, others: set[str]) -> bool:
    return any(is_inflection(word, other) for other in others if len(other) > 3)


def is_inflection(x: str, y: str) -> bool:
    """Return whether two words share a stem: all but the last three letters of the longer, and three at least.

    >>> is_inflection("deploy", "deploying"), is_inflection("mysql", "postgres")
    (True, False)
    """
    shared = max(3, max(len(x), len(y)) - 3)
    return x[:shared] == y[:shared]


def _differing(x: list[_Token], y: list[_Token]) -> list[_Span]:
    """Return the runs of words that stand in each other's place, those that make one value as one."""
    from difflib import SequenceMatcher  # only a question that compares two statements needs it

    codes = SequenceMatcher(None, [t.word for t in x], [t.word for t in y], autojunk=False).get_opcodes()
    runs: list[tuple[int, int, int, int]] = []
    for tag, i, j, k, end in codes:
        if tag == "equal":
            continue
        if runs and tag == "replace":
            _, before, _, other = runs[-1]
            between = x[before:i]
            near = len(between) <= 2 and all(t.word in _WITHIN_VALUE or t.is_value for t in between) and k - other <= 2
            if near and _is_one_value(x[before - 1], between, x[i]):
                runs[-1] = (runs[-1][0], j, runs[-1][2], end)
                continue
        runs.append((i, j, k, end))
    return [_span(x, y, run) for run in runs]


def _is_one_value(left: _Token, between: Sequence[_Token], right: _Token) -> bool:
    """Return whether two values may be parts of one: of two numbers, a day and its year, a day and a time, or a range."""
    if not (left.word[:1].isdigit() and right.word[:1].isdigit()):
        return True
    is_year = len(right.word) == 4 and right.word.isdigit() and len(left.word) <= 2
    return is_year or ":" in right.word or bool(between and between[-1].word in _BEFORE_REST)


def _span(x: list[_Token], y: list[_Token], run: tuple[int, int, int, int]) -> _Span:
    start, stop, other, end = run
    mine, theirs = x[start:stop], y[other:end]
    if any(_ROMAN.fullmatch(t.word.casefold()) for t in mine) and any(
        _ROMAN.fullmatch(t.word.casefold()) for t in theirs
    ):
        return _Span(is_value=False, names=True)
    is_value = any(t.is_value for t in mine) and any(t.is_value for t in theirs)
    names = is_value and (
        _is_of_noun(x, start, stop) or _is_of_noun(y, other, end) or any(t.is_label for t in mine + theirs)
    )
    return _Span(is_value, names)


def _is_of_noun(tokens: list[_Token], start: int, stop: int) -> bool:
    """Return whether a value at the beginning of a statement says which thing it is about."""
    first = next((place for place in range(start, stop) if tokens[place].is_value), start)
    if _AMOUNT.search(tokens[first].word):
        return False
    before = [t for t in tokens[:first] if t.word in words().function and t.word not in ("is", "are", "was", "has")]
    place = first - (len(before) if len(before) == 1 and tokens[0].word in words().function else 0)
    if place > _IDENTIFIER_PLACE:
        return False
    return any(token.is_content or token.word not in words().empty for token in tokens[stop:])


def other_subject(a: Statement, b: Statement, *, short: int) -> bool:
    """Return whether nothing shows that two statements speak of one subject in one way.

    Compared are the sentences that hold what differs. Of two with no more than `short` words each, nothing but the value
    may differ. In longer ones, people say more than one thing: there, neither may name what the other does not. A question
    and a statement never speak in one way.
    """
    if only_asks(a.text, short) != only_asks(b.text, short):
        return True
    one, other = _telling(a, b), _telling(b, a)
    if max(len(_TOKEN().findall(one.text)), len(_TOKEN().findall(other.text))) <= short:
        return contrast(one, other).is_other_subject
    return bool(_named(one) - b.asserted.vocabulary and _named(other) - a.asserted.vocabulary)


def _named(said: Statement) -> frozenset[str]:
    found = said.asserted
    return frozenset(name for name in found.names if not any(map(str.isdigit, name)))


def _telling(a: Statement, b: Statement) -> Statement:
    """Return the sentence of one that has most in common with the other, of those with a value that the other has not."""
    if len(a.sentences) < 2:
        return a

    def rank(said: Statement) -> tuple[bool, int]:
        mine, theirs = said.asserted, b.asserted
        fresh = bool(mine.numbers - theirs.numbers or mine.dates - theirs.dates)
        return fresh, len(said.beginnings & b.beginnings)

    return max(a.sentences, key=rank)  # the first of equals


def told_words(said: Statement) -> frozenset[str]:
    """Return the stems of the words that say something: content and values."""
    return frozenset(
        token.word if token.is_value else stem(token.word)
        for token in _tokens(said.text)
        if token.is_value or token.is_content
    )
