"""The examples in the scripts that make the documentation are true."""

from __future__ import annotations

import doctest
import importlib.util
from types import ModuleType

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def module(name: str) -> ModuleType:
    """Load a script without running it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("name", ["wording", "docstrings", "documentation"])
def test_the_examples_of_a_script_are_true(name: str) -> None:
    failed, tried = doctest.testmod(module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried and not failed


def test_the_raises_section_of_today_and_of_tomorrow_are_both_left_as_they_are() -> None:
    marked = module("docstrings").marked
    for text in (
        "Do it.\n\nRaises:\n    NotFound, Ambiguous: the id; Conflict: it was used.",
        "Do it.\n\nRaises:\n    NotFound: Nothing has the id.\n    Conflict: It was used.",
    ):
        assert marked(text) == text
