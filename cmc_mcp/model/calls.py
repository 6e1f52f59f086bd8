"""The callbacks of a long call: one is told the progress, one is asked whether to go on."""

from __future__ import annotations

from collections.abc import Callable

from cmc_mcp.errors import Cancelled

Progress = Callable[[int, int], None]
"""Is told how much is done, and of how much; a total of 0 is unknown."""
Cancel = Callable[[], bool]
"""Returns whether the caller gave up."""


def check_cancelled(cancel: Cancel | None) -> None:
    """Raise when the caller gave up; called just before a commit.

    Raises:
        Cancelled: nothing is changed.
    """
    if cancel is not None and cancel():
        raise Cancelled("the call was cancelled before its commit; nothing was changed")
