"""The official conformance suite: our application with the suite's fixtures scores no failure, nor does what we ship.

What this measures is transport and protocol, not memory.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import external

PACKAGE = "@modelcontextprotocol/conformance@0.1.13"  # the last one for node 20
ENTRY = "@modelcontextprotocol/conformance/dist/index.js"
FIXTURES = Path(__file__).with_name("fixtures.py")
ROOT = FIXTURES.parents[3]
# What needs nothing of the server but to be one.
FIXTURE_FREE = [
    "server-initialize",
    "ping",
    "completion-complete",
    "tools-list",
    "resources-list",
    "prompts-list",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
]

pytestmark = pytest.mark.slow


def test_our_application_with_the_fixtures_scores_no_failure(tmp_path):
    suite = external.npm(PACKAGE, ENTRY)
    with subprocess.Popen(
        [sys.executable, str(FIXTURES), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    ) as server:
        try:
            url = server.stdout.readline().strip()
            result = external.run([*suite, "server", "--url", url], tmp_path)
        finally:
            server.stdin.close()
            server.wait(10)
    summary = result.stdout.partition("=== SUMMARY ===")[2]
    assert result.returncode == 0, summary
    total = re.search(r"Total: (\d+) passed, 0 failed", summary)
    assert total, summary
    assert int(total[1]) >= 40


def test_the_shipped_server_passes_the_scenarios_that_need_no_fixtures(tmp_path):
    suite = external.npm(PACKAGE, ENTRY)
    with external.shipped_over_http(tmp_path) as url:
        for scenario in FIXTURE_FREE:
            result = external.run([*suite, "server", "--url", url, "--scenario", scenario], tmp_path)
            assert result.returncode == 0, result.stdout
            assert re.search(r"[1-9]\d*/\d+ passed|[1-9]\d* passed, 0 failed|Passed: [1-9]", result.stdout), (
                result.stdout
            )
