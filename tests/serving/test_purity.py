"""Purity of stdio: seven hundred and fifty calls here; `python -m tests.soak purity` makes ten thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.purity import LEAK, NOISE, script, talk
from tests.serving.wire import LEGACY, MODERN


@pytest.mark.slow
@pytest.mark.parametrize(("era", "count"), [(LEGACY, 250), (MODERN, 500)])
def test_every_byte_of_stdout_is_a_message_and_every_call_is_answered_once(
    era: str, count: int, tmp_path: Path
) -> None:
    told = talk(script(embedder="None"), tmp_path, count, 1, era)
    assert (told.failures, told.done) == ([], count)
    assert len(told.kinds) >= 17, told.kinds
    assert told.longest > 60_000, "no long answer"


def test_what_a_dependency_prints_never_reaches_the_wire(tmp_path: Path) -> None:
    told = talk(script(NOISE), tmp_path, 40, 2, MODERN)
    stray = [line for line in told.failures if not line.startswith("stderr: ")]
    assert (stray, told.done) == ([], 40)
    assert any("stray" in line for line in told.failures), "the noise was not made"


def test_a_stray_line_on_the_wire_is_seen(tmp_path: Path) -> None:
    told = talk(script(LEAK), tmp_path, 40, 2, MODERN)
    assert any(line.startswith("b'stray'") for line in told.failures)
