"""How an answer with `--explain` looks: why each memory is there, and what each stage did and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from cmc_mcp.cli.show import Cell, Out, Styled, bar

if TYPE_CHECKING:
    from pydantic import JsonValue

    from cmc_mcp.model.results import StageTrace

_BAR: Final = 8
_NAMES: Final = {
    "dense": "meaning", "lexical": "words", "context": "neighbours", "named": "speaker named", "question": "asks",
    "own": "of oneself", "pool": "company", "month": "months",
}  # fmt: skip
_STANDING: Final = ("qs", "ids", "dd", "rs", "decay")  # of the memory, whatever was asked (`read/quality.py`)
_TOTAL: Final = "score"  # stands at the head of the memory
_BESIDES: Final = Styled("besides embedding the question", "dim")
_DOES: Final = {
    "filter": "what may be read here",
    "terms": "the question's words",
    "dense": "nearest in meaning",
    "lexical": "best by words",
    "rank": "both in one order",
    "load": "facts and texts read",
    "reconcile": "conflicts marked",
    "items": "places and marks added",
    "fit": "filled to the budget",
}


def most(whys: Sequence[Mapping[str, float] | None]) -> float:
    """Return the largest part of any match, which a full bar stands for; 1 without matches."""
    return max((abs(value) for why in whys for _, value in _match(why or {})), default=1.0)


def _match(why: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the parts of the match that are not 0."""
    return [(name, value) for name, value in why.items() if value and name not in (_TOTAL, *_STANDING)]


def reasons(out: Out, why: Mapping[str, float], most: float) -> None:
    """Show what of the question is in a memory, a name, a bar and a value each; then how the memory stands by itself.

    What is below 0 counts against the memory, and its value says so.
    """
    parts = [_part(out, name, value, most) for name, value in _match(why)]
    _wrapped(out, "why", parts or [[Styled("nothing of the question is in it")]])
    standing = [
        [Styled(f"{name.upper() if len(name) < 4 else name} {why[name]:.2f}", "dim")]
        for name in _STANDING
        if name in why
    ]
    if standing:
        _wrapped(out, "standing", standing)


def _part(out: Out, name: str, value: float, most: float) -> list[Styled]:
    style = "green" if value > 0 else "red"
    drawn = f"{bar(abs(value), most, _BAR)} " if out.fancy else ""
    return [Styled(f"{_NAMES.get(name, name.replace('_', ' '))} "), Styled(f"{drawn}{value:.2f}", style)]


def _wrapped(out: Out, head: str, parts: Sequence[Sequence[Styled]]) -> None:
    """Print parts after a head, going on below it where the terminal ends, never inside a part."""
    between = "  " if out.fancy else ", "
    line, used = [Styled(f"{head} ", "dim")], len(head) + 1
    first = used
    for part in parts:
        size = sum(len(interval.text) for interval in part)
        if used > first and out.width and used + len(between) + size > out.width:
            out.line(*line)
            line, used = [Styled("|".ljust(first))], first
        elif used > first:
            line.append(Styled(between))
            used += len(between)
        line += part
        used += size
    out.line(*line)


def stages(out: Out, trace: Sequence[StageTrace]) -> None:
    """Show what each stage did, how many memories it left, and what it cost, with the total."""
    total = sum(stage.ms for stage in trace)
    rows: list[tuple[Cell, ...]] = [
        (
            Styled(stage.stage, "bold"),
            _DOES.get(stage.stage),
            stage.candidates if stage.candidates >= 0 else None,
            f"{stage.ms:.2f}",
            Styled(bar(stage.ms, total, _BAR), "cyan") if out.fancy else f"{stage.ms / (total or 1):.0%}",
            Styled(
                "; ".join(
                    f"{name.replace('_', ' ')} {said}" for name, value in stage.notes.items() if (said := _said(value))
                ),
                "dim",
            ),
        )
        for stage in trace
    ]
    rows.append((Styled("total", "bold"), None, None, Styled(f"{total:.2f}", "bold"), None, _BESIDES))
    out.table(("stage", "what it did", "left", "ms", "share", "notes"), rows)


def _said(value: JsonValue) -> str:
    """Return a note in words; an empty text for an empty note.

    >>> _said({"fly": 3, "deploy": 1}), _said(["the"]), _said([]), _said(0.25)
    ('fly 3, deploy 1', 'the', '', '0.25')
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_said(inner) for inner in value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
