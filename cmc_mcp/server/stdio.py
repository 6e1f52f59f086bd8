"""stdio: one message a line, measured before it is read; stray prints of this process miss the wire."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, TextIO, cast

import anyio
import anyio.to_thread
from mcp.server.stdio import stdio_server

from cmc_mcp.limits import HTTP_BODY_BYTES_MAX
from cmc_mcp.server.intake import Intake

_PIECE_BYTES: Final = 1 << 16


class _Lines:
    """The lines of a descriptor; of a longer one than a message may be, its beginning."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = bytearray()

    def next(self) -> bytearray:
        """Return the next line; an empty one is the end."""
        seen = 0
        while (end := self._pending.find(b"\n", seen)) < 0:
            seen = len(self._pending)
            piece = os.read(self._descriptor, _PIECE_BYTES)
            if not piece:
                end = seen - 1
                break
            if seen > HTTP_BODY_BYTES_MAX:  # the rest is not kept, but its end is
                piece = piece[piece.find(b"\n") :] if b"\n" in piece else b""
            self._pending += piece
        line, self._pending = self._pending, self._pending[end + 1 :]
        del line[end + 1 :]
        return line


class _Stdin:
    """What the protocol's library reads: the lines that are admitted. The others are answered here."""

    def __init__(self, descriptor: int, stdout: _Stdout, intake: Intake) -> None:
        self._lines, self._stdout, self._intake = _Lines(descriptor), stdout, intake

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while line := await anyio.to_thread.run_sync(self._lines.next):
            reply = await self._intake.refusal(line)
            if reply is None:
                return line.decode("utf-8", "replace")
            await self._stdout.write(json.dumps(reply, ensure_ascii=False) + "\n")
        raise StopAsyncIteration


class _Stdout:
    """Where answers go, each whole."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._one = descriptor, anyio.Lock()

    async def write(self, text: str) -> None:
        """Write an answer."""
        async with self._one:
            await anyio.to_thread.run_sync(self._write, text.encode("utf-8", "backslashreplace"))

    async def flush(self) -> None:
        """Do nothing: every answer is written at once."""

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]


@asynccontextmanager
async def measured_stdio(intake: Intake) -> AsyncIterator[tuple[Any, Any]]:
    """Serve over stdin and stdout: give the streams of messages that the protocol's library wants."""
    if not (_is(sys.stdin, 0) and _is(sys.stdout, 1)):  # whoever replaced the streams reads and writes them
        async with stdio_server() as streams:
            yield streams
        return
    with _diverted() as (read, written):
        stdout = _Stdout(written)
        stdin = _Stdin(read, stdout, intake)
        given = cast("anyio.AsyncFile[str]", stdin), cast("anyio.AsyncFile[str]", stdout)
        async with stdio_server(*given) as streams:
            yield streams


def _is(stream: TextIO | None, descriptor: int) -> bool:
    try:
        return stream is not None and stream.fileno() == descriptor
    except (AttributeError, OSError, ValueError):
        return False


@contextmanager
def _diverted() -> Iterator[tuple[int, int]]:
    """Give descriptors of stdin and stdout of our own; the standard ones read nothing and write to stderr meanwhile."""
    read, written = (fcntl.fcntl(standard, fcntl.F_DUPFD_CLOEXEC, 3) for standard in (0, 1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with suppress(OSError):
        os.dup2(2, 1)
    try:
        yield read, written
    finally:  # ours stay open: a thread may still wait on them
        os.dup2(read, 0)
        os.dup2(written, 1)
