"""Followers of the ledger: indexes in memory that a read brings up to its own transaction, once for every reader."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from cmc_mcp.errors import Busy
from cmc_mcp.ids import START, ModelNumber, Seq, Ws

_BROKEN: Final = -1  # the erasure count of an index that is not to be used


class Follower:
    """An index of one workspace under one model. Thread-safe. An erasure begins a new erasure count, and so a new index."""

    def __init__(self, ws: Ws, model: ModelNumber, erasure_count: int) -> None:
        self.ws, self.model, self.erasure_count = ws, model, erasure_count
        self.seq = START
        self._lock = threading.Lock()

    def _follow(self, seq: Seq, load: Callable[[], None]) -> None:
        """Call `load` under the lock unless the index has reached transaction `seq` already.

        Raises:
            Busy: an earlier load was interrupted; the next read makes a new index.
        """
        if self.seq >= seq:
            return
        with self._lock:
            if self.seq >= seq:
                return
            if self.erasure_count == _BROKEN:
                raise Busy("loading what is searched was interrupted; ask again")
            try:
                load()
                self.seq = seq
            except BaseException:  # half of a step was loaded: the next read begins a new index
                self.erasure_count = _BROKEN
                raise
