"""Dedupe: which memories are one item, and how many of one text follow each other (`docs/design/scores.md` §5)."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final, NamedTuple

from cmc_mcp.documents.loading import Loaded
from cmc_mcp.ids import Pid
from cmc_mcp.model.facts import Claim, claim_of, number_of, tags_of
from cmc_mcp.model.modality import BINARY, MODALITIES
from cmc_mcp.model.witness import band
from cmc_mcp.read.agree import Statements
from cmc_mcp.read.navigate import Candidate
from cmc_mcp.store.rows import AtomRow

PROSE: Final = frozenset(map(MODALITIES.index, ("text", "event")))
"""The modalities whose texts are compared as statements; in code and in calls every sign may matter."""
_PROSE_TYPES: Final = frozenset(("text/plain", "text/markdown"))
_BINARY: Final = frozenset(map(MODALITIES.index, BINARY))


class Same(NamedTuple):
    """All that must be equal before one memory stands for another."""

    text: str
    modality: int
    writer: str
    origin: Pid
    said: tuple[Pid, str | None, int | None]  # in which session; by whom and when, which may be facts
    valid_from: int
    valid_to: int
    tags: tuple[tuple[str, str], ...]
    title: str
    claim: Claim | None
    band: str | None


def words_key(loaded: Loaded, statements: Statements) -> str:
    """Return what is equal for two memories of the same words: a key of prose, else the very bytes."""
    row = loaded.row
    if row.modality in _BINARY:
        return f"\0{row.content}"
    if row.modality in PROSE and loaded.media_type in _PROSE_TYPES:
        return statements.of(row.content, loaded.text).key
    return loaded.text


def same_of(loaded: Loaded, text: str) -> Same | None:
    """Return what must be equal for another memory to be the same item; None for one that is an item by itself.

    Another writer, speaker, session, source, time, title, tag, claim, validity or band of confidence makes another
    memory. A passage of a document is one by itself, since where it stands is part of what it says.
    """
    row, interval, fields = loaded.row, loaded.interval, loaded.fields
    if (row.origin and "session" not in loaded.discriminator) or not loaded.witness or interval.facts.body is None:
        return None
    return Same(
        text,
        row.modality,
        str(loaded.witness.get("writer")),
        row.origin,
        (row.discriminator, loaded.speaker, loaded.occurred_us),
        interval.valid_from,
        interval.valid_to,
        tuple(tags_of(fields).items()),
        str(fields.get("title", "")),
        claim_of(fields),
        band(number_of(fields, "confidence")),
    )


class Occurrences:
    """How many memories of one text a window has taken, and those that wait for the next one since there were too many.

    They wait as candidates, in the order in which they came. Nothing is lost: every window takes some of them first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._texts: dict[tuple[Pid, int, Pid], str] = {}
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[int, Candidate]]] = {}
        self._came = 0

    def __bool__(self) -> bool:
        """Return whether any wait."""
        return bool(self._waiting)

    def released(self) -> deque[tuple[int, Candidate]]:
        """Begin a window: return those of the waiting that it may take, in order, each with its number."""
        self._taken.clear()
        out = []
        for text, waiting in list(self._waiting.items()):
            out += [waiting.popleft() for _ in range(min(self._most, len(waiting)))]
            if not waiting:
                del self._waiting[text]
        return deque(sorted(out, key=lambda each: each[0]))

    def give_back(self, released: deque[tuple[int, Candidate]]) -> None:
        """Let those wait on that a window had no room for."""
        for number, candidate in reversed(released):
            text = self._texts[_content(candidate[1])]
            self._waiting.setdefault(text, deque()).appendleft((number, candidate))

    def is_too_many(self, row: AtomRow) -> bool:
        """Return whether the window has enough of the text of an atom, as far as it is known."""
        text = self._texts.get(_content(row))
        return text is not None and self._taken[text] >= self._most

    def hold_back(self, candidate: Candidate) -> None:
        """Let a candidate, of which the window has too many, wait for the next."""
        self._came += 1
        text = self._texts[_content(candidate[1])]
        self._waiting.setdefault(text, deque()).append((self._came, candidate))

    def know(self, row: AtomRow, text: str) -> None:
        """Note the text of an atom."""
        self._texts[_content(row)] = text

    def take(self, text: str) -> None:
        """Count one memory more of a text."""
        self._taken[text] += 1


def _content(row: AtomRow) -> tuple[Pid, int, Pid]:
    return row.content, row.modality, row.media_type
