"""An endpoint that sends too much or too slowly: an error of ours, in bounded memory and time."""

import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from cmc_mcp.embed import HttpEmbedder
from cmc_mcp.embed.bounded import Bounded
from cmc_mcp.errors import EmbedderError

TIMEOUT_S = 0.5
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD = b'{"data": [{"index": 0, "embedding": [3, 4]}]}'


@contextmanager
def endpoint(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that takes a request's head and then does as it likes."""
    listening, stop = socket.create_server(("127.0.0.1", 0)), threading.Event()
    listening.settimeout(0.1)

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(10)
                connection.recv(1 << 16)
                with suppress(OSError):
                    answer(connection, stop)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        stop.set()
        thread.join(10)
        listening.close()


def drip(connection: socket.socket, data: bytes, stop: threading.Event) -> None:
    for byte in data:
        connection.sendall(bytes([byte]))
        if stop.wait(TIMEOUT_S / 10):
            return


def slow_head(connection: socket.socket, stop: threading.Event) -> None:
    drip(connection, HEAD + b"X: " + b"x" * 10_000, stop)


def slow_body(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(HEAD + b"Content-Length: 10000\r\n\r\n")
    drip(connection, b" " * 10_000, stop)


def slow_body_without_length(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(HEAD + b"Connection: close\r\n\r\n")
    drip(connection, GOOD[:-1] + b" " * 10_000, stop)


@pytest.mark.parametrize("answer", [slow_head, slow_body, slow_body_without_length])
def test_an_answer_that_drips_in_ends_at_the_deadline(answer: Callable[[socket.socket, threading.Event], None]) -> None:
    with endpoint(answer) as url:
        embedder = HttpEmbedder(url, "m", dimension=2, timeout_s=TIMEOUT_S)
        began = time.monotonic()
        with pytest.raises(EmbedderError, match="no whole answer in time"):
            embedder.embed(["x"])
        assert time.monotonic() - began < TIMEOUT_S * 8
        embedder.close()


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        ("gzip", gzip.compress(bytes(256 << 20), 1), "an answer of more than"),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(64 << 20))), "encoded as 'gzip, gzip'"),
        ("br", b"x", "encoded as 'br'"),
        ("gzip", b"not gzip at all", "not encoded as it says"),
        ("gzip", gzip.compress(GOOD)[:-9], "not encoded as it says"),
        ("deflate", b"\xff" * 100, "not encoded as it says"),
    ],
    ids=["bomb", "twice", "unknown", "none", "cut", "no deflate"],
)
def test_an_answer_is_decoded_within_its_bound(encoding: str, body: bytes, said: str) -> None:
    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(
            HEAD + f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )

    with endpoint(answer) as url:
        embedder = HttpEmbedder(url, "m", dimension=2, timeout_s=5)
        tracemalloc.start()
        try:
            with pytest.raises(EmbedderError, match=said):
                embedder.embed(["x"])
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
        embedder.close()


@pytest.mark.parametrize("encoding", ["identity", "gzip", "GZIP "])
def test_an_honest_answer_is_read_however_it_comes(encoding: str) -> None:
    data = GOOD if encoding == "identity" else gzip.compress(GOOD)

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(
            HEAD + f"Content-Encoding: {encoding}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
        )

    with endpoint(answer) as url:
        embedder = HttpEmbedder(url, "m", dimension=2, timeout_s=5)
        assert embedder.embed(["x"]).shape == (1, 2)
        embedder.close()


def test_a_body_in_pieces_is_the_same() -> None:
    packed = gzip.compress(GOOD)
    body = Bounded("gzip", 1_000)
    assert not any(body.add(packed[place : place + 1]) for place in range(len(packed)))
    assert (bytes(body.data), body.unfinished) == (GOOD, "")
