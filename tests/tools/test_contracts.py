"""The published contracts are what the code makes."""

from __future__ import annotations

import runpy
from importlib import resources
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "write_contracts.py"
CONTRACTS = runpy.run_path(str(SCRIPT))["contracts"]()


def test_there_is_one_contract_for_each_tool_and_no_other():
    folder = resources.files("cmc_mcp.contracts.v1")
    assert {entry.name for entry in folder.iterdir() if entry.name.endswith(".json")} == set(CONTRACTS)


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_a_contract_is_what_the_code_makes(name):
    written = resources.files("cmc_mcp.contracts.v1").joinpath(name).read_text(encoding="utf-8")
    assert written == CONTRACTS[name], "run scripts/write_contracts.py, and look at what changed: it may only add"
