from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cmc_mcp

ROOT = Path(__file__).resolve().parents[1]


def imported_by(statement: str) -> set[str]:
    """The top names in sys.modules after a statement, in a process of its own."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_public_names_are_the_ones_that_are_declared() -> None:
    assert sorted(cmc_mcp.__all__) == list(cmc_mcp.__all__)
    assert {*cmc_mcp._HOMES, "__version__"} == set(cmc_mcp.__all__)
    public = {name for name in vars(cmc_mcp) if not name.startswith("_")}
    assert public - {"annotations", "import_module", "TYPE_CHECKING"} <= set(cmc_mcp.__all__) | _submodules()


def _submodules() -> set[str]:
    return {path.stem for path in (ROOT / "cmc_mcp").iterdir()}


@pytest.mark.parametrize("name", cmc_mcp.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(cmc_mcp, name)
    assert value is getattr(cmc_mcp, name)
    if isinstance(value, type):
        assert value.__doc__, name
        assert value.__module__ == f"cmc_mcp.{cmc_mcp._HOMES[name]}"


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = cmc_mcp.no_such_name


def test_importing_the_package_imports_no_protocol_no_framework_and_no_driver() -> None:
    heavy = {"mcp", "langchain_core", "llama_index", "langgraph", "numpy", "onnxruntime", "apsw", "pydantic", "httpx"}
    assert set() == heavy & imported_by("import cmc_mcp")


def test_importing_the_memory_imports_no_protocol_and_no_model() -> None:
    heavy = {"mcp", "langchain_core", "llama_index", "langgraph", "numpy", "onnxruntime", "tokenizers", "httpx"}
    assert set() == heavy & imported_by("import cmc_mcp.memory")
