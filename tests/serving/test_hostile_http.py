"""HTTP with slow, broken and hostile clients: each gets an end or an error, and others do not notice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_mcp.limits import HTTP_BODY_BYTES_MAX
from cmc_mcp.server.admission import Bounds, Gate, _descriptors_for
from cmc_mcp.server.principals import Principal
from cmc_mcp.server.session import Caller
from tests.serving import crowd
from tests.serving.http_rig import Place, Running, call, closed, connect, exchange, result, running
from tests.serving.wire import event, http_request, lock_held, read_answer, tool

PATIENCE_S = 0.4
BOUNDS = Bounds(patience_s=PATIENCE_S, bodies_bytes=6 << 20)
ALICE = Principal("alice-" + "a" * 20, Caller("alice", "acme"))
BOB = Principal("bob-" + "b" * 20, Caller("bob", "globex"))
CAROL = Principal("carol-" + "c" * 20, Caller("carol", "acme", read_only=True))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Running]]:
    with running(tmp_path_factory.mktemp("open"), BOUNDS) as found:
        assert exchange(found[0], call("remember", {"content": "Herons stand in shallow water"}))[0] == 200
        yield found


@pytest.fixture
def place(served: tuple[Place, Running]) -> Iterator[Place]:
    """The server, which answers somebody in good order after each of these tests, and holds nothing any more."""
    place, server = served
    yield place
    status, body = exchange(place, call("recall", {"query": "herons"}))
    assert status == 200 and result(body)["items"]
    end = time.monotonic() + 20
    while server.server_state.connections or server.server_state.tasks:
        assert time.monotonic() < end, "a connection or a request is still there"
        time.sleep(0.01)
    assert server._gate.held_bytes == 0


def drip(connection: socket.socket, data: bytes) -> None:
    """Send one byte at a time until the other side has had enough."""
    for byte in data:
        try:
            connection.send(bytes([byte]))
        except (BrokenPipeError, ConnectionResetError):
            return
        time.sleep(PATIENCE_S / 100)
    raise AssertionError("every byte was taken")


# ---------------------------------------------------------------------- slow
def test_a_connection_that_says_nothing_is_closed(place: Place) -> None:
    with connect(place) as connection:
        assert closed(connection) == b""


def test_a_head_that_drips_in_is_cut_off(place: Place) -> None:
    with connect(place) as connection:
        drip(connection, b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 1000)


def test_a_second_head_that_drips_in_is_cut_off_too(place: Place) -> None:
    with connect(place) as connection:
        connection.sendall(call("recall", {"query": "herons"}))
        assert read_answer(connection)[0] == 200
        drip(connection, b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 1000)


def test_a_body_that_drips_in_is_answered_with_408(place: Place) -> None:
    whole = call("remember", {"content": "x" * 2000})
    head, _, body = whole.partition(b"\r\n\r\n")
    with connect(place) as connection:
        connection.sendall(head + b"\r\n\r\n")
        drip(connection, body)
        assert b" 408 " in closed(connection)


def test_an_answer_that_nobody_takes_is_dropped(place: Place) -> None:
    texts = "\n\n".join(f"Heron {m}. " + "It stands still. " * 400 for m in range(20))
    assert exchange(place, call("remember", {"content": texts, "source": "long"}))[0] == 200
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(place)
        connection.settimeout(20)
        connection.sendall(call("recall", {"query": "heron", "budget_tokens": 50_000, "limit": 20}))
        said = connection.recv(100)
        time.sleep(PATIENCE_S * 4)
        said += closed(connection)
    head, _, body = said.partition(b"\r\n\r\n")
    assert len(body) < int(head.lower().partition(b"content-length:")[2].split()[0])


def test_an_idle_connection_that_was_used_is_closed(place: Place) -> None:
    with connect(place) as connection:
        connection.sendall(call("recall", {"query": "herons"}))
        assert read_answer(connection)[0] == 200
        assert closed(connection) == b""  # after uvicorn's five seconds


def test_without_the_gate_a_dripping_body_is_taken(tmp_path: Path) -> None:
    with running(tmp_path, Bounds(patience_s=60)) as (place, _):
        whole = call("remember", {"content": "x" * 60})
        head, _, body = whole.partition(b"\r\n\r\n")
        with connect(place) as connection:
            connection.sendall(head + b"\r\n\r\n")
            with pytest.raises(AssertionError, match="every byte was taken"):
                drip(connection, body)
            assert read_answer(connection)[0] == 200


# ---------------------------------------------------------------------- broken
def test_clients_that_vanish_in_the_middle_leave_no_half_write(place: Place) -> None:
    rng = random.Random(7)
    whole = call("remember", {"content": "Only half of this was ever sent", "source": "vanished"})
    for _ in range(40):
        with connect(place) as connection:
            connection.sendall(whole[: rng.randrange(1, len(whole))])
            if rng.random() < 0.5:  # a reset instead of an end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    _, body = exchange(place, call("history", {"source": "vanished"}))
    assert event(body)["result"]["isError"]


def test_a_client_that_half_closes_still_gets_its_answer(place: Place) -> None:
    with connect(place) as connection:
        connection.sendall(call("recall", {"query": "herons"}))
        connection.shutdown(socket.SHUT_WR)
        status, _, _ = read_answer(connection)
    assert status in (0, 200)  # uvicorn takes an end for a going away; what counts is that nothing hangs


def test_clients_that_leave_before_their_answer_do_no_harm(place: Place) -> None:
    for number in range(20):
        with connect(place) as connection:
            connection.sendall(call("recall", {"query": f"herons {number}"}))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a plain port
        b"GET\r\n\r\n",
        b"POST /mcp HTTP/9.9\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (1 << 17),
        b"POST /mcp HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ],
    ids=["tls", "word", "version", "negative", "two lengths", "chunks", "large head", "two hosts"],
)
def test_garbage_is_refused(place: Place, data: bytes) -> None:
    status, _ = exchange(place, data)
    assert status in {0, 400, 408, 413, 421, 431}


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (http_request(b"this is no JSON"), {400}),
        (http_request(b"\xff\xfe\x00"), {400}),
        (http_request(b"[" * 100_000), {400}),
        (http_request(b"{}"), {400}),
        (http_request(b"hello", Content_Type="text/plain"), {400, 415}),
        (http_request(b"", method="PUT"), {405}),
        (http_request(b"", path="/elsewhere"), {404}),
        (http_request({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, Mcp_Session_Id="made-up"), {404}),
    ],
    ids=["words", "bytes", "deep", "empty", "text", "put", "path", "session"],
)
def test_what_is_no_request_of_ours_is_refused_with_its_status(place: Place, data: bytes, statuses: set[int]) -> None:
    status, _ = exchange(place, data)
    assert status in statuses


def test_two_requests_in_one_write_are_answered_in_order(place: Place) -> None:
    with connect(place) as connection:
        connection.sendall(call("recall", {"query": "herons"}, id=1) + call("recall", {"query": "herons"}, id=2))
        stream = [read_answer_from(connection) for _ in range(2)]
    assert [event(body)["id"] for body in stream] == [1, 2]


def read_answer_from(connection: socket.socket) -> bytes:
    """One answer, leaving what follows it on the connection."""
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += connection.recv(1)
        if b"content-length" in data.lower() and b"\r\n\r\n" in data:
            head, _, body = data.partition(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length:")[2].split()[0])
            while len(body) < size:
                body += connection.recv(size - len(body))
            return body
    return b"\n".join(line for line in data.partition(b"\r\n\r\n")[2].split(b"\r\n"))


# ---------------------------------------------------------------------- large and many
def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_past_the_bound_takes_no_memory(place: Place, chunked: bool) -> None:
    before = _resident()
    length = (
        {"Content_Length": "", "Transfer_Encoding": "chunked"}
        if chunked
        else {"Content_Length": str(HTTP_BODY_BYTES_MAX * 4)}
    )
    with connect(place) as connection:
        connection.sendall(http_request(None, **length))
        part = b" " * (1 << 20)
        try:
            for _ in range(HTTP_BODY_BYTES_MAX * 4 >> 20):
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        said = closed(connection)
    assert b" 413 " in said or b" 503 " in said or not said
    assert _resident() - before < 96 << 20


def test_bodies_are_bounded_in_sum_with_a_clear_answer(place: Place) -> None:
    head = http_request(None, Content_Length=str(5 << 20))
    with connect(place) as one, connect(place) as two:
        one.sendall(head + b" " * (4 << 20))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            two.sendall(head + b" " * (4 << 20))
        answers = closed(one) + closed(two)
    assert b"too many large requests" in answers or b" 408 " in answers


def test_past_the_bound_of_connections_the_answer_is_503(tmp_path: Path) -> None:
    with running(tmp_path, Bounds(connections=4)) as (place, server):
        with connect(place), connect(place), connect(place), connect(place):
            status, body = exchange(place, call("recall", {"query": "x"}))
            assert (status, body) == (503, b"Service Unavailable")
        end = time.monotonic() + 20
        while server.server_state.connections:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert exchange(place, call("recall", {"query": "x"}))[0] == 200


def test_the_bound_of_connections_keeps_within_the_files_that_may_be_open() -> None:
    assert _descriptors_for(64) == 64
    assert 16 <= _descriptors_for(1 << 30) < 1 << 30


@pytest.mark.slow
def test_a_thousand_connections_at_once_are_all_answered(tmp_path: Path) -> None:
    told = crowd.crowd(tmp_path, connections=1000, seed=1, command=crowd.WITHOUT_MODEL)
    assert (told.failures, told.done) == ([], 1000)
    assert told.slowest_s < 60  # 30 on a machine of one's own


# ---------------------------------------------------------------------- who may come in
@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running(tmp_path_factory.mktemp("guarded"), Bounds(), [ALICE, BOB, CAROL]) as (place, _):
        assert (
            exchange(place, call("remember", {"content": "Acme sells kettles"}, Authorization=f"Bearer {ALICE.token}"))[
                0
            ]
            == 200
        )
        yield place


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong-wrong-wrong-wrong"}, 401),
        ({"Authorization": f"Bearer {ALICE.token[:-1]}"}, 401),
        ({"Authorization": f"Bearer {ALICE.token}x"}, 401),
        ({"Authorization": f"Basic {ALICE.token}"}, 401),
        ({"Authorization": ALICE.token}, 401),
        ({"Authorization": "Bearer " + "é" * 20}, 401),
        ({"Cookie": f"token={ALICE.token}"}, 401),
        ({"Authorization": f"Bearer {ALICE.token}", "Host": "evil.example"}, 421),
        ({"Authorization": f"Bearer {ALICE.token}", "Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Authorization": f"Bearer {ALICE.token}", "Host": ""}, 400),
        ({"Authorization": f"Bearer {ALICE.token}", "Origin": "https://evil.example"}, 403),
        ({"Authorization": f"Bearer {ALICE.token}", "Origin": "null"}, 403),
        ({"Authorization": f"Bearer {ALICE.token}", "Origin": "http://localhost.evil.example:80"}, 403),
        ({"Authorization": f"Bearer {ALICE.token}", "Origin": "http://localhost:3000"}, 200),
    ],
)
def test_hosts_origins_and_tokens_are_checked_before_anything_is_done(
    guarded: Place, headers: dict[str, str], status: int
) -> None:
    found, body = exchange(guarded, call("recall", {"query": "kettles"}, **headers))
    assert found == status
    assert status == 200 or b"Acme" not in body


def test_a_token_in_the_address_opens_nothing(guarded: Place) -> None:
    body = tool(1, "recall", {"query": "kettles"})
    for path in (
        f"/mcp?token={ALICE.token}",
        f"/mcp?access_token={ALICE.token}",
        f"/mcp?authorization=Bearer%20{ALICE.token}",
    ):
        assert exchange(guarded, http_request(body, path=path))[0] == 401


def test_a_token_of_another_workspace_sees_nothing_and_one_that_reads_writes_nothing(guarded: Place) -> None:
    _, body = exchange(guarded, call("recall", {"query": "kettles"}, Authorization=f"Bearer {BOB.token}"))
    assert result(body)["items"] == []
    _, body = exchange(guarded, call("remember", {"content": "x"}, Authorization=f"Bearer {CAROL.token}"))
    assert event(body)["result"]["isError"] and b"access_denied" in body
    _, body = exchange(guarded, call("recall", {"query": "kettles"}, Authorization=f"Bearer {CAROL.token}"))
    assert result(body)["items"]


# ---------------------------------------------------------------------- the end
def test_a_stop_answers_what_it_cannot_finish_and_finishes_what_it_can(tmp_path: Path) -> None:
    with running(tmp_path, Bounds()) as (place, server):
        assert exchange(place, call("recall", {"query": "x"}))[0] == 200
        with lock_held(tmp_path / "memory.db"), connect(place) as waits:
            waits.sendall(call("remember", {"content": "waits for the lock"}))
            end = time.monotonic() + 20
            while not server.server_state.tasks:
                assert time.monotonic() < end
                time.sleep(0.005)
            server.handle_exit(15, None)
            status, _, body = read_answer(waits)
            assert status == 503, body
            assert "idempotency key" in json.loads(body)["error"]["message"]
        assert server.stopped.is_set()


def test_health_says_nothing_but_whether_it_is_well(tmp_path: Path) -> None:
    with running(tmp_path, Bounds()) as (place, _):
        health = http_request(None, method="GET", path="/healthz")
        assert exchange(place, health) == (200, b'{"status":"ok"}')
        store = tmp_path / "memory.db"
        for file in tmp_path.glob("memory.db*"):
            if file.is_file():
                file.unlink()
        store.write_bytes(b"no database" * 1000)
        status, body = exchange(place, health)
        assert (status, set(json.loads(body))) == (503, {"status", "code"}), body
        assert str(tmp_path).encode() not in body


def test_the_gate_passes_on_what_is_no_request() -> None:
    import anyio

    seen = []

    async def app(scope: object, receive: object, send: object) -> None:
        seen.append(scope)

    async def nothing(*_: object) -> dict[str, object]:
        return {}

    anyio.run(Gate(app, Bounds()), {"type": "lifespan"}, nothing, nothing)  # type: ignore[arg-type]
    assert seen == [{"type": "lifespan"}]


# ---------------------------------------------------------------------- without waiting
def test_no_answer_waits_for_a_delayed_acknowledgement(place: Place) -> None:
    took = []
    with connect(place) as connection:
        for _ in range(9):
            began = time.perf_counter()
            connection.sendall(call("history", {}))
            assert read_answer(connection)[0] == 200
            took.append(time.perf_counter() - began)
    assert min(took) < 0.03  # each of them took 40 ms and more
