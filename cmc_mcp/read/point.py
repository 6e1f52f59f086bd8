"""Read points: what a read resolves to, so that equal ones give equal answers for ever."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from cmc_mcp import limits
from cmc_mcp.canon import canonical, payload_hash
from cmc_mcp.errors import InvalidInput
from cmc_mcp.history.references import PointLike, resolve_point
from cmc_mcp.ids import Seq
from cmc_mcp.kernel.identity import snapshot_name
from cmc_mcp.model import results
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, TimeLike, format_time, parse_time
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import Head


@dataclass(frozen=True, slots=True)
class Point:
    """A resolved read point: the state, the instant of valid time, and what "now" is."""

    head: Head
    valid_at: int
    reference_us: int

    def result(self, model: str | None, settings: str) -> results.ReadPoint:
        """Return the read point as answers echo it."""
        return results.ReadPoint(
            snapshot=snapshot_name(self.head.state_root),
            transaction=self.head.seq,
            valid_at=_shown(self.valid_at),
            reference_time=_shown(self.reference_us),
            model=model,
            settings=settings,
        )


def _shown(time_us: int) -> str:
    return format_time(time_us) or ("always" if time_us < 0 else "never")


def resolve(view: LedgerView, as_of: PointLike | None, valid_at: TimeLike | None, now_us: int) -> Point:
    """Resolve a read point: without `as_of` the head and the clock, else that state and its own time.

    Raises:
        NotFound: `as_of` names no state.
        Ambiguous: `as_of` could name several states.
        InvalidInput: `as_of` is malformed, or `valid_at` is not a time.
    """
    head = view.head() if as_of is None else view.head_at(resolve_point(view, as_of))
    # a clock that stepped back must not hide what was just recorded
    reference = max(now_us, head.recorded_us) if as_of is None else head.recorded_us
    instant = reference if valid_at is None else parse_time(valid_at, "valid_at")
    return Point(head, min(max(instant, SINCE_ALWAYS + 1), UNTIL_FURTHER_NOTICE - 1), reference)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where an answer goes on: the read point, how many items came before, and which after these came too.

    `given` is a bit mask over the items from `offset` on: smaller ones that fitted where a larger one did not.
    `relevance` is that of the answer, in thousandths; cursors of earlier versions have none.
    """

    seq: Seq
    valid_at: int
    reference_us: int
    offset: int = 0
    given: int = 0
    relevance: int | None = None

    def point(self, view: LedgerView) -> Point:
        """Return the read point of the answer that is continued."""
        return Point(view.head_at(self.seq), self.valid_at, self.reference_us)

    def encode(self, scope: Sequence[str]) -> str:
        """Write the cursor, bound to the workspace and the question."""
        body = [str(n) for n in (self.seq, self.valid_at, self.reference_us, self.offset)] + [f"{self.given:x}"]
        body += [] if self.relevance is None else [str(self.relevance)]
        return base64.urlsafe_b64encode(canonical([*body, _seal(scope, body)])).decode().rstrip("=")


def decode_cursor(text: str, scope: Sequence[str]) -> Cursor:
    """Read a cursor.

    Raises:
        InvalidInput: the cursor is malformed, or belongs to another workspace or question.
    """
    wrong = "is not a cursor of this question and workspace; call again without a cursor"
    if len(text) > limits.CURSOR_CHARS_MAX:
        raise InvalidInput.at("cursor", wrong)
    try:
        *body, seal = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if len(body) not in (5, 6) or not all(isinstance(part, str) for part in body) or seal != _seal(scope, body):
            raise ValueError
        seq, valid_at, reference_us, offset = (int(part) for part in body[:4])
        relevance = int(body[5]) if len(body) == 6 else None
        return Cursor(Seq(seq), valid_at, reference_us, offset, int(body[4], 16), relevance)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidInput.at("cursor", wrong) from error


def _seal(scope: Sequence[str], body: Sequence[str]) -> str:
    return payload_hash(canonical([list(scope), list(body)])).hex()[:16]
