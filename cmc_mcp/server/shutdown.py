"""Ending: within two seconds of a signal, or of the client's going away, whatever still runs."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_STOP_S: Final = 1.2  # a stop is done in two seconds; what has not committed by then never will
_HALF_CLOSED: Final = getattr(select, "POLLRDHUP", 0)  # some clients give us a socket, and close their half of it


def leave_in_time() -> None:
    """End the process soon, whatever still runs: an uncommitted transaction leaves no trace."""
    timer = threading.Timer(_STOP_S, leave)
    timer.daemon = True
    timer.start()


def leave() -> None:
    """End the process now. Do not wait for threads that cannot be interrupted."""
    with suppress(Exception):  # a handler of signals may have come in the middle of a write to it
        sys.stderr.flush()
    os._exit(0)


def when_client_leaves(close: Callable[[], None]) -> None:
    """Watch stdin and stdout from a thread. When stdin was closed, the process ends soon; when stdout was, after `close`.

    Nobody else would know in time: the protocol's loop waits for calls that still run, and for a next line of stdin.
    """
    try:
        stdin, stdout = os.dup(sys.stdin.fileno()), os.dup(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # no descriptors: whoever replaced the streams ends us otherwise
        return
    ends = select.poll()
    ends.register(stdin, _HALF_CLOSED)
    ends.register(stdout, 0)

    def watch() -> None:
        gone = {descriptor for descriptor, _ in ends.poll()}
        leave_in_time()
        if stdout not in gone:  # what was asked may still be answered
            ends.unregister(stdin)
            ends.poll()
        with suppress(Exception):
            close()
        leave()

    threading.Thread(target=watch, name="cmc-client", daemon=True).start()
