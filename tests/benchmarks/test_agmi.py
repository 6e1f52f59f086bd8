"""The adapter for the public suite agmi says so when the suite is not there, and passes with a head when it is."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks import agmi


@pytest.mark.skipif(importlib.util.find_spec("agmi") is not None, reason="the suite is installed")
def test_without_the_suite_it_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert agmi.main([]) == 2
    assert f"pip install {agmi.PACKAGE}=={agmi.VERSION}" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("agmi") is None, reason="the suite is not installed")
def test_with_a_head_every_attack_is_refused_on_the_read_path_and_by_the_audit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert agmi.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "T9" in line]
    assert [row.count("accepted") for row in rows[1:]] == [0, 0]
