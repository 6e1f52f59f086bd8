"""The door of HTTP: what can be read in two ways is refused, hosts and origins match whole, and tokens are read again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_mcp.server.admission import Bounds
from cmc_mcp.server.principals import Principal
from cmc_mcp.server.session import Caller
from tests.serving.http_rig import Place, call, exchange, running
from tests.serving.wire import CMC, Server, http_request, until

ALICE = Principal("alice-" + "a" * 20, Caller("alice", "acme"))
BOB = Principal("bob-" + "b" * 20, Caller("bob", "globex"))
BEARER = {"Authorization": f"Bearer {ALICE.token}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running(tmp_path_factory.mktemp("door"), Bounds(), [ALICE, BOB]) as (place, _):
        yield place


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:80"}, 200),
        ({"Host": "localhost:65535"}, 200),
        ({"Host": "127.0.0.1:80.evil.example"}, 421),
        ({"Host": "127.0.0.1:evil.example"}, 421),
        ({"Host": "127.0.0.1:"}, 421),
        ({"Host": "localhost:80@evil.example"}, 421),
        ({"Host": "localhost:123456"}, 421),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "http://localhost:3000.evil.example"}, 403),
        ({"Origin": "http://localhost:evil"}, 403),
        ({"Origin": "http://127.0.0.1:80/path"}, 403),
    ],
)
def test_hosts_and_origins_match_whole(guarded: Place, headers: dict[str, str], status: int) -> None:
    assert exchange(guarded, call("recall", {"query": "x"}, **BEARER, **headers))[0] == status


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:80"])
@pytest.mark.parametrize("path", ["/mcp/", "/mcp//", "/healthz/"])
def test_no_address_redirects(guarded: Place, path: str, host: str) -> None:
    status, body = exchange(guarded, http_request({"jsonrpc": "2.0"}, path=path, Host=host, **BEARER))
    assert status == 404
    assert host.encode() not in body


@pytest.mark.parametrize(
    "more",
    [
        f"Authorization: Bearer {ALICE.token}",
        f"Authorization: Bearer {BOB.token}",
        "authorization: Basic x",
        "Origin: http://localhost:1\r\nOrigin: http://evil.example",
    ],
)
def test_a_header_that_counts_once_is_refused_twice(guarded: Place, more: str) -> None:
    data = call("recall", {"query": "x"}, **BEARER).replace(b"\r\n\r\n", f"\r\n{more}\r\n\r\n".encode(), 1)
    assert exchange(guarded, data)[0] == 400


def test_two_lengths_of_one_body_are_refused(guarded: Place) -> None:
    data = call("recall", {"query": "x"}, Transfer_Encoding="chunked", **BEARER)
    assert exchange(guarded, data)[0] == 400


def _tokens(*principals: Principal) -> str:
    return "".join(
        f'[[tokens]]\ntoken = "{p.token}"\nprincipal = "{p.caller.principal}"\nworkspace = "{p.caller.workspace}"\n'
        for p in principals
    )


def test_a_hangup_reads_the_tokens_again_and_ends_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(_tokens(ALICE))
    with Server([CMC, "serve", "--http", "127.0.0.1:0"], tmp_path, CMC_TOKENS=str(file)) as server:
        place = server.address()

        def asked(principal: Principal) -> int:
            return exchange(place, call("recall", {"query": "x"}, Authorization=f"Bearer {principal.token}"))[0]

        assert (asked(ALICE), asked(BOB)) == (200, 401)
        file.write_text(_tokens(BOB))
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: asked(BOB) == 200, "the new token")
        assert asked(ALICE) == 401
        for wrong in ("no tokens at all", "", "[[tokens]]\n"):
            file.write_text(wrong)
            os.kill(server.pid, signal.SIGHUP)
        until(lambda: server.stderr().count("the tokens stay as they were") >= 1, "the refusal")
        assert (asked(ALICE), asked(BOB)) == (401, 200)


def test_a_hangup_ends_no_server_without_tokens(tmp_path: Path) -> None:
    with Server([CMC, "serve", "--http", "127.0.0.1:0"], tmp_path) as server:
        place = server.address()
        os.kill(server.pid, signal.SIGHUP)
        assert "nothing to reload" in server.until_logged("nothing to reload")
        assert exchange(place, call("recall", {"query": "x"}))[0] == 200
