"""A server that speaks S3 on this machine (moto's), and a proxy in front of it that spoils answers as it is told to."""

from __future__ import annotations

import atexit
import hashlib
import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests"}


@cache
def endpoint() -> str:
    """The address of the server, which starts with the first test that asks and ends with the process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the credentials as the environment does, and nothing of this machine's own."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@cache
def _client(process: int) -> Any:
    return boto3.client(
        "s3", endpoint_url=endpoint(), region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
    )


class Server:
    """The server behind the store's back."""

    def __init__(self) -> None:
        self.client: Any = _client(os.getpid())

    def bucket(self, path: Path) -> str:
        """Make the bucket of a test, named after its folder."""
        name = "b-" + hashlib.sha256(str(path).encode()).hexdigest()[:20]
        self.client.create_bucket(Bucket=name)
        return name

    def raw(self, bucket: str) -> dict[str, bytes]:
        """Every key of a bucket with its bytes."""
        found = self.client.list_objects_v2(Bucket=bucket).get("Contents", ())
        return {one["Key"]: self.client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in found}


class Proxy:
    """Passes requests on. `spoil` says what is done to the next answers of a method."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._faults: dict[str, list[str]] = {}
        self.page = 0  # keys in one page of a list, where it is not the server's own 1,000
        self.over = threading.Event()

    def spoil(self, method: str, fault: str, times: int = 1) -> None:
        """Spoil the next answers to a method: stall, lost, 503, cut, flip, short, long, trickle, or an S3 error's code."""
        self._faults.setdefault(method, []).extend([fault] * times)

    def fault(self, method: str) -> str:
        self.seen.append(method)
        waiting = self._faults.get(method)
        return waiting.pop(0) if waiting else ""


@contextmanager
def proxy() -> Iterator[tuple[str, Proxy]]:
    """Run a proxy; gives its address and itself."""
    told = Proxy()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"told": told}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", told
    finally:
        told.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    told: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.told.fault(self.command)
        if fault == "stall":
            self.told.over.wait(30)
            self.close_connection = True
            return
        if fault.isdigit() or (fault[:1].isupper()):
            self._answer(_error(fault))
            return
        status, headers, data = self._passed_on(body)
        if fault == "lost":
            self.close_connection = True
            return
        self._answer((status, headers, data), fault)

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(endpoint().removeprefix("http://"), timeout=30)
        try:
            kept = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            path = (
                f"{self.path}&max-keys={self.told.page}" if "list-type=2" in self.path and self.told.page else self.path
            )
            connection.request(self.command, path, body, kept)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, answer: tuple[int, list[tuple[str, str]], bytes], fault: str = "") -> None:
        status, headers, data = answer
        self.send_response_only(status)
        said = len(data)
        if fault == "flip":
            data = bytes([data[0] ^ 1]) + data[1:]
        elif fault == "short":
            said, data = said - 1, data[:-1]
        elif fault == "long":
            data, said = data + b"!", said + 1
        elif fault == "cut":
            data = data[: said // 2]
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if self.command == "HEAD":
            said = int({n.lower(): v for n, v in headers}.get("content-length", 0))
        self.send_header("Content-Length", str(said))
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            if fault == "trickle":
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    if self.told.over.wait(0.05):
                        break
            else:
                self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            pass  # whoever asked gave up
        self.close_connection = fault in ("cut", "trickle")

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve


def _error(fault: str) -> tuple[int, list[tuple[str, str]], bytes]:
    status, code = (int(fault), "SlowDown") if fault.isdigit() else (_STATUS.get(fault, 403), fault)
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no {CREDENTIALS['AWS_SECRET_ACCESS_KEY']}</Message></Error>"
    return status, [("Content-Type", "application/xml")], body.encode()


_STATUS = {"BadDigest": 400, "NotImplemented": 501, "InternalError": 500, "PermanentRedirect": 301}
