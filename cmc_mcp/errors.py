"""The whole error tree.

::

    CmcError
      InvalidInput          invalid_input          an argument is wrong; every problem is listed
        LimitExceeded       limit_exceeded         a bound of `limits` was passed
      NotFound              not_found              no such atom, snapshot, label, source, workspace
      Ambiguous             ambiguous              a reference could be two things
      Conflict              conflict               the head moved, a label exists, an idempotency key was reused
      AccessDenied          access_denied          the principal may not do this
        RateLimited         rate_limited           the principal has used up this minute's calls; nothing was changed
      SourceIncomplete      source_incomplete      parts of a source are missing; the error names them
      EmbedderError         embedder_unavailable   the embedding model could not make a vector
        DimensionMismatch   dimension_mismatch     a vector's length differs from its model's dimension
      IntegrityError        integrity              stored bytes do not match their hash
        ProofError          proof                  a Merkle proof or a signature does not hold
      StoreError            store                  the store refused
        Busy                busy                   another process holds the write lock
        FutureStore         future_store           the file was written by a newer version
        WrongKey            wrong_key              the file is encrypted with another key, or is not a store
        OutcomeUnknown      outcome_unknown        the disk failed during COMMIT; look the idempotency key up
      Cancelled             cancelled              the caller gave up before the commit; nothing was changed

A caller that wants to catch every error writes ``except CmcError as error: print(error.code, error)``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import ClassVar, Final, NamedTuple, Self

from cmc_mcp.limits import PROBLEM_CHARS_MAX, PROBLEMS_MAX

BROKEN: Final = (LookupError, ValueError, TypeError, AttributeError, OverflowError, AssertionError, RecursionError)
"""What code that trusts its tables raises over damaged ones."""

FieldValue = str | int | float | bool | None | Sequence[str]


def _shown(text: str) -> str:
    """Return a text that can be printed and sent: every lone surrogate becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str) -> str:
    """Return a text that can be printed and sent, cut where it is longer than a problem may be."""
    return _shown(text if len(text) <= PROBLEM_CHARS_MAX else f"{text[:PROBLEM_CHARS_MAX]}…")


class _Brief(reprlib.Repr):
    """Shows the beginning of anything: what it costs does not grow with the value."""

    def __init__(self, chars: int) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 4, chars + 4, chars + 4
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = self.maxdeque = 10

    def repr_str(self, x: str, level: int) -> str:
        return repr(x[: self.maxstring])

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < _BITS_SHOWN else f"a number of {x.bit_length():,} bits"

    def repr_dict(self, x: dict[object, object], level: int) -> str:
        if level <= 0 and x:
            return "{...}"
        parts = [f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in islice(x, self.maxdict)]
        return f"{{{', '.join([*parts, '...'] if len(x) > self.maxdict else parts)}}}"

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[: self.maxstring])

    repr_bytearray = repr_bytes


_BITS_SHOWN: Final = 4_096


def brief(value: object, chars: int = 40) -> str:
    """Return the first characters of how a value is written, whatever its size and depth.

    >>> brief([[]] * 1_000_000, 20), brief("x" * 1_000_000, 5), brief(True)
    ('[[], [], [], [], [],', "'xxxx", 'True')
    """
    return _Brief(chars).repr(value)[:chars]


class Problem(NamedTuple):
    """One problem with one argument: the path of the argument, and what would be right."""

    path: str
    message: str


class CmcError(Exception):
    """The base class of every error that leaves a public function of this package.

    `code` is stable and meant for programs; the message is meant for people and agents; `fields` are plain values.

    >>> CmcError("nothing to do", hint="pass an id").as_dict()
    {'code': 'cmc', 'message': 'nothing to do', 'hint': 'pass an id'}
    """

    code: ClassVar[str] = "cmc"

    def __init__(self, message: str, **fields: FieldValue) -> None:
        super().__init__(_shown(message))
        self.message = _shown(message)
        self.fields: Mapping[str, FieldValue] = dict(fields)

    def as_dict(self) -> dict[str, FieldValue]:
        """Return the error as plain values, `code` and `message` first."""
        return {"code": self.code, "message": self.message, **self.fields}


