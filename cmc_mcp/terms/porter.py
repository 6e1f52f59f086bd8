"""The stem of an English word, as SQLite's full text makes it (`porter` of FTS5), in Python.

A store whose words were stemmed by SQLite and one that stems here hold the same terms, so the oracle of the tests is FTS5
itself and not the paper: where SQLite's rules differ from Porter's, these are SQLite's.

Source: Porter, An algorithm for suffix stripping (1980).
"""

from __future__ import annotations

from typing import Final, NamedTuple

_CHARS_MIN: Final = 3
_CHARS_MAX: Final = 64  # in a longer word FTS5 cuts nothing
_SHAPES: Final = str.maketrans("aeioubcdfghjklmnpqrstvwxz0123456789", "v" * 5 + "c" * 30)


class _Rule(NamedTuple):
    ending: str
    becomes: str


def _rules(text: str) -> dict[str, tuple[_Rule, ...]]:
    """Read rules by the last letter but one of their ending; among those of one letter the first that fits decides."""
    out: dict[str, tuple[_Rule, ...]] = {}
    for ending, _, becomes in (rule.partition(">") for rule in text.split()):
        out[ending[-2]] = (*out.get(ending[-2], ()), _Rule(ending, becomes))
    return out


_DERIVED: Final = _rules(
    "ational>ate tional>tion enci>ence anci>ance izer>ize logi>log bli>ble alli>al entli>ent eli>e ousli>ous ization>ize"
    " ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive biliti>ble"
)
_DERIVED_ONCE_MORE: Final = _rules("ical>ic ness> icate>ic iciti>ic ful> ative> alize>al")
_LAST: Final = _rules(
    "al> ance> ence> er> ic> able> ible> ant> ement> ment> ent> ion> ou> ism> ate> iti> ous> ive> ize>"
)


def stem(word: str) -> str:
    """Return the stem of a word in lower-case ASCII letters and digits.

    >>> [stem(word) for word in ("deploys", "deployed", "deployment", "hopping", "relational", "sky", "v2")]
    ['deploi', 'deploi', 'deploy', 'hop', 'relat', 'sky', 'v2']
    """
    if not _CHARS_MIN <= len(word) <= _CHARS_MAX:
        return word
    word = _without_inflection(word)
    if word[-1] == "y" and _holds_a_vowel(word[:-1]):
        word = word[:-1] + "i"
    word = _derived(_derived(word, _DERIVED), _DERIVED_ONCE_MORE)
    return _without_final(_without_last(word))


def _without_inflection(word: str) -> str:
    """Cut the endings of a plural, a past and a participle (steps 1a and 1b)."""
    if word[-1] == "s":
        if word.endswith("es"):
            double = (len(word) > 4 and word.endswith("sses")) or (len(word) > 3 and word.endswith("ies"))
            word = word[: -2 if double else -1]
        elif word[-2] != "s":
            word = word[:-1]
    if len(word) > 3 and word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) else word
    for ending in ("ed", "ing"):
        if len(word) > len(ending) and word.endswith(ending) and _holds_a_vowel(word[: -len(ending)]):
            return _mended(word[: -len(ending)])
    return word


def _mended(word: str) -> str:
    """Give a word the end that it had before an ending was added: "hopp" becomes "hop", "fil" "file"."""
    if len(word) > 2 and word.endswith(("at", "bl", "iz")):
        return word + "e"
    shape = _shape(word)
    if len(word) > 1 and word[-1] == word[-2] and word[-1] not in "aeioulsz":
        return word[:-1]
    return word + "e" if shape.count("vc") == 1 and _ends_short(word, shape) else word


def _derived(word: str, rules: dict[str, tuple[_Rule, ...]]) -> str:
    for ending, becomes in rules.get(word[-2:-1], ()):
        if word.endswith(ending) and len(word) > len(ending):
            rest = word[: -len(ending)]
            return rest + becomes if _measure(rest) else word
    return word


def _without_last(word: str) -> str:
    for ending, _ in _LAST.get(word[-2:-1], ()):
        if word.endswith(ending) and len(word) > len(ending):
            rest = word[: -len(ending)]
            return rest if _measure(rest) > 1 and (ending != "ion" or rest[-1] in "st") else word
    return word


def _without_final(word: str) -> str:
    """Cut a final "e", and one of two final "l" (step 5)."""
    if word[-1] == "e":
        rest = word[:-1]
        shape = _shape(rest)
        measure = shape.count("vc")
        if measure > 1 or (measure == 1 and not _ends_short(rest, shape)):
            word = rest
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _shape(word: str) -> str:
    """Write each letter as "c" or "v"; a "y" is a vowel after a consonant."""
    if "y" not in word:
        return word.translate(_SHAPES)
    out = ""
    for letter in word:
        out += ("v" if out[-1:] == "c" else "c") if letter == "y" else letter.translate(_SHAPES)
    return out


def _measure(word: str) -> int:
    """Count how often a consonant follows a vowel."""
    return _shape(word).count("vc")


def _holds_a_vowel(word: str) -> bool:
    return "y" in word[1:] or "v" in word.translate(_SHAPES)


def _ends_short(word: str, shape: str) -> bool:
    """Return whether a word ends in consonant, vowel, consonant, the last not w, x or y."""
    return shape.endswith("cvc") and word[-1] not in "wxy"
