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
COMMON = ("pytest>=8", "pytest-asyncio>=0.24", "pytest-socket>=0.7", "hypothesis>=6.130")
NEEDS = {
    "langchain": ("langchain-tests>=1.0,<2",),
    "langgraph": ("langgraph>=1,<2",),
    "llamaindex": ("langchain-core>=1.0,<2",),  # each reads what the other wrote
}
LOWEST = {
    "langchain": ("langchain-core==1.0.0",),
    "langgraph": ("langgraph-checkpoint==4.3.0",),
    "llamaindex": ("llama-index-core==0.14.0",),
}
"""The lowest version that each extra allows; what is installed otherwise is the newest."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("pins", ["lowest", "newest"])
@pytest.mark.parametrize("framework", sorted(NEEDS))
def test_the_suites_of_a_framework_pass_offline(tmp_path, framework, pins):
    if pins == "newest":
        passes(tmp_path, framework, f"{framework}_*.py")
    else:  # what was reported alone: older versions check less by themselves, and warn of what is newer than they are
        passes(tmp_path, framework, f"{framework}_reports.py", "-W", "ignore", pins=pins)


def test_the_lowest_versions_are_those_of_the_extras():
    extras = (ROOT / "pyproject.toml").read_text()
    for framework, (lowest,) in LOWEST.items():
        name, _, version = lowest.partition("==")
        allowed = extras.partition(f'\n{framework} = ["{name}>=')[2].partition(",")[0]
        assert allowed and version.startswith(f"{allowed}.")


def passes(folder: Path, framework: str, files: str, *options: str, pins: str = "newest") -> None:
    """Run suites in the framework's own environment."""
    lowest = LOWEST[framework] if pins == "lowest" else ()
    installed = ("-e", f"{ROOT}[{framework},postgres]", *COMMON, *NEEDS[framework], *lowest)
    python = external.python_with(f"suites-{framework}{'-lowest' if lowest else ''}", *installed)
    found = sorted(str(path) for path in (HERE / "suites").glob(files))
    assert found
    ini = str(HERE / "suites" / "pytest.ini")
    command = [python, "-m", "pytest", "-q", "-c", ini, f"--basetemp={folder / 't'}", *options, *found]
    result = external.run(command, folder, timeout_s=600)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
