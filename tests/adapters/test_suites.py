"""The tests of the adapters, each framework in a virtual environment of its own, offline.

`suites/` holds them, under names that the tests of the package do not collect. By hand, in a venv that has a framework:
`pytest -c tests/adapters/suites/pytest.ini tests/adapters/suites/langchain_*.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server import external

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMON = ("pytest>=9", "pytest-asyncio>=0.24", "pytest-socket>=0.7", "hypothesis>=6.130")
NEEDS = {
    "langchain": ("langchain-tests>=1.0,<2",),
    "langgraph": ("langgraph>=1,<2",),
    "llamaindex": ("langchain-core>=1.0,<2",),  # each reads what the other wrote
}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("framework", sorted(NEEDS))
def test_the_suites_of_a_framework_pass_offline(tmp_path, framework):
    installed = ("-e", f"{ROOT}[{framework}]", *COMMON, *NEEDS[framework])
    python = external.python_with(f"adapter-{framework}", *installed)
    files = sorted(str(path) for path in (HERE / "suites").glob(f"{framework}_*.py"))
    assert files
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-c",
        str(HERE / "suites" / "pytest.ini"),
        f"--basetemp={tmp_path / 't'}",
        *files,
    ]
    result = external.run(command, tmp_path, timeout_s=600)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
