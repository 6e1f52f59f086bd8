"""Streamable HTTP on loopback: both eras, tokens, isolation, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import anyio
import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from cmc_mcp.environment import Configuration
from cmc_mcp.errors import InvalidInput
from cmc_mcp.limits import HTTP_BODY_BYTES_MAX
from cmc_mcp.server.principals import Principal
from cmc_mcp.server.session import Caller
from cmc_mcp.server.transports import check_exposure, is_loopback, serve_http
from tests.server.rig import MODES, data, http, text

ALICE = Principal("alice-" + "a" * 20, Caller("alice", "acme"))
BOB = Principal("bob-" + "b" * 20, Caller("bob", "globex"))
CAROL = Principal("carol-" + "c" * 20, Caller("carol", "acme", read_only=True))
INITIALIZE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}  # fmt: skip
ACCEPT = {"Accept": "application/json, text/event-stream"}


def bearer(principal: Principal) -> dict[str, str]:
    return {"Authorization": f"Bearer {principal.token}"}


def talk(url, body, principal=None, mode="auto"):
    async def main():
        headers = bearer(principal) if principal else {}
        async with httpx2.AsyncClient(headers=headers, timeout=20) as web:
            async with Client(streamable_http_client(f"{url}/mcp", http_client=web), mode=mode) as client:
                return await body(client)

    return anyio.run(main)


def call(url, tool, arguments=None, principal=None, mode="auto"):
    return talk(url, lambda client: client.call_tool(tool, arguments or {}), principal, mode)


@pytest.fixture(scope="module")
def open_url(tmp_path_factory):
    with http(tmp_path_factory.mktemp("open")) as url:
        yield url


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with http(tmp_path_factory.mktemp("guarded"), [ALICE, BOB, CAROL]) as url:
        yield url


@pytest.mark.parametrize("mode", MODES)
def test_the_main_job_works_over_http_in_every_era(open_url, mode):
    told = []

    async def hear(progress, total, message):
        told.append(progress)

    async def body(client):
        data(await client.call_tool("remember", {"content": f"Tea over HTTP, {mode}"}))
        found = data(await client.call_tool("recall", {"query": "tea over http"}))
        assert data(await client.call_tool("verify", {}, progress_callback=hear))["holds"]
        return found["items"]

    assert talk(open_url, body, mode=mode)
    assert told[0] == 0
    assert len(told) >= 2


def test_two_tokens_see_two_workspaces(guarded):
    id = data(call(guarded, "remember", {"content": "Alice likes oolong"}, ALICE))["added"][0]
    data(call(guarded, "remember", {"content": "Bob likes coffee"}, BOB))
    (item,) = data(call(guarded, "recall", {"query": "who likes what"}, ALICE))["items"]
    assert item["id"] == id
    assert item["witness"]["writer"] == "alice"
    (item,) = data(call(guarded, "recall", {"query": "who likes what"}, BOB))["items"]
    assert item["text"] == "Bob likes coffee"
    assert "[not_found]" in text(call(guarded, "history", {"id": id}, BOB))
    assert "[not_found]" in text(call(guarded, "forget", {"ids": [id]}, BOB))


@pytest.mark.parametrize("mode", MODES)
def test_two_tokens_at_the_same_time_stay_apart(guarded, mode):
    async def main():
        async with httpx2.AsyncClient(headers=bearer(ALICE)) as one, httpx2.AsyncClient(headers=bearer(BOB)) as two:
            async with (
                Client(streamable_http_client(f"{guarded}/mcp", http_client=one), mode=mode) as alice,
                Client(streamable_http_client(f"{guarded}/mcp", http_client=two), mode=mode) as bob,
            ):
                said = {}

                async def ask(name, client):
                    (status,) = (await client.read_resource("cmc://status")).contents
                    said.setdefault(name, set()).add(json.loads(status.text)["workspace"])

                async with anyio.create_task_group() as group:
                    for _ in range(10):
                        group.start_soon(ask, "alice", alice)
                        group.start_soon(ask, "bob", bob)
                return said

    assert anyio.run(main) == {"alice": {"acme"}, "bob": {"globex"}}


def test_who_may_only_read_reads_and_plans_and_writes_nothing(guarded):
    data(call(guarded, "remember", {"content": "Acme sells kettles"}, ALICE))
    assert data(call(guarded, "recall", {"query": "kettles"}, CAROL))["items"]
    assert data(call(guarded, "snapshot", {}, CAROL))
    assert data(call(guarded, "rollback", {"to": 0, "dry_run": True}, CAROL))
    for tool, arguments in [
        ("remember", {"content": "x"}),
        ("revise", {"id": "atom_0000", "priority": 1}),
        ("mark", {"ids": ["atom_0000"], "outcome": "used"}),
        ("forget", {"ids": ["atom_0000"]}),
        ("rollback", {"to": 0}),
        ("snapshot", {"label": "x"}),
    ]:
        assert f"{tool} failed [access_denied]: carol may only read" in text(call(guarded, tool, arguments, CAROL))


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong-token-wrong-token"}, {"Authorization": f"Basic {ALICE.token}"}]
)
def test_without_a_known_token_nobody_comes_in(guarded, headers):
    answer = httpx.post(f"{guarded}/mcp", json=INITIALIZE, headers={**ACCEPT, **headers})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_a_session_of_one_token_is_closed_to_another(guarded):
    opened = httpx.post(f"{guarded}/mcp", json=INITIALIZE, headers={**ACCEPT, **bearer(ALICE)})
    session = {"mcp-session-id": opened.headers["mcp-session-id"]}
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    stolen = httpx.post(f"{guarded}/mcp", json=listing, headers={**ACCEPT, **bearer(BOB), **session})
    assert stolen.status_code == 404


def test_a_host_that_is_not_allowed_is_refused(open_url):
    answer = httpx.post(f"{open_url}/mcp", json=INITIALIZE, headers={**ACCEPT, "Host": "evil.example"})
    assert answer.status_code == 421


def test_an_origin_that_is_not_allowed_is_refused(open_url):
    answer = httpx.post(f"{open_url}/mcp", json=INITIALIZE, headers={**ACCEPT, "Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_hosts_and_origins_that_are_named_are_allowed_beside_loopback(tmp_path):
    with http(tmp_path, allowed_hosts=["memory.example:*"], allowed_origins=["https://chat.example"]) as url:
        for headers in ({}, {"Host": "memory.example:80", "Origin": "https://chat.example"}):
            assert httpx.post(f"{url}/mcp", json=INITIALIZE, headers={**ACCEPT, **headers}).status_code == 200


def test_on_the_network_only_named_hosts_are_allowed(tmp_path):
    with http(tmp_path, [ALICE], host="0.0.0.0", allowed_hosts=["memory.example"]) as url:
        inside = {**ACCEPT, **bearer(ALICE), "Host": "memory.example"}
        assert httpx.post(f"{url}/mcp", json=INITIALIZE, headers=inside).status_code == 200
        assert httpx.post(f"{url}/mcp", json=INITIALIZE, headers={**ACCEPT, **bearer(ALICE)}).status_code == 421


def test_a_body_past_the_bound_is_refused(open_url):
    def chunks():
        for _ in range(HTTP_BODY_BYTES_MAX // 2**20 + 1):
            yield b" " * 2**20

    with contextmanager(lambda: (yield httpx.Client(timeout=30)))() as web:
        answer = web.post(f"{open_url}/mcp", content=chunks(), headers={**ACCEPT, "Content-Type": "application/json"})
        web.close()
    assert answer.status_code == 413


def test_health_probes_the_store(tmp_path):
    with http(tmp_path) as url:
        answer = httpx.get(f"{url}/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_health_says_when_the_store_is_not_there(tmp_path, capfd):
    (tmp_path / "memory.db").write_bytes(b"not a database, for sure" * 400)
    with http(tmp_path, [ALICE]) as url:
        answer = httpx.get(f"{url}/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "code": "wrong_key"}


# ---------------------------------------------------------------------- exposure
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "memory.example"])
def test_the_network_needs_a_token_and_named_hosts(host):
    with pytest.raises(InvalidInput, match="CMC_TOKEN"):
        check_exposure(host, ["memory.example"], ())
    with pytest.raises(InvalidInput, match="allowed_hosts"):
        check_exposure(host, (), [ALICE])
    check_exposure(host, ["memory.example"], [ALICE])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_neither(host):
    assert is_loopback(host)
    check_exposure(host, (), ())


def test_serving_the_network_without_a_token_does_not_start(tmp_path):
    with pytest.raises(InvalidInput, match="anybody could read"):
        serve_http(Configuration(str(tmp_path / "m.db")), "0.0.0.0", 0, ["memory.example"], (), ())
    assert not (tmp_path / "m.db").exists()


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"127.0.0.1:{port} cannot be bound"):
            serve_http(Configuration(str(tmp_path / "m.db")), "127.0.0.1", port)


SERVE = (
    "from cmc_mcp.environment import configuration\nfrom cmc_mcp.server import serve_http\n"
    "serve_http(configuration(), port=0)"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_good_order_even_while_a_client_is_there(tmp_path, number):
    environment = {**os.environ, "CMC_STORE": str(tmp_path / "memory.db"), "CMC_TOKEN": ALICE.token}
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        url = re.search(r"url=(\S+)/mcp", process.stderr.readline())[1]
        answer = httpx.post(f"{url}/mcp", json=INITIALIZE, headers={**ACCEPT, **bearer(ALICE)})
        session = {"mcp-session-id": answer.headers["mcp-session-id"]}
        with httpx.stream("GET", f"{url}/mcp", headers={**ACCEPT, **bearer(ALICE), **session}) as stream:
            assert stream.status_code == 200
            process.send_signal(number)
            assert process.wait(3) == 0
        errors = process.stderr.read()
        assert process.stdout.read() == ""
    assert ALICE.token not in errors
    assert "Traceback" not in errors
