"""What holds for every test: a slow machine is no failure of a property, and the same code gives the same answer.

`--hypothesis-profile explore` draws other examples each time, as the soak runs do (`python -m tests.soak`).
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("cmc", _COMMON, derandomize=True)
settings.register_profile("explore", _COMMON)
settings.load_profile("cmc")
