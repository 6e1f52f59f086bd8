"""Fixtures for every test; `tests/conftest.py` hands them out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_mcp.memory import Memory
from tests.support.memories import opened


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """An empty memory in a folder of its own, without a model, on a clock that steps."""
    with opened(tmp_path) as found:
        yield found
