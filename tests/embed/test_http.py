"""The remote embedder, against a real server on this machine; only waiting is replaced."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import httpx
import numpy as np
import pytest

from cmc_mcp.embed import HttpEmbedder
from cmc_mcp.errors import DimensionMismatch, EmbedderError, InvalidInput

KEY = "sk-a-secret-that-must-not-leak"
VARIABLE = "CMC_TEST_EMBED_KEY"


class Reply(NamedTuple):
    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()


class Endpoint:
    """A server that answers from a script, and with length-based vectors of 3 numbers when the script is used up."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[dict[str, object]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(body)
                endpoint.keys.append(self.headers["Authorization"])
                endpoint.paths.append(self.path)
                reply = endpoint.script.pop(0) if endpoint.script else vectors(body["input"])
                data = reply.body.encode()
                self.send_response_only(reply.status)
                for name, value in (*reply.headers, ("Content-Length", str(len(data)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


def vectors(texts: list[str]) -> Reply:
    data = [{"index": n, "embedding": [float(len(text)), 1.0, 0.0]} for n, text in enumerate(texts)]
    return Reply(200, json.dumps({"object": "list", "data": data}))


def answer(*embeddings: object) -> Reply:
    return Reply(200, json.dumps({"data": [{"index": n, "embedding": e} for n, e in enumerate(embeddings)]}))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    served = Endpoint()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def embedder(endpoint: Endpoint, waits: list[float]) -> Iterator[HttpEmbedder]:
    made = HttpEmbedder(
        endpoint.url, "small", dimension=3, api_key_env=VARIABLE, batch_max=2, retries=3, sleep=waits.append
    )
    with contextlib.closing(made):
        yield made


def test_vectors_come_back_in_order_and_at_unit_length(endpoint: Endpoint, embedder: HttpEmbedder) -> None:
    texts = ["a", "bbb", "naïve", "dddddddd", "e" * 20]
    rows = embedder.embed(texts)
    lengths = np.array([len(text) for text in texts])
    assert rows.dtype == np.float32
    assert rows[:, 0] / rows[:, 1] == pytest.approx(lengths, rel=1e-5)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert endpoint.requests[0] == {"model": "small", "input": ["a", "bbb"]}
    assert set(endpoint.paths) == {"/v1/embeddings"}


def test_no_request_holds_more_texts_than_the_batch_limit(endpoint: Endpoint, embedder: HttpEmbedder) -> None:
    embedder.embed(["x"] * 5)
    assert [len(request["input"]) for request in endpoint.requests] == [2, 2, 1]


def test_no_texts_make_no_request(endpoint: Endpoint, embedder: HttpEmbedder) -> None:
    assert embedder.embed([]).shape == (0, 3)
    assert endpoint.requests == []


def test_answers_in_another_order_are_put_in_order_by_their_index(endpoint: Endpoint, embedder: HttpEmbedder) -> None:
    data = [{"index": 1, "embedding": [0, 1, 0]}, {"index": 0, "embedding": [1, 0, 0]}]
    endpoint.script = [Reply(200, json.dumps({"data": data}))]
    assert embedder.embed(["a", "b"]).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_answers_without_an_index_are_taken_in_order(endpoint: Endpoint, embedder: HttpEmbedder) -> None:
    endpoint.script = [Reply(200, '{"data": [{"embedding": [2, 0, 0]}, {"embedding": [0, 0, 5]}]}')]
    assert embedder.embed(["a", "b"]).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_the_key_is_read_at_each_request(
    endpoint: Endpoint, embedder: HttpEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder.embed(["x"])
    monkeypatch.setenv(VARIABLE, KEY)
    embedder.embed(["x"])
    assert endpoint.keys == [None, f"Bearer {KEY}"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500])
def test_the_key_is_in_no_error_no_log_and_no_repr(
    endpoint: Endpoint,
    embedder: HttpEmbedder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    endpoint.script = [Reply(status, json.dumps({"error": {"message": f"bad key {KEY} given"}}))] * 4
    with caplog.at_level(logging.DEBUG), pytest.raises(EmbedderError) as caught:
        embedder.embed(["x"])
    shown = " ".join([repr(embedder), str(caught.value), repr(caught.value), str(caught.value.as_dict()), caplog.text])
    assert endpoint.keys[0] == f"Bearer {KEY}"
    assert KEY not in shown
    assert caught.value.__context__ is None  # an httpx error would carry the request, and with it the key


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "check the model's name"),
        (401, f"refused the key .* set {VARIABLE}"),
        (403, f"set {VARIABLE}"),
        (404, "has the model 'small'"),
        (413, "lower batch_max"),
        (307, "set the address that it points to"),
    ],
)
def test_a_refusal_is_not_tried_again_and_says_what_to_do(
    endpoint: Endpoint, embedder: HttpEmbedder, waits: list[float], status: int, advice: str
) -> None:
    endpoint.script = [Reply(status, '{"error": {"message": "it will not do"}}')]
    with pytest.raises(EmbedderError, match=advice) as caught:
        embedder.embed(["x"])
    assert caught.value.fields["status"] == status
    assert len(endpoint.requests) == 1
    assert waits == []


@pytest.mark.parametrize(
    "body", ['{"error": {"message": "no\\nroom"}}', '{"error": "no room"}', '{"detail": "no room"}']
)
def test_what_the_endpoint_says_is_passed_on_in_one_line(endpoint: Endpoint, embedder: HttpEmbedder, body: str) -> None:
    endpoint.script = [Reply(400, body)]
    with pytest.raises(EmbedderError, match="HTTP 400: no room"):
        embedder.embed(["x"])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again_with_growing_waits(
    endpoint: Endpoint, embedder: HttpEmbedder, waits: list[float], status: int
) -> None:
    endpoint.script = [Reply(status, "")] * 3
    assert embedder.embed(["x"]).shape == (1, 3)
    assert waits == [0.5, 1.0, 2.0]


def test_after_the_last_attempt_the_failure_is_an_error(
    endpoint: Endpoint, embedder: HttpEmbedder, waits: list[float]
) -> None:
    endpoint.script = [Reply(503, "")] * 9
    with pytest.raises(EmbedderError, match="HTTP 503"):
        embedder.embed(["x"])
    assert len(endpoint.requests) == 4
    assert len(waits) == 3


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("Retry-After", "7")], 7.0),
        ([("Retry-After", "1.5")], 1.5),
        ([("Retry-After", "0")], 0.5),
        ([("Retry-After", "nan")], 0.5),
        ([("Retry-After", "-5")], 0.5),
        ([("Retry-After", "soon")], 0.5),
        ([("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT")], 0.5),  # nothing to measure it from
        ([("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"), ("Date", "Fri, 31 Dec 1999 23:59:50 GMT")], 9.0),
        ([("Retry-After", "Fri, 31 Dec 1999 23:59:40 GMT"), ("Date", "Fri, 31 Dec 1999 23:59:50 GMT")], 0.5),
    ],
)
def test_the_endpoint_is_given_the_time_that_it_asks_for(
    endpoint: Endpoint,
    embedder: HttpEmbedder,
    waits: list[float],
    headers: list[tuple[str, str]],
    expected: float,
) -> None:
    endpoint.script = [Reply(429, "", tuple(headers))]
    embedder.embed(["x"])
    assert waits == [expected]


