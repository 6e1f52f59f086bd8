"""The command line: `cmc`, and `cmc-mcp`, which is `cmc serve`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run `cmc` with the process's arguments, and exit with its code."""
    _exit(sys.argv[1:])


def serve_main() -> None:
    """Run `cmc serve` with the process's arguments, and exit with its code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it serves there is nothing to end in good order
    _exit(["serve", *sys.argv[1:]])


def _exit(arguments: list[str]) -> None:
    try:
        from cmc_mcp.cli.app import run

        code = run(arguments)
    except KeyboardInterrupt:  # before the first line of ours could catch it
        code = 130
    if code == 130:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already; a second Ctrl-C has nothing to add
    sys.exit(code)
