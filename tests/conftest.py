"""What holds for every test: the same code gives the same answer, on the backend that was asked for.

`--backend postgres` keeps every store in a database (`pg/plugin.py`).
`--hypothesis-profile explore` draws other examples each time, as the soak runs do (`python -m tests.soak`).
"""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

from tests.pg.plugin import (
    databases,
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_unconfigure,
)
from tests.support.fixtures import memory

__all__ = [
    "databases",
    "memory",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_unconfigure",
]

_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("cmc", _COMMON, derandomize=True)
settings.register_profile("explore", _COMMON)
settings.load_profile("cmc")

# A shell's background jobs have it ignored, and what the tests start would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