def test_a_wait_that_is_too_long_is_an_error_that_names_it(
    endpoint: Endpoint, embedder: HttpEmbedder, waits: list[float]
) -> None:
    endpoint.script = [Reply(429, "", (("Retry-After", "3600"),))]
    with pytest.raises(EmbedderError, match="asks to wait 3600 s"):
        embedder.embed(["x"])
    assert waits == []


def test_an_endpoint_that_is_not_there_is_tried_again_and_then_an_error(waits: list[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused, and nobody else gets the port
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with contextlib.closing(HttpEmbedder(url, "m", dimension=3, retries=2, sleep=waits.append)) as embedder:
            with pytest.raises(EmbedderError, match=r"cannot be reached \(ConnectError, 3 attempts"):
                embedder.embed(["x"])
    assert waits == [0.5, 1.0]


def test_an_endpoint_that_stays_silent_runs_into_the_time_out(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        made = HttpEmbedder(url, "m", dimension=3, timeout_s=0.05, retries=1, sleep=waits.append)
        with contextlib.closing(made), pytest.raises(EmbedderError, match=r"ReadTimeout, 2 attempts, time-out 0\.05 s"):
            made.embed(["x"])
    assert waits == [0.5]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(200, "<html>"), "is not JSON"),
        (Reply(200, "[" * 100_000), "is not JSON|more than"),
        (Reply(200, "[]"), "no list of objects"),
        (Reply(200, '{"data": [3]}'), "no list of objects"),
        (answer([1, 0, 0], [1, 0, 0]), "has 2 vectors for 1 texts"),
        (Reply(200, '{"data": [{"index": 1, "embedding": [1, 0, 0]}]}'), "has the index 1"),
        (Reply(200, '{"data": [{"index": true, "embedding": [1, 0, 0]}]}'), "has the index True"),
        (Reply(200, '{"data": [{"index": 0}]}'), "no list of numbers"),
        (answer("AAAA"), "no list of numbers"),
        (answer([1, None, 0]), "no list of numbers"),
        (answer([1, "2", 0]), "no list of numbers"),
        (answer([1, float("nan"), 0]), "not finite"),
        (answer([1, float("inf"), 0]), "not finite"),
        (answer([1, 10**400, 0]), "not finite"),
        (answer([0, 0.0, -0.0]), "only zeros"),
        (Reply(200, " " * 70_000), "sent an answer of more than"),
    ],
)
def test_an_answer_that_is_no_vector_is_refused(
    endpoint: Endpoint, embedder: HttpEmbedder, reply: Reply, message: str
) -> None:
    endpoint.script = [reply]
    with pytest.raises(EmbedderError, match=message) as caught:
        embedder.embed(["x"])
    assert not isinstance(caught.value, DimensionMismatch)


