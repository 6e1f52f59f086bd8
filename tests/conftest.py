"""What holds for every test: a slow machine is no failure of a property, and the same code gives the same answer.

`--hypothesis-profile explore` draws other examples each time, as the soak runs do (`python -m tests.soak`).
"""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("cmc", _COMMON, derandomize=True)
settings.register_profile("explore", _COMMON)
settings.load_profile("cmc")

if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # as a shell's background jobs have it; processes that tests start inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
