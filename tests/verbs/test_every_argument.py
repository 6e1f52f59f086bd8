"""Every verb and every argument: what is of a wrong type or past a bound is a typed error that names it.

Which values are wrong follows from the form that the model says, so a new argument is walked without a line here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cmc_mcp import Memory, limits
from cmc_mcp.errors import InvalidInput, LimitExceeded
from cmc_mcp.verbs import models
from cmc_mcp.verbs.argument import FORMS, About, Form, Verb

UNFIT = ("a lone \ud800 surrogate", "a NUL \0 inside")
WRONG: dict[Form, tuple[object, ...]] = {
    "text": (5, True, b"bytes", ["a list"], {"a": "map"}, *UNFIT),
    "content": (5, True, ["a list"], {"a": "map"}, *UNFIT),
    "time": ("never", True, 1.5, ["2026-01-01"], limits.TIME_US_MAX + 1, limits.TIME_US_MIN - 1),
    "number": ("much", True, [0.5], -0.1, float("nan"), float("inf")),
    "seconds": ("long", True, 1.5, -1),
    "count": ("many", True, 1.5, None, [3]),
    "flag": ("yes", 1, 0, [True], None),
    "choice": (5, True, ["a list"], "no such choice"),
    "media type": (5, True, ["text/plain"], "no type"),
    "origin": (5, True, b"bytes", ["a list"], *UNFIT, "note:of another"),
    "question": (5, None, b"bytes", ["a list"], "", "  "),
    "texts": (5, True, {"a": "map"}, [5], [None]),
    "any": (5, True, [5], [""], "", [None]),
    "tags": (5, True, "topic=deploy", ["topic"], {"topic": 5}, {5: "deploy"}, {"topic": UNFIT[0]}),
    "tag set": (5, True, "topic=deploy", ["topic"], {"topic": 5}, {5: "deploy"}, {"topic": UNFIT[0]}),
    "matching": (5, True, "topic=deploy", ["topic"], {"topic": 5}, {5: "deploy"}, {"topic": UNFIT[0]}),
    "claim": (5, True, "a | is | b", ["a", "is", "b"], {"subject": 5, "predicate": "is", "object": "b"}),
    "map": (5, True, "a map", ["a"], {"a": object()}),
    "point": (True, 1.5, ["a list"], {"a": "map"}, "", *UNFIT),
    "checkpoint": (5, True, b"bytes", ["a list"]),
}
"""Values that no argument of the form takes."""

VERBS: tuple[type[Verb[Any]], ...] = (
    models.Remember, models.Recall, models.Revise, models.Mark, models.Forget, models.Snapshot, models.Rollback,
    models.History, models.Verify,
)  # fmt: skip
ALL = [(verb, about) for verb in VERBS for about in verb.abouts.values()]


def past_bounds(about: About) -> Iterator[object]:
    """Yield values of the right type that lie past a bound of the argument."""
    argument = about.argument
    maximum = getattr(limits, argument.limit) if argument.limit else 0
    if argument.form == "count":
        yield from (argument.least - 1, maximum + 1)
    elif argument.form == "number":
        yield argument.most * 1.01
    elif argument.form == "texts":
        yield ["x"] * (maximum + 1)
    elif argument.form == "map":
        yield {"a": "x" * maximum}
    elif argument.form == "claim":
        yield {"subject": "x" * (limits.CLAIM_CHARS_MAX + 1), "predicate": "is", "object": "b"}
    elif argument.form in ("tags", "tag set"):
        yield {f"tag{n}": "x" for n in range(limits.TAGS_MAX + 1)}
        yield {"topic": "x" * (limits.TAG_VALUE_CHARS_MAX + 1)}
    elif maximum:  # of texts
        yield "x" * (maximum + 1)


def beside(about: About, verb: type[Verb[Any]], atom: str) -> dict[str, object]:
    """Return the other arguments that the call needs, so that only the one that is walked is wrong."""
    name = about.name
    if verb is models.Forget:
        return {} if name in ("source", "tags", "writer", "since") else {"ids": [atom]}
    if verb is models.Rollback:
        return {"since": 0} if name in ("dry_run", "digest") else {}
    if verb is models.History:
        return {"source": "doc:a"} if name == "place" else {}
    return {
        models.Remember: {"content": "another note"},
        models.Recall: {"query": "deploy"},
        models.Revise: {"id": atom, "priority": 0.25},
        models.Mark: {"ids": [atom], "outcome": "used"},
        models.Snapshot: {"label": "now"},
        models.Verify: {},
    }[verb]  # type: ignore[index, return-value]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    """A memory with something in it, which stays as it is."""
    with Memory.open(tmp_path_factory.mktemp("walk") / "memory.db", embedder=None) as made:
        made.remember("The deploy target is Fly.io", source="doc:a", tags={"topic": "deploy"})
        made.snapshot("start")
        yield made


def state(memory: Memory) -> object:
    return memory.status(), memory.history().lean()


def test_every_form_has_wrong_values() -> None:
    assert set(WRONG) == set(FORMS)


@pytest.mark.parametrize(("verb", "about"), ALL, ids=lambda part: getattr(part, "verb", None) or part.name)
def test_a_wrong_type_or_a_passed_bound_is_refused_by_name_and_changes_nothing(
    memory: Memory, verb: type[Verb[Any]], about: About
) -> None:
    atom = memory.recall("deploy").items[0].id
    before = state(memory)
    path = about.name.rstrip("_")
    for wrong in (*WRONG[about.argument.form], *past_bounds(about)):
        given = {**beside(about, verb, atom), about.name: wrong}
        with pytest.raises((InvalidInput, LimitExceeded)) as refused:
            getattr(memory, verb.verb)(**given)
        named = [problem.path for problem in refused.value.problems]
        assert any(one == path or one.startswith((f"{path}.", f"{path}[")) for one in named), (wrong, named)
        assert state(memory) == before
