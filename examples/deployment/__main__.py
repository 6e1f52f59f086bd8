"""Start a database, a bucket and two servers of one memory, show that any of them answers, and serve until Ctrl-C.

`python -m examples.deployment`, in a checkout with the `dev` extra: PostgreSQL and S3 are the services of this project's own
tests. Everything lies in a temporary folder, and is gone at the end. `--once` ends after the demonstration.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.objects.server import CREDENTIALS, endpoint
from tests.objects.server import Server as Buckets
from tests.pg.server import running as database

START_S = 60.0


class Server:
    """One `cmc serve --http`, and where it listens."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name, self._log, self._environment = name, folder / f"{name}.log", environment
        self._port, self.url = 0, ""
        self.start()

    def start(self) -> None:
        """Start it; the second time on the same port."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cmc_mcp", "serve", "--http", f"127.0.0.1:{self._port}"],
                env=self._environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def ready(self) -> None:
        """Wait until it listens.

        Raises:
            RuntimeError: it ended, or takes too long; with what it said.
        """
        until = time.monotonic() + START_S
        while (found := re.search(r"url=(http://[\d.]+:(\d+)/mcp)", said := self._log.read_text())) is None:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not start: {said[-2000:]}")
            time.sleep(0.02)
        self.url, self._port = found[1], int(found[2])

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in good order."""
        self._process.terminate()
        self._process.wait()


def call(url: str, token: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Make one call with the official client.

    Raises:
        RuntimeError: the tool refuses, with its reason.
    """

    async def main() -> dict[str, Any]:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as web,
            Client(streamable_http_client(url, http_client=web)) as client,
        ):
            answer = await client.call_tool(tool, dict(arguments))
            if answer.is_error or answer.structured_content is None:
                raise RuntimeError(f"{tool} failed: {answer.content}")
            return dict(answer.structured_content)

    return anyio.run(main)


@contextmanager
def deployed() -> Iterator[tuple[list[Server], str]]:
    """Run the whole: a database, a bucket, two servers; gives the servers and a token for both."""
    token = secrets.token_urlsafe(24)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cmc-deployment-")))
        server = stack.enter_context(database(durable=True))
        bucket = Buckets().bucket(folder)
        tokens = folder / "tokens.json"
        entry = {"token": token, "principal": "maya", "workspace": "acme", "per_minute": 600}
        tokens.write_text(json.dumps({"tokens": [entry]}))
        tokens.chmod(0o600)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CMC_", "AWS_"))},
            **CREDENTIALS,
            "AWS_DEFAULT_REGION": "us-east-1",
            "CMC_CONFIG": str(folder / "none.toml"),
            "CMC_STORE": server.url(),
            "CMC_OBJECTS": f"s3://{bucket}/memory?endpoint={endpoint()}",
            "CMC_TOKENS": str(tokens),
        }
        servers = [Server(name, folder, environment) for name in ("one", "two")]
        for one in servers:
            stack.callback(one.stop)
        for one in servers:
            one.ready()
        yield servers, token


def demonstrate(servers: list[Server], token: str) -> None:
    """Write through one and recall through the other; kill one and go on; start it again, and it knows all."""
    one, two = servers
    call(one.url, token, "remember", {"content": "The ferry to Tern Island leaves at noon"})
    print(f"  remembered through {one.name}")
    question = {"query": "when does the ferry leave?"}
    print(f"  recalled through {two.name}: {call(two.url, token, 'recall', question)['items'][0]['text']}")
    minutes = {"content": "Minutes of the harbour board. " * 2_400, "source": "minutes", "modality": "event"}
    call(two.url, token, "remember", minutes)
    print("  remembered 70 kB through two: they are in the bucket")
    one.kill()
    print("  killed one")
    call(two.url, token, "remember", {"content": "The ferry now leaves at one", "idempotency_key": "ferry-1"})
    print("  remembered through two meanwhile")
    one.start()
    one.ready()
    items = call(one.url, token, "recall", question)["items"]
    print(f"  one is back, and recalls: {'; '.join(item['text'] for item in items if 'ferry' in item['text'])}")
    holds = call(one.url, token, "verify", {})["holds"]
    print(f"  verify: {'the ledger holds' if holds else 'FAULTS'}")


def main() -> int:
    """Run it; 0 when it was ended by Ctrl-C, or went through once."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # the bucket's server tells of every request
    try:
        print("starting PostgreSQL, a bucket and two servers …", flush=True)
        with deployed() as (servers, token):
            print(*(f"  {one.name}: {one.url}" for one in servers), f"  token: {token}", sep="\n", flush=True)
            demonstrate(servers, token)
            if "--once" not in sys.argv[1:]:
                print("serving; Ctrl-C ends it and takes everything away", flush=True)
                signal.pause()
    except KeyboardInterrupt:
        print("ended", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
