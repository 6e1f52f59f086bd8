"""What an endpoint may send: its answer is decoded within a bound, and a request ends when its time is up."""

from __future__ import annotations

import socket
import threading
import zlib
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

_GZIP: Final = zlib.MAX_WBITS | 32  # gzip or zlib, whichever its head says


class _Stream(Protocol):
    def get_extra_info(self, info: str) -> object: ...


class Bounded:
    """The body of an answer, decoded piece by piece; no more of it is made than its bound."""

    def __init__(self, encoding: str, limit: int) -> None:
        self.data = bytearray()
        self._limit, self._encoding = limit, encoding.strip().lower() or "identity"
        known = self._encoding in ("identity", "gzip", "x-gzip", "deflate")
        self._inflate = zlib.decompressobj(_GZIP) if known and self._encoding != "identity" else None
        self._fault = "" if known else f"an answer encoded as {self._encoding[:40]!r}"

    def add(self, part: bytes) -> str:
        """Take a piece; return what is wrong with the answer, or an empty text."""
        if self._fault:
            return self._fault
        room = self._limit + 1 - len(self.data)
        if self._inflate is None:
            self.data += part[:room]
        else:
            try:
                self.data += self._inflate.decompress(part, room)
            except zlib.error:
                return "an answer that is not encoded as it says"
        return f"an answer of more than {self._limit:,} bytes" if len(self.data) > self._limit else ""

    @property
    def unfinished(self) -> str:
        """What is wrong with an answer that ends here, or an empty text."""
        if self._fault:
            return self._fault
        cut = self._inflate is not None and len(self.data) > 0 and not self._inflate.eof
        return "an answer that is not encoded as it says" if cut else ""


class Watch:
    """Ends a request after a number of seconds, wherever it is: no time-out of a single read bounds all of them."""

    def __init__(self, seconds: float, streams: list[_Stream]) -> None:
        self.rang = False
        self._streams = streams
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Note the connections that are opened, as the client tells."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._streams.append(cast("_Stream", info["return_value"]))
            del self._streams[:-8]

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        self.rang = True
        for stream in list(self._streams):
            with suppress(Exception):
                found = stream.get_extra_info("socket")
                if isinstance(found, socket.socket):
                    found.shutdown(socket.SHUT_RDWR)
