"""Every example in a docstring is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import cmc_mcp

_RUNS_AT_IMPORT = ("__main__",)
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(cmc_mcp.__path__, "cmc_mcp.")
    if module.name.rpartition(".")[2] not in _RUNS_AT_IMPORT
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
