"""The question: the arguments of `recall`, checked, and the filter they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cmc_mcp import limits
from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import InvalidInput, LimitExceeded, Problem
from cmc_mcp.model.facts import TAG
from cmc_mcp.store.protocol import LedgerView
from cmc_mcp.store.rows import MODALITIES, Filter


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and within which bounds."""

    query: str
    budget_tokens: int
    limit: int
    modalities: tuple[str, ...]
    sources: tuple[str, ...]
    writers: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]
    min_confidence: float | None
    around: int = 0  # neighbours on each side

    def scope(self, workspace: str, settings: str) -> list[str]:
        """What a cursor of this question is bound to."""
        return [workspace, settings, repr(self)]


def question(
    query: object,
    *,
    budget_tokens: object,
    limit: object,
    modality: object,
    source: object,
    writer: object,
    tags: object,
    min_confidence: object,
    around: object = 0,
) -> Question:
    """Check the arguments of `recall`.

    Raises:
        InvalidInput: something is wrong, each problem with its path; LimitExceeded when a bound is all.
    """
    problems: list[Problem] = []
    text = query if isinstance(query, str) else ""
    if not text.strip():
        problems.append(Problem("query", "is blank; ask something"))
    elif len(text) > limits.QUERY_CHARS_MAX:
        raise LimitExceeded.over("query", "QUERY_CHARS_MAX", len(text), limits.QUERY_CHARS_MAX)
    budget = _count(problems, "budget_tokens", budget_tokens, "BUDGET_TOKENS_MAX", limits.BUDGET_TOKENS_MAX)
    most = _count(problems, "limit", limit, "RECALL_ITEMS_MAX", limits.RECALL_ITEMS_MAX)
    modalities = _list(problems, "modality", modality)
    for name in modalities:
        if name not in MODALITIES:
            problems.append(Problem("modality", f"{name!r:.40} is none; modalities are {', '.join(MODALITIES)}"))
    pairs = _pairs(problems, tags)
    confidence: float | None = None
    if isinstance(min_confidence, int | float) and not isinstance(min_confidence, bool) and 0 <= min_confidence <= 1:
        confidence = float(min_confidence)
    elif min_confidence is not None:
        problems.append(Problem("min_confidence", f"{min_confidence!r:.40} is not a number from 0 to 1"))
    beside = 0
    if isinstance(around, int) and not isinstance(around, bool) and around >= 0:
        if around > limits.AROUND_MAX:
            raise LimitExceeded.over("around", "AROUND_MAX", around, limits.AROUND_MAX)
        beside = around
    else:
        problems.append(Problem("around", f"{around!r:.40} is not a whole number of at least 0"))
    sources, writers = _list(problems, "source", source), _list(problems, "writer", writer)
    if problems:
        raise InvalidInput.of(problems)
    return Question(text, budget, most, modalities, sources, writers, pairs, confidence, beside)


def _count(problems: list[Problem], path: str, value: object, name: str, maximum: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        problems.append(Problem(path, f"{value!r:.40} is not a whole number of at least 1"))
        return 1
    if value > maximum:
        raise LimitExceeded.over(path, name, value, maximum)
    return value


def _pairs(problems: list[Problem], tags: object) -> tuple[tuple[str, str], ...]:
    if tags is None:
        return ()
    if not isinstance(tags, Mapping):
        problems.append(Problem("tags", 'is no map of names to values, such as {"topic": "deploy"}'))
        return ()
    pairs = []
    for name, value in tags.items():
        if isinstance(name, str) and isinstance(value, str) and _is_unicode(name + value):
            pairs.append((name, value))
        else:
            problems.append(Problem(f"tags.{name!s:.40}", "is no text, or holds a lone surrogate"))
    return tuple(sorted(pairs))


def _list(problems: list[Problem], path: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    values = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else (None,)
    out = tuple(v for v in values if isinstance(v, str) and v and _is_unicode(v))
    if len(out) != len(values):
        problems.append(Problem(path, "is a text, or a list of texts, none of them empty or with a lone surrogate"))
    return out


def _is_unicode(text: str) -> bool:
    """Say whether a text can be stored at all: a lone surrogate cannot."""
    return text.encode("utf-8", "replace") == text.encode("utf-8", "backslashreplace")


def limits_of(view: LedgerView, asked: Question) -> Filter | None:
    """Turn a question's filters into numbers; None when nothing here can pass them.

    A note, having no source of its own, is named by its origin `note:…`.
    """
    facts: list[tuple[int, ...]] = []
    for name, value in asked.tags:
        facts.append(tuple(view.facts_with_tag(name.removeprefix(TAG), value)))
    if asked.min_confidence is not None:
        facts.append(tuple(view.facts_with_confidence(round(asked.min_confidence * 1_000_000))))
    if not all(facts):
        return None
    origins = tuple(pid for o in asked.sources if (pid := view.pid(payload_hash(o.encode()))) is not None)
    notes = tuple(rid for o in asked.sources if o.startswith("note:") for rid in _note(view, o))
    witnesses = tuple(pid for writer in asked.writers for pid in view.witnesses_of(writer))
    if (asked.sources and not origins and not notes) or (asked.writers and not witnesses):
        return None
    if origins and notes:  # named by either, not by both
        notes += tuple(row.rid for pid in origins for row in view.atoms_with("origin", pid))
        origins = ()
    return Filter(
        modalities=tuple(MODALITIES.index(m) for m in asked.modalities) or None,
        origins=origins or None,
        witnesses=witnesses or None,
        facts=tuple(facts),
        rids=notes or None,
    )


def _note(view: LedgerView, origin: str) -> list[int]:
    try:
        pid = view.pid(bytes.fromhex(origin.removeprefix("note:")))
    except ValueError:
        return []
    return [] if pid is None else [row.rid for row in view.atoms_with("content", pid) if not row.origin]
