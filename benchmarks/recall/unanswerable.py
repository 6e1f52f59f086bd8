"""Does an answer know when nothing relevant is stored? `python -m benchmarks.recall.unanswerable --eval ../shared/eval`.

Every memory is asked its own questions and some that it cannot answer: those of other conversations, with their speakers'
names replaced by the names that speak here (an unknown name alone would tell); those of another article; and, of notes,
questions on other things and on things near them. `relevance` of the answer is judged by the area under its ROC curve
and by the share of the unanswerable that lie below all but 5 % of the answerable; beside it the score of the best memory
and the best cosine over the same passages.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console

from benchmarks.recall import page, shipped
from benchmarks.recall.report import Grid
from benchmarks.recall.sets import Doc, Scope, load
from benchmarks.recall.vectors import KeptVectors
from cmc_mcp.config import Settings

NOTES: Final = Path(__file__).with_name("unanswerable.jsonl")
TALKS: Final = {"locomo": 3, "realtalk": 1, "beam": 1}  # of each set, every so many of its own questions
PAGES: Final = {"squadshifts": (4, 4), "timeqa": (8, 1)}  # every so many articles are stored; of so many questions one
FALSE_ALARMS: Final = 0.05
_RESAMPLED: Final = 1_000
_NOBODY: Final = ("user", "assistant")
_WAYS: Final = ("relevance", "score", "cosine")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trial:
    """A memory, the questions that it can answer, and those that it cannot, by where these are from."""

    scope: Scope
    own: tuple[str, ...]
    others: tuple[tuple[str, str], ...]


class Found(NamedTuple):
    """What one question was answered with; `kind` is empty where the memory can answer it."""

    set: str
    scope: str
    half: int
    kind: str
    question: str
    verdict: str
    relevance: float
    score: float
    cosine: float


# ---------------------------------------------------------------------- what is asked
def speakers(scope: Scope) -> list[str]:
    """Return the first names of those who speak in a conversation, with a capital, in the order in which they begin."""
    names = dict.fromkeys(doc["speaker"] for doc in scope.docs)
    return [name.split()[0].capitalize() for name in names if name and name not in _NOBODY]


def renamed(text: str, theirs: Sequence[str], mine: Sequence[str]) -> str:
    """Replace the speakers of another conversation by those of this one, in one pass.

    >>> renamed("Did Ann's dog bite Bob?", ["Ann", "Bob"], ["Bob", "Eve"])
    "Did Bob's dog bite Eve?"
    """
    local = {name.lower(): mine[place % len(mine)] for place, name in enumerate(theirs)} if mine else {}
    if not local:
        return text
    found = "|".join(re.escape(name) for name in sorted(local, key=len, reverse=True))
    return re.sub(rf"\b({found})\b", lambda match: local[match.group().lower()], text, flags=re.IGNORECASE)


def talks(folder: Path, name: str, every: int) -> Iterator[Trial]:
    """Yield the conversations of a set, each with questions of all the others, about as many as of its own."""
    scopes = load(folder, name)
    for place, scope in enumerate(scopes):
        rest = [*scopes[place + 1 :], *scopes[:place]]
        step = every * len(rest)
        others = [
            ("other", renamed(ask["text"], speakers(other), speakers(scope)))
            for start, other in enumerate(rest)
            for ask in other.asks[start % step :: step]
        ]
        own = tuple(ask["text"] for ask in scope.asks[::every])
        yield Trial(scope, own, (*others, *(("abstention", text) for text in _abstentions(folder, scope))))


def _abstentions(folder: Path, scope: Scope) -> list[str]:
    """Return the questions that a set itself asks of a conversation without an answer."""
    rows = [json.loads(line) for line in (folder / scope.set / "queries.jsonl").read_text("utf-8").splitlines()]
    return [row["text"] for row in rows if row["scope"] == scope.name and row["category"] == "abstention"]


def pages(folder: Path, name: str, every: int, questions: int) -> Iterator[Trial]:
    """Yield a memory of some articles of a set, with the questions of as many articles that it does not hold."""
    (scope,) = load(folder, name)
    articles = list(dict.fromkeys(doc["session"] for doc in scope.docs))
    here, there = set(articles[every // 2 :: every]), set(articles[every // 2 + 1 :: every])
    of = {doc["id"]: doc["session"] for doc in scope.docs}
    asked = lambda which: [ask["text"] for ask in scope.asks if of[ask["relevant"][0]] in which]  # noqa: E731
    stored = replace(scope, name=f"every {every}th", docs=tuple(d for d in scope.docs if d["session"] in here), asks=())
    yield Trial(stored, tuple(asked(here)[::questions]), tuple(("other", q) for q in asked(there)[::questions]))


def notes() -> Iterator[Trial]:
    """Yield the notes of `unanswerable.jsonl`, in one memory."""
    rows = [json.loads(line) for line in NOTES.read_text("utf-8").splitlines()]
    docs = tuple(_doc(str(place), row["note"]) for place, row in enumerate(rows) if "note" in row)
    own = tuple(question for row in rows for question in row.get("asked", ()))
    others = tuple((row["kind"], row["question"]) for row in rows if "question" in row)
    yield Trial(Scope("own notes", "notes", docs, ()), own, others)


def _doc(name: str, text: str) -> Doc:
    return {"id": name, "scope": "notes", "session": None, "time": None, "speaker": None, "title": None, "text": text}


def trials(folder: Path, names: Sequence[str]) -> Iterator[tuple[int, Trial]]:
    """Yield what is asked of the sets that are there; of a set, every second trial is of the half 0."""
    for name in names:
        if name != "notes" and not (folder / name / "queries.jsonl").exists():
            continue
        if name == "notes":
            found = notes()
        elif name in TALKS:
            found = talks(folder, name, TALKS[name])
        else:
            found = pages(folder, name, *PAGES[name])
        yield from ((place % 2, trial) for place, trial in enumerate(found))


# ---------------------------------------------------------------------- what is answered
def ask(keep: Path, half: int, trial: Trial, embedder: KeptVectors) -> list[Found]:
    """Ask a memory everything, through `Memory.recall`."""
    shipped.build(keep, trial.scope, shipped.stamp())
    questions = [("", text) for text in trial.own] + list(trial.others)
    vectors = embedder.embed([text for _, text in questions])
    stored = embedder.embed([doc["text"] for doc in trial.scope.docs])
    cosines = (vectors @ stored.T).max(axis=1)
    out = []
    opened = shipped.Shipped(keep, trial.scope, Settings(), embedder)
    with opened.memory:
        for (kind, text), cosine in zip(questions, cosines.tolist(), strict=True):
            answer = opened.search(text, shipped.TEN)
            assert answer.relevance is not None
            best = answer.items[0].why or {} if answer.items else {}
            told = answer.relevance
            where = (trial.scope.set, trial.scope.name, half, kind, text)
            out.append(Found(*where, told.verdict, told.score, best.get("score", 0.0), cosine))
    return out


# ---------------------------------------------------------------------- figures
def area(answerable: Floats, unanswerable: Floats) -> float:
    """Return the area under the ROC curve: how often an answerable question scores higher, a tie counting half.

    >>> area(np.array([0.9, 0.5]), np.array([0.5, 0.1]))
    0.875
    """
    low = np.searchsorted(np.sort(unanswerable), answerable, "left")
    high = np.searchsorted(np.sort(unanswerable), answerable, "right")
    return float((low + high).sum() / 2 / (len(answerable) * len(unanswerable)))


def caught(answerable: Floats, unanswerable: Floats) -> float:
    """Return the share of unanswerable questions that score lower than all but 5 % of the answerable."""
    return float((unanswerable < np.quantile(answerable, FALSE_ALARMS)).mean())


def interval(measure: Callable[[Floats, Floats], float], one: Floats, other: Floats) -> tuple[float, float]:
    """Return the 95 % interval of a measure, questions resampled."""
    chance = np.random.default_rng(7)
    values = [measure(chance.choice(one, len(one)), chance.choice(other, len(other))) for _ in range(_RESAMPLED)]
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return low, high


def _pair(rows: Sequence[Found], way: str) -> tuple[Floats, Floats]:
    own, others = ([getattr(row, way) for row in rows if bool(row.kind) is kind] for kind in (False, True))
    return np.array(own, np.float64), np.array(others, np.float64)


def _with(measure: Callable[[Floats, Floats], float], one: Floats, other: Floats) -> str:
    low, high = interval(measure, one, other)
    return f"{measure(one, other):.3f} ({low:.3f}–{high:.3f})"


def grid(found: Sequence[Found]) -> Grid:
    """Return the figures of each set and of all, and of the kinds and halves that they consist of."""
    rows = []
    usual = [row for row in found if row.kind != "abstention"]
    sets = dict.fromkeys(row.set for row in found)
    parts: list[tuple[str, list[Found]]] = [(name, [r for r in usual if r.set == name]) for name in sets]
    parts += [(f"all, half {half}", [r for r in usual if r.half == half]) for half in (0, 1)]
    parts += [("all", usual)]
    apart = {"own notes": ("far", "near"), "beam": ("abstention",)}
    for name, kinds in apart.items():
        parts += [(f"· {name}, {kind}", [r for r in found if r.set == name and r.kind in ("", kind)]) for kind in kinds]
    for name, part in parts:
        own, others = _pair(part, "relevance")
        if not len(own) or not len(others):
            continue
        beside = [_pair(part, way) for way in _WAYS[1:]]
        none = [np.mean([r.verdict == "none" for r in part if bool(r.kind) is kind]) for kind in (True, False)]
        rows.append(
            (
                name, f"{len(own)} / {len(others)}", _with(area, own, others), _with(caught, own, others),
                *(f"{area(*pair):.3f} / {caught(*pair):.2f}" for pair in beside), *(f"{share:.2f}" for share in none),
            )
        )  # fmt: skip
    columns = (
        "set", "answerable / not", "AUROC (95 %)", "caught at 5 % (95 %)", "score of the best", "raw cosine",
        "`none`: not answerable", "`none`: answerable",
    )  # fmt: skip
    return Grid("Unanswerable questions: relevance, beside the best memory's score and the best cosine", columns, rows)


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval", type=Path, default=Path("../shared/eval"), help="folder of the evaluation sets")
    parser.add_argument("--sets", default=",".join(("notes", *TALKS, *PAGES)), help="of these")
    parser.add_argument("--keep", type=Path, help="folder to keep stores and vectors in, and to take them from")
    parser.add_argument("--page", type=Path, help="put the table into this Markdown file")
    parser.add_argument("--json", type=Path, help="write a row a question here")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 220)
    found: list[Found] = []
    with TemporaryDirectory(prefix="cmc-unanswerable-") as name:
        keep = (options.keep or Path(name)).absolute()
        keep.mkdir(parents=True, exist_ok=True)
        embedder = KeptVectors(keep / "vectors.db")
        for half, trial in trials(options.eval, options.sets.split(",")):
            found += ask(keep, half, trial, embedder)
            console.print(f"{trial.scope.set}/{trial.scope.name}: {len(trial.own)} and {len(trial.others)} asked")
    grid(found).show(console)
    if options.json:
        options.json.write_text(
            json.dumps([row._asdict() for row in found], indent=0, ensure_ascii=False) + "\n", "utf-8"
        )
    if options.page:
        page.write(options.page, {"unanswerable": page.tables([grid(found)])})


if __name__ == "__main__":
    main()
