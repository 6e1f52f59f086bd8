"""The state machine is itself checked: it must find each of these bugs in a short run."""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test

from cmc_mcp.errors import CmcError
from tests.kernel.machine import HUNT, KernelMachine
from tests.kernel.seeded import BUGS, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_machine_finds(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    with pytest.raises((AssertionError, CmcError)):
        run_state_machine_as_test(KernelMachine, settings=HUNT)
