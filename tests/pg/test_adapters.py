"""A framework's own suite with every store in a database: LangChain's, the shortest. By hand, in a venv that has the others:

`pytest -p tests.pg.plugin --backend postgres -c tests/adapters/suites/pytest.ini tests/adapters/suites/langgraph_*.py`, where
all but one pass, whose second process opens a file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.test_suites import passes

pytestmark = pytest.mark.slow


def test_the_suite_of_langchain_passes_on_postgresql(tmp_path: Path) -> None:
    passes(tmp_path, "langchain", "langchain_conformance.py", "-p", "tests.pg.plugin", "--backend", "postgres")
