"""The frameworks' suites with every store in a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.test_suites import NEEDS, passes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("framework", sorted(NEEDS))
def test_the_suites_of_a_framework_pass_on_postgresql(tmp_path: Path, framework: str) -> None:
    passes(tmp_path, framework, f"{framework}_*.py", "-p", "tests.pg.plugin", "--backend", "postgres")
