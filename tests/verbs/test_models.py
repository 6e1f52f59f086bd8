"""A verb's model and the typed signature of the facade say the same; every form is known to every face."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from cmc_mcp import Memory
from cmc_mcp.cli.options import TYPED
from cmc_mcp.model.facts import DECAY_TAU_S_DEFAULT, PRIORITY_DEFAULT
from cmc_mcp.tools import TOOLS
from cmc_mcp.tools.schema import TYPES
from cmc_mcp.verbs import models
from cmc_mcp.verbs.argument import FORMS, Verb
from cmc_mcp.verbs.check import CHECKS
from cmc_mcp.write.validate import RememberArguments, RememberOptions

VERBS: list[type[Verb[Any]]] = [
    one for one in vars(models).values() if inspect.isclass(one) and issubclass(one, Verb) and one is not Verb
]
RUNTIME = {"self", "cancel", "progress"}  # what a call is run with, which no face sends


def declared(verb: type[Verb[Any]]) -> dict[str, tuple[str, object]]:
    """Return type and default of each argument of a model."""
    written = {name: text for base in verb.__mro__ for name, text in vars(base).get("__annotations__", {}).items()}
    return {
        name: (written[name], inspect.Parameter.empty if about.required else about.default)
        for name, about in verb.abouts.items()
    }


@pytest.mark.parametrize("verb", [one for one in VERBS if one is not models.Remember])
def test_the_facade_takes_what_the_model_says_by_name_type_default_and_order(verb: type[Verb[Any]]) -> None:
    parameters = inspect.signature(getattr(Memory, verb.verb)).parameters.values()
    taken = {p.name: (p.annotation, p.default) for p in parameters if p.name not in RUNTIME}
    assert list(taken.items()) == list(declared(verb).items())


def test_remember_and_remember_many_take_what_the_model_says() -> None:
    said = {name: type_ for name, (type_, _) in declared(models.Remember).items()}
    assert said == _hints(RememberArguments)
    assert said.pop("content") == inspect.signature(Memory.remember).parameters["content"].annotation
    assert list(said.items()) == list(_hints(RememberOptions).items())


def _hints(options: Any) -> dict[str, str]:
    return {name: hint.__forward_arg__ for name, hint in vars(options)["__annotations__"].items()}


def test_every_verb_has_a_tool_and_every_tool_is_of_a_verb() -> None:
    assert {tool.verb for tool in TOOLS} == set(VERBS)


def test_every_form_is_checked_published_and_typed() -> None:
    assert set(FORMS) == set(CHECKS) == set(TYPES) == set(TYPED)
    assert {about.argument.form for verb in VERBS for about in verb.abouts.values()} == set(FORMS)


def test_what_a_default_fact_is_is_said_the_same_in_the_model_and_where_facts_are_read() -> None:
    said = {name: about.argument.usual for name, about in models.Remember.abouts.items()}
    assert (said["priority"], said["decay_tau_s"]) == (PRIORITY_DEFAULT, DECAY_TAU_S_DEFAULT)
    assert models.Revise.abouts["priority"].argument.usual == PRIORITY_DEFAULT


def test_a_model_is_frozen_and_hands_on_just_what_it_holds() -> None:
    class Facade:
        def snapshot(self, **given: object) -> dict[str, object]:
            return given

    asked = models.Snapshot("before", note="n")
    with pytest.raises(AttributeError):
        asked.label = "after"  # type: ignore[misc]
    assert models.Snapshot.of({"label": "before", "note": "n", "force": False, "self": None}) == asked
    assert asked.on(Facade(), more=1) == {"label": "before", "note": "n", "force": False, "more": 1}  # type: ignore[comparison-overlap]