class InvalidInput(CmcError):
    """Raised when an argument is wrong. `problems` lists the first PROBLEMS_MAX, each with the path of its field.

    `more` is the number of further problems.

    >>> str(InvalidInput.of([Problem("valid_to", "must be after valid_from")]))
    'valid_to: must be after valid_from'
    """

    code = "invalid_input"
    problems: tuple[Problem, ...] = ()
    more: int = 0

    @classmethod
    def of(cls, problems: Sequence[Problem], more: int = 0) -> InvalidInput:
        """Build the error from the problems found; `more` counts those that were found and not kept."""
        kept = [Problem(_cut(p.path), _cut(p.message)) for p in problems[:PROBLEMS_MAX]]
        more += len(problems) - len(kept)
        said = [f"{p.path}: {p.message}" for p in kept]
        fields: dict[str, FieldValue] = {"paths": [p.path for p in kept]}
        if more:
            said.append(f"and {more:,} more problem{'s' if more > 1 else ''}")
            fields["more"] = more
        error = cls("; ".join(said), **fields)
        error.problems, error.more = tuple(kept), more
        return error

    @classmethod
    def at(cls, path: str, message: str) -> InvalidInput:
        """Build the error from one problem."""
        return cls.of([Problem(path, message)])


class LimitExceeded(InvalidInput):
    """Raised when a value passes a bound of `limits`; the fields name the limit, the value and the maximum."""

    code = "limit_exceeded"

    @classmethod
    def over(cls, path: str, limit: str, value: int, maximum: int) -> LimitExceeded:
        """Build the error for `value` over the bound called `limit`."""
        written = f"{value:,}" if value.bit_length() < _BITS_SHOWN else brief(value)
        message = f"is {written}, over the limit {limit} of {maximum:,}"
        error = cls(f"{path}: {message}", limit=limit, value=min(value, 2**53 - 1), maximum=maximum, paths=[path])
        error.problems = (Problem(path, message),)
        return error


class NotFound(CmcError):
    """Raised when a reference does not name anything in this workspace."""

    code = "not_found"


class Ambiguous(CmcError):
    """Raised when a reference could mean more than one thing; `candidates` lists them."""

    code = "ambiguous"


class Conflict(CmcError):
    """Raised when the call contradicts the committed state."""

    code = "conflict"


class AccessDenied(CmcError):
    """Raised when the principal of the connection lacks the right to make the call."""

    code = "access_denied"


class RateLimited(AccessDenied):
    """Raised when the principal has used up this minute's calls; `retry_after_s` is the number of seconds to wait."""

    code = "rate_limited"


class SourceIncomplete(CmcError):
    """Raised when parts of a source were forgotten or erased; `missing` names them."""

    code = "source_incomplete"


class EmbedderError(CmcError):
    """Raised when the embedding model cannot be loaded or its endpoint does not answer."""

    code = "embedder_unavailable"


class DimensionMismatch(EmbedderError):
    """Raised when a vector's length differs from its model's dimension."""

    code = "dimension_mismatch"


class IntegrityError(CmcError):
    """Raised when stored bytes do not match the hash that stands for them."""

    code = "integrity"


class ProofError(IntegrityError):
    """Raised when a proof or a signature does not hold."""

    code = "proof"


class StoreError(CmcError):
    """Raised when the store cannot be opened, read or written; the message says what to do."""

    code = "store"

    @classmethod
    def refused(cls, said: str, do: str, missing: str = "") -> Self:
        """Build the error for what a database refuses since it is not as CMC made it; `said` are the driver's own words.

        >>> str(StoreError.refused("no such table: tags", "a backup helps", "table tags")).partition("; ")[0]
        'the table tags is missing: something other than CMC changed the store'
        """
        what = f"the {missing} is missing: something other than CMC changed the store"
        if not missing:
            what = "the database refused what was asked of it, and nothing was changed"
        return cls(f"{what}; `cmc verify` names what is wrong, and {do}", detail=said)

    def after(self, kept: str) -> Self:
        """Return the same failure for a call that had committed a part before the failure.

        >>> str(StoreError("the disk is full; nothing was changed").after("the first 3 items are kept"))
        'the first 3 items are kept, then the disk is full; nothing more was changed'
        """
        message = self.message.replace("nothing was changed", "nothing more was changed")
        return type(self)(f"{kept}, then {message}", **self.fields)


class Busy(StoreError):
    """Raised when the write lock was not free in time. Nothing was changed; try again."""

    code = "busy"


class FutureStore(StoreError):
    """Raised when the file has a newer format than this version knows. Nothing was written."""

    code = "future_store"


class WrongKey(StoreError):
    """Raised when the file cannot be decrypted with the given key, or is not a store."""

    code = "wrong_key"


class OutcomeUnknown(StoreError):
    """Raised when COMMIT itself failed, so that the outcome is unknown until the idempotency key is looked up."""

    code = "outcome_unknown"


class Cancelled(CmcError):
    """Raised when the caller gave up before the commit. Nothing was changed."""

    code = "cancelled"