def test_the_same_index_twice_is_refused(endpoint: Endpoint, embedder: HttpEmbedder) -> None:
    endpoint.script = [Reply(200, json.dumps({"data": [{"index": 0, "embedding": [1, 0, 0]}] * 2}))]
    with pytest.raises(EmbedderError, match="has the index 0 where"):
        embedder.embed(["a", "b"])


def test_vectors_of_another_length_name_both_lengths(endpoint: Endpoint, embedder: HttpEmbedder) -> None:
    endpoint.script = [answer([1, 0, 0, 0])]
    with pytest.raises(DimensionMismatch, match="4 numbers, not 3; set dimension=4") as caught:
        embedder.embed(["x"])
    assert (caught.value.fields["found"], caught.value.fields["expected"]) == (4, 3)


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_vectors_of_any_size_come_to_unit_length(endpoint: Endpoint, embedder: HttpEmbedder, scale: float) -> None:
    endpoint.script = [answer([3 * scale, 4 * scale, 0])]
    assert embedder.embed(["x"])[0].tolist() == pytest.approx([0.6, 0.8, 0])


def test_a_transport_can_stand_in_for_the_network(waits: list[float]) -> None:
    reply = vectors(["abc"])
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=reply.body))
    made = HttpEmbedder("https://embeddings.example/v1/", "m", dimension=3, transport=transport, sleep=waits.append)
    with contextlib.closing(made):
        assert made.embed(["abc"]).shape == (1, 3)


def test_a_key_that_no_header_can_carry_is_an_error_without_the_key(
    embedder: HttpEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY + "\nX-Other: é")
    with pytest.raises(EmbedderError, match=f"key in {VARIABLE}") as caught:
        embedder.embed(["x"])
    assert KEY not in str(caught.value)


def test_every_wrong_setting_is_listed_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        HttpEmbedder("ftp://user:word@host", "", dimension=0, timeout_s=0, batch_max=0, retries=-1)
    paths = [problem.path for problem in caught.value.problems]
    assert paths == ["base_url", "base_url", "model", "dimension", "timeout_s", "batch_max", "retries"]
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["", "host/v1", "http://", "https://host/v1?key=1", "http://[::1", "http://host:0x1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="base_url"):
        HttpEmbedder(address, "m", dimension=3)


def test_the_identity_says_that_the_weights_cannot_be_known(embedder: HttpEmbedder) -> None:
    identity = embedder.identity
    assert (identity.model_id, identity.weights_digest, identity.dimension) == ("small", "", 3)


def test_a_closed_embedder_embeds_no_more(embedder: HttpEmbedder) -> None:
    embedder.close()
    embedder.close()
    with pytest.raises(EmbedderError, match="closed"):
        embedder.embed(["x"])


def test_a_text_that_is_not_unicode_is_refused_before_any_request(endpoint: Endpoint, embedder: HttpEmbedder) -> None:
    with pytest.raises(InvalidInput, match=r"texts\[1\]"):
        embedder.embed(["fine", "\udc80"])
    assert endpoint.requests == []
