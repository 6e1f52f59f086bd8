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

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, NamedTuple, Self

BROKEN: Final = (LookupError, ValueError, TypeError, AttributeError, OverflowError, AssertionError, RecursionError)
"""What code that trusts its tables raises over damaged ones."""

FieldValue = str | int | float | bool | None | Sequence[str]


def _shown(text: str) -> str:
    """Return a text that can be printed and sent: every lone surrogate becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


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
    """Raised when an argument is wrong. `problems` lists every problem, each with the path of its field.

    >>> str(InvalidInput.of([Problem("valid_to", "must be after valid_from")]))
    'valid_to: must be after valid_from'
    """

    code = "invalid_input"
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> InvalidInput:
        """Build the error from every problem found."""
        problems = [Problem(_shown(p.path), _shown(p.message)) for p in problems]
        error = cls("; ".join(f"{p.path}: {p.message}" for p in problems), paths=[p.path for p in problems])
        error.problems = tuple(problems)
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
        message = f"is {value:,}, over the limit {limit} of {maximum:,}"
        error = cls(f"{path}: {message}", limit=limit, value=value, maximum=maximum, paths=[path])
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
