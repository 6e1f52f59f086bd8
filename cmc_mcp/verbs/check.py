"""Checks: every problem of a verb's arguments at once, each under the path of its argument; a check for each form."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, cast

from cmc_mcp import limits
from cmc_mcp.canon import Json, canonical, fixed
from cmc_mcp.errors import InvalidInput, LimitExceeded, Problem, brief
from cmc_mcp.model.facts import TAG, Claim, ClaimArguments
from cmc_mcp.model.time import TimeLike, parse_time
from cmc_mcp.verbs.argument import About, Argument, Form, Verb

_TAG_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}\Z")
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,62}/[A-Za-z0-9][A-Za-z0-9.+-]{0,126}\Z")
_RESERVED: Final = ("note:", "session:", "collection:")
_NO_MAP: Final = 'is not a map of names to values; pass one such as {"topic": "deploy"}'


class Check:
    """Collects problems, so that all of them are reported at once; with `hasty` a bound that is passed is not collected
    but raised."""

    def __init__(self, *, hasty: bool = False) -> None:
        self.problems: list[Problem] = []
        self.more = 0  # problems that were found and not kept
        self.over: LimitExceeded | None = None
        self._hasty = hasty

    def problem(self, path: str, message: str) -> None:
        """Note a problem; of those past PROBLEMS_MAX the number."""
        if len(self.problems) < limits.PROBLEMS_MAX:
            self.problems.append(Problem(path, message))
        else:
            self.more += 1

    def limit(self, path: str, name: str, value: int) -> bool:
        """Return whether a value keeps to the bound called `name`.

        Raises:
            LimitExceeded: it does not, and the check is hasty.
        """
        maximum: int = getattr(limits, name)
        if value <= maximum:
            return True
        error = LimitExceeded.over(path, name, value, maximum)
        if self._hasty:
            raise error
        self.over = self.over or error
        self.problems.extend(error.problems)
        return False

    def text(self, path: str, value: object, limit: str, *, blank: bool = False) -> str | None:
        """Return a text that can be stored and keeps to its limit, or else to REFERENCE_CHARS_MAX; None when it is absent
        or wrong.
        """
        if value is None:
            return None
        if not isinstance(value, str):
            self.problem(path, f"is a {type(value).__name__}; pass text")
            return None
        if not blank and not value.strip():
            self.problem(path, "is blank; leave it out or say something")
        elif message := unfit(value):
            self.problem(path, message)
        elif self.limit(path, limit or "REFERENCE_CHARS_MAX", len(value)):
            return value
        return None

    def one(self, about: About, value: object) -> object:
        """Check one argument."""
        return CHECKS[about.argument.form](self, about.name, value, about.argument)

    def read(
        self,
        verb: type[Verb[Any]],
        given: Mapping[str, object],
        *,
        only: Collection[str] = (),
        leave: Container[str] = (),
    ) -> dict[str, Any]:
        """Check the arguments that are given: all, `only` some, or all but those to `leave`.

        Returns what each is, by its name; an argument whose default is None is left out when it is None.
        """
        found: dict[str, Any] = {}
        for about in verb.in_turn:
            name, argument, default, required = about
            value = given.get(name, default)
            if value is default and default is None and not required:  # most are, so this comes first
                continue
            if (only and name not in only) or name in leave:
                continue
            usual = value is default and not required
            found[name] = value if usual else CHECKS[argument.form](self, name, value, argument)
        return found

    def raise_(self) -> None:
        """Raise what was collected.

        Raises:
            InvalidInput: something is wrong.
            LimitExceeded: a bound was passed, and that is all.
        """
        if not self.problems:
            return
        if self.over is not None and len(self.problems) == 1:
            raise self.over
        raise InvalidInput.of(self.problems, self.more)


def checked(asked: Verb[Any], *, only: Collection[str] = (), leave: Container[str] = ()) -> dict[str, Any]:
    """Check the arguments of a verb (all, `only` some, or all but those to `leave`); return them as `Check.read` does.

    Raises:
        InvalidInput: something is wrong, each problem with its path.
        LimitExceeded: a bound was passed.
    """
    check = Check(hasty=True)
    found = check.read(type(asked), vars(asked), only=only, leave=leave)
    check.raise_()
    return found


def fields(verb: type[Verb[Any]], found: dict[str, Any]) -> dict[str, Json]:
    """Take the facts out of what `Check.read` found, as fields; None is a field to be removed."""
    out: dict[str, Json] = {}
    known = verb.abouts
    for name in [name for name in found if known[name].argument.fact]:
        argument, value = known[name].argument, found.pop(name)
        if isinstance(value, Mapping):
            out.update(value)
        elif value is not None:  # the usual value is an absent field, so that equal facts have equal bytes
            usual: Json | float = argument.usual
            if argument.form == "number":
                value, usual = fixed(value), None if usual is None else fixed(argument.usual or 0)
            out[name] = None if value == usual else value
    return out


def unfit(text: str) -> str | None:
    """Return why a text cannot be stored (a NUL character or a lone surrogate), or None if it can."""
    if "\0" in text:
        return "holds a NUL character, which text cannot carry; remove it"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is not valid Unicode; encode the text properly"
    return None


# ---------------------------------------------------------------------- one check a form
def _as_given(check: Check, path: str, value: object, about: Argument) -> object:
    return value


def _text(check: Check, path: str, value: object, about: Argument) -> str | None:
    return check.text(path, value, about.limit, blank=about.blank)


def _checkpoint(check: Check, path: str, value: object, about: Argument) -> object:
    if not isinstance(value, str):
        check.problem(path, f"is a {type(value).__name__}; pass the text of a checkpoint")
        return None
    check.limit(path, "CHECKPOINT_CHARS_MAX", len(value))
    return value


def _flag(check: Check, path: str, value: object, about: Argument) -> bool:
    if not isinstance(value, bool):
        check.problem(path, f"{brief(value)} is neither true nor false")
    return value is True


def _choice(check: Check, path: str, value: object, about: Argument) -> str | None:
    if isinstance(value, str) and value in about.options:
        return value
    check.problem(path, f"{brief(value)} is not a valid {about.called}; use one of {', '.join(about.options)}")
    return None


def _media_type(check: Check, path: str, value: object, about: Argument) -> object:
    if not isinstance(value, str) or not _MEDIA_TYPE.match(value):
        check.problem(path, f"{brief(value, 60)} is not a media type; pass one such as text/markdown")
    return value


def _origin(check: Check, path: str, value: object, about: Argument) -> str | None:
    source = check.text(path, value, about.limit)
    if source is not None and source.startswith(_RESERVED):
        check.problem(path, "begins with note:, session: or collection:, which name what has no source of its own")
    return source


def _time(check: Check, path: str, value: object, about: Argument) -> int | None:
    try:
        return parse_time(cast("TimeLike", value), path)
    except InvalidInput as error:
        check.problems.extend(error.problems)
        return None


def _number(check: Check, path: str, value: object, about: Argument) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= about.most:
        check.problem(path, f"{brief(value)} is not a number from 0 to {about.most:g}")
        return None
    return value + 0  # no negative zero


def _seconds(check: Check, path: str, value: object, about: Argument) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        check.problem(path, "is seconds as a whole number, 0 for never")
        return None
    return value


def _count(check: Check, path: str, value: object, about: Argument) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < about.least:
        check.problem(path, f"{brief(value)} is not a whole number of at least {about.least}")
        return about.least
    check.limit(path, about.limit, value)
    return value


def _question(check: Check, path: str, value: object, about: Argument) -> str:
    if not isinstance(value, str):
        what = "None" if value is None else f"a {type(value).__name__}"
        check.problem(path, f"is {what}; pass the question as text")
        return ""
    if not value.strip():
        check.problem(path, "is blank; ask something")
    else:
        check.limit(path, about.limit, len(value))
    return value


def _texts(check: Check, path: str, values: object, about: Argument) -> tuple[str, ...]:
    values = values or ()
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        check.problem(path, "is not a list of texts")
        return ()
    check.limit(path, about.limit, len(values))
    for index, value in enumerate(values[: getattr(limits, about.limit)]):
        if value is None:
            check.problem(f"{path}[{index}]", "is None; pass text")
        check.text(f"{path}[{index}]", value, "MODEL_ID_CHARS_MAX")
    return tuple(values)


def _any(check: Check, path: str, value: object, about: Argument) -> tuple[str, ...]:
    if not isinstance(value, str) and isinstance(value, Sequence):
        if not check.limit(path, "FILTER_NODES_MAX", len(value)):
            return ()
        values = tuple(value)
    else:
        values = (value,) if isinstance(value, str) else (None,)
    for text in values:
        if isinstance(text, str) and not check.limit(path, "REFERENCE_CHARS_MAX", len(text)):
            return ()
    out = tuple(v for v in values if isinstance(v, str) and v and _is_unicode(v))
    if len(out) != len(values):
        check.problem(path, "is no text and no list of texts, or holds an empty one or a lone surrogate")
    for name in out if about.options else ():
        _choice(check, path, name, about)
    return out


def _tags(check: Check, path: str, tags: object, about: Argument) -> dict[str, Json]:
    """Check tags, and return them as fields. A None as value removes the tag."""
    if not isinstance(tags, Mapping):
        check.problem(path, _NO_MAP)
        return {}
    check.limit(path, "TAGS_MAX", len(tags))
    out: dict[str, Json] = {}
    for name, value in islice(tags.items(), limits.TAGS_MAX):
        if not isinstance(name, str) or not _TAG_KEY.match(name):
            check.problem(
                f"{path}.{_named(name)}", "is not a tag name; use at most 64 ASCII letters, digits and _ . : / -"
            )
        elif value is None or check.text(f"{path}.{name}", value, "TAG_VALUE_CHARS_MAX", blank=True) is not None:
            out[TAG + name] = value
    return out


def _matching(check: Check, path: str, tags: object, about: Argument) -> tuple[tuple[str, str], ...]:
    if not isinstance(tags, Mapping):
        check.problem(path, _NO_MAP)
        return ()
    check.limit(path, "TAGS_MAX", len(tags))
    pairs = []
    for name, value in islice(tags.items(), limits.TAGS_MAX):
        if isinstance(name, str) and isinstance(value, str) and len(name) + len(value) > limits.REFERENCE_CHARS_MAX:
            check.limit(f"{path}.{_named(name)}", "REFERENCE_CHARS_MAX", len(name) + len(value))
        elif isinstance(name, str) and isinstance(value, str) and _is_unicode(name + value):
            pairs.append((name, value))
        else:
            check.problem(f"{path}.{_named(name)}", "is not text, or holds a lone surrogate")
    return tuple(sorted(pairs))


def _claim(check: Check, path: str, claim: object, about: Argument) -> dict[str, Json]:
    """Check a claim, and return it as a field."""
    if isinstance(claim, Claim):
        claim = claim.register()
    if not isinstance(claim, Mapping):
        check.problem(path, "is not a map; pass one with subject, predicate and object")
        return {}
    for name in islice(claim, limits.FILTER_NODES_MAX):
        if name not in ClaimArguments.__annotations__:
            check.problem(f"{path}.{_named(name)}", "is not a part of a claim; use subject, predicate, object and many")
    parts = [_part(check, f"{path}.{name}", claim.get(name)) for name in ("subject", "predicate", "object")]
    many = claim.get("many", False)
    if not isinstance(many, bool):
        check.problem(f"{path}.many", "is true or false")
    if None in parts:
        return {}
    subject, predicate, object_ = (part or "" for part in parts)
    return {"claim": Claim(subject, predicate, object_, bool(many)).register()}


def _part(check: Check, path: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        what = "missing" if value is None else "blank"
        check.problem(path, f"is {what}; a claim has a subject, a predicate and an object")
        return None
    return check.text(path, value, "CLAIM_CHARS_MAX")


def _map(check: Check, path: str, value: object, about: Argument) -> dict[str, Json]:
    """Check a map of whatever JSON holds, and return it as fields."""
    if not isinstance(value, Mapping):
        check.problem(path, "is not a map")
        return {}
    if not _measured(check, path, value, getattr(limits, about.limit)):
        return {}
    try:
        size = len(canonical(dict(value)))
    except InvalidInput as error:
        check.problems.extend(Problem(path + p.path[1:], p.message) for p in error.problems)
        return {}
    check.limit(path, about.limit, size)
    return {f"meta:{name}": part for name, part in value.items()}


def _measured(check: Check, path: str, value: object, maximum: int) -> bool:
    """Return whether a value is not deeper and not plainly larger than it may be; the look at it ends there."""
    size, level, depth = 0, [value], 0
    while level:
        depth += 1
        if not check.limit(path, "METADATA_DEPTH_MAX", depth):
            return False
        inner: list[object] = []
        for part in level:
            size += 1 + (len(part) if isinstance(part, str | bytes) else 0)
            if isinstance(part, Mapping):
                size += sum(len(name) for name in islice(part, maximum) if isinstance(name, str))
                inner.extend(islice(part.values(), maximum))
            elif isinstance(part, Sequence) and not isinstance(part, str | bytes | bytearray):
                inner.extend(islice(part, maximum))
            if size + len(inner) > maximum and not check.limit(path, "METADATA_BYTES_MAX", size + len(inner)):
                return False
        level = inner
    return True


def _named(name: object) -> str:
    """Return the beginning of a name, as it stands in a path."""
    return name[:70] if isinstance(name, str) else brief(name, 70)


def _is_unicode(text: str) -> bool:
    """Return whether a text can be stored at all: a lone surrogate cannot."""
    return text.encode("utf-8", "replace") == text.encode("utf-8", "backslashreplace")


CHECKS: Final[Mapping[Form, Callable[[Check, str, object, Argument], object]]] = MappingProxyType(
    {
        "text": _text, "content": _as_given, "time": _time, "number": _number, "seconds": _seconds, "count": _count,
        "flag": _flag, "choice": _choice, "media type": _media_type, "origin": _origin, "question": _question,
        "texts": _texts, "any": _any, "tags": _tags, "tag set": _tags, "matching": _matching, "claim": _claim,
        "map": _map, "point": _as_given, "checkpoint": _checkpoint,
    }
)  # fmt: skip
"""How each form is checked. What depends on the ledger, or on another argument, is checked where it is used."""
