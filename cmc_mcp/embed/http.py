"""Any embedding endpoint that speaks the OpenAI protocol: a hosted one, or a local server.

The protocol: ``POST {base_url}/embeddings`` with ``{"model": …, "input": [text, …]}``, answered by
``{"data": [{"index": 0, "embedding": [number, …]}, …]}``.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, Unpack, cast
from urllib.parse import urlsplit

from cmc_mcp.embed.answer import read_vectors
from cmc_mcp.embed.bounded import Bounded, Watch
from cmc_mcp.embed.protocol import EmbeddingIdentity, check_texts
from cmc_mcp.errors import EmbedderError, InvalidInput, Problem
from cmc_mcp.limits import EMBED_BATCH_MAX, EMBED_TIMEOUT_S

if TYPE_CHECKING:
    import httpx
    import numpy as np
    import numpy.typing as npt

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0
RETRY_AFTER_MAX_S: Final = 60.0  # asked to wait longer than this, we give up and say so
RETRIED_STATUS: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

_ANSWER_BYTES_BASE = 65_536
_ANSWER_BYTES_PER_NUMBER = 64  # an indented float64 takes about 30
_DETAIL_CHARS_MAX = 300
_DEADLINE_TIMES = 2  # the time-out of one read, for the whole of a request
_DEADLINE = "no whole answer in time"


class _Answer(NamedTuple):
    """The result of one attempt: a status and a body, or status 0 and the kind of connection failure."""

    status: int
    body: bytes
    failure: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Options:
    """How an endpoint is spoken to: the optional arguments of `HttpEmbedder`, with their defaults."""

    api_key_env: str = "CMC_EMBED_API_KEY"
    timeout_s: float = EMBED_TIMEOUT_S
    batch_max: int = EMBED_BATCH_MAX
    retries: int = 3
    maximum_tokens: int = 0
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = time.sleep

    def problems(self) -> list[Problem]:
        """Return what is wrong with them."""
        problems: list[Problem] = []
        if not 0 < self.timeout_s < float("inf"):
            problems.append(Problem("timeout_s", "must be a positive number of seconds"))
        if not 1 <= self.batch_max <= EMBED_BATCH_MAX:
            problems.append(Problem("batch_max", f"must be from 1 to {EMBED_BATCH_MAX}"))
        if self.retries < 0:
            problems.append(Problem("retries", "must not be negative"))
        return problems


class HttpOptions(TypedDict, total=False):
    """The optional arguments of `HttpEmbedder`, for type checkers."""

    api_key_env: str
    timeout_s: float
    batch_max: int
    retries: int
    maximum_tokens: int
    transport: httpx.BaseTransport | None
    sleep: Callable[[float], None]


class HttpEmbedder:
    """Embed through an OpenAI-compatible endpoint. Threads may share an instance.

    The key is read from the environment for each request and never appears in a message, log or `repr`. A batch that fails
    for a passing reason (no connection, a time-out, 429, 5xx) is sent again after 0.5, 1, 2 … s, or after the time that
    the endpoint asks for in ``Retry-After``. Every vector is checked and scaled to unit length.

    Args:
        base_url: the address above ``/embeddings``, for example ``"https://embeddings.example/v1"``.
        model: the model's name as the endpoint knows it.
        dimension: the length of the model's vectors; vectors of another length are refused.
        api_key_env: environment variable with the key; when it is unset, no key is sent.
        timeout_s: for connecting, and for each silence of the endpoint, in seconds.
        batch_max: texts in one request.
        retries: further attempts after the first.
        maximum_tokens: where the model cuts a text off, if known; only recorded in the identity.
        transport: an httpx transport, in place of the network.
        sleep: a function that waits a number of seconds.

    Raises:
        InvalidInput: an argument is wrong; the error lists every wrong argument.

    >>> HttpEmbedder("https://embeddings.example/v1", "small", dimension=8)
    HttpEmbedder('https://embeddings.example/v1', 'small', dimension=8)
    """

    def __init__(self, base_url: str, model: str, *, dimension: int, **options: Unpack[HttpOptions]) -> None:
        asked = _Options(**options)
        if problems := [*_problems(base_url, model, dimension), *asked.problems()]:
            raise InvalidInput.of(problems)
        import httpx

        self._base_url = base_url.rstrip("/")
        self._identity = EmbeddingIdentity(model, "", "remote", dimension, asked.maximum_tokens)
        self._options = asked
        self._opened = threading.local()
        self._client = httpx.Client(timeout=asked.timeout_s, transport=asked.transport)

    def __repr__(self) -> str:
        identity = self._identity
        return f"HttpEmbedder({self._base_url!r}, {identity.model_id!r}, dimension={identity.dimension})"

    @property
    def identity(self) -> EmbeddingIdentity:
        """The model's name and dimension; the weights behind an endpoint are unknown."""
        return self._identity

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, in order: float32 of shape (len(texts), dimension).

        Raises:
            EmbedderError: the endpoint refused, could not be reached, or answered without vectors.
            DimensionMismatch: the length of a vector differs from `dimension`.
            InvalidInput: a text is not valid Unicode, or one string was passed in place of a list.
        """
        check_texts(texts)
        import numpy as np

        rows = np.empty((len(texts), self._identity.dimension), dtype=np.float32)
        for start in range(0, len(texts), self._options.batch_max):
            batch = list(texts[start : start + self._options.batch_max])
            body = self._request(batch)
            rows[start : start + len(batch)] = read_vectors(body, len(batch), self._identity.dimension)
        return rows

    def close(self) -> None:
        """Close the connections. A closed instance cannot embed; closing twice is allowed."""
        self._client.close()

    def _request(self, batch: list[str]) -> bytes:
        if self._client.is_closed:
            raise EmbedderError("this embedder is closed; make a new one")
        payload = json.dumps({"model": self._identity.model_id, "input": batch}, ensure_ascii=False).encode("utf-8")
        attempts_left, wait_s = self._options.retries, BACKOFF_FIRST_S
        while True:
            answer = self._post(payload, len(batch))
            if answer.status == 200 and not answer.failure:
                return answer.body
            asked_s = answer.retry_after_s or 0.0
            passing = (answer.status == 0 and answer.failure != _DEADLINE) or answer.status in RETRIED_STATUS
            if not passing or attempts_left == 0 or asked_s > RETRY_AFTER_MAX_S:
                raise self._refusal(answer)
            attempts_left -= 1
            self._options.sleep(max(wait_s, asked_s))
            wait_s = min(wait_s * 2, BACKOFF_MAX_S)

    def _post(self, payload: bytes, count: int) -> _Answer:
        import httpx

        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
        key = self._key()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        limit = _ANSWER_BYTES_BASE + count * self._identity.dimension * _ANSWER_BYTES_PER_NUMBER
        seconds = _DEADLINE_TIMES * self._options.timeout_s
        until, watch = time.monotonic() + seconds, Watch(seconds, self._streams())
        try:
            with watch, self._client.stream(
                "POST", f"{self._base_url}/embeddings", content=payload, headers=headers,
                extensions={"trace": watch.trace},
            ) as got:  # fmt: skip
                whole = got.is_stream_consumed  # by a transport that stands in for the network
                body = Bounded("" if whole else got.headers.get("content-encoding", ""), limit)
                for part in (got.content,) if whole else got.iter_raw():
                    if fault := body.add(part):
                        return _Answer(got.status_code, b"", fault)
                    if time.monotonic() > until:
                        return _Answer(0, b"", _DEADLINE)
                if watch.rang:
                    return _Answer(0, b"", _DEADLINE)
                return _Answer(got.status_code, bytes(body.data), body.unfinished, _retry_after_s(got.headers))
        except httpx.HTTPError as error:
            if watch.rang:
                return _Answer(0, b"", _DEADLINE)
            # The error holds the request, which holds the key, so only the error's type may leave.
            return _Answer(0, b"", type(error).__name__)

    def _streams(self) -> list[Any]:
        """Return the connections that this thread opened last."""
        if not hasattr(self._opened, "streams"):
            self._opened.streams = []
        return cast("list[Any]", self._opened.streams)

    def _key(self) -> str:
        key = os.environ.get(self._options.api_key_env, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise EmbedderError(
                f"the key in {self._options.api_key_env} has characters that no HTTP header can carry; set it anew"
            )
        return key

    def _refusal(self, answer: _Answer) -> EmbedderError:
        where, status = f"the embedding endpoint {self._base_url}", answer.status
        if status == 0:
            return EmbedderError(
                f"{where} cannot be reached ({answer.failure}, {self._options.retries + 1} attempts, "
                f"time-out {self._options.timeout_s:g} s); check that it runs and that the address is right",
                status=0,
            )
        if answer.failure:
            return EmbedderError(f"{where} sent {answer.failure}; check that it is one", status=status)
        if status in (401, 403):
            # The endpoint's message is left out: endpoints quote the key.
            return EmbedderError(
                f"{where} refused the key (HTTP {status}); set {self._options.api_key_env}", status=status
            )
        detail = self._detail(answer.body)
        if status == 429:
            wait = f" and asks to wait {answer.retry_after_s:g} s" if answer.retry_after_s else ""
            advice = "wait, or use another endpoint"
            return EmbedderError(f"{where} has had too many requests{wait} (HTTP 429{detail}); {advice}", status=429)
        if status == 404:
            advice = (
                f"check that the address ends in /v1 or alike and that it has the model {self._identity.model_id!r}"
            )
        elif 400 <= status < 500:
            advice = (
                "check the model's name; if texts or batches are too long for it, lower batch_max or split the texts"
            )
        elif 300 <= status < 400:
            advice = "redirects are not followed: set the address that it points to"
        else:
            advice = "try again later"
        return EmbedderError(f"{where} refused (HTTP {status}{detail}); {advice}", status=status)

    def _detail(self, body: bytes) -> str:
        """Return the endpoint's reason for a refusal: short, on one line, without the key."""
        try:
            parsed: object = json.loads(body)
        except (ValueError, RecursionError):
            return ""
        said = parsed.get("error", parsed) if isinstance(parsed, dict) else None
        said = said.get("message", said.get("detail")) if isinstance(said, dict) else said
        if not isinstance(said, str):
            return ""
        key = self._key()
        clean = " ".join((said.replace(key, "***") if key else said).split())
        return f": {clean[:_DETAIL_CHARS_MAX]}"


def _problems(base_url: str, model: str, dimension: int) -> list[Problem]:
    problems: list[Problem] = []
    try:
        url = urlsplit(base_url)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        if not usable or url.query or url.fragment:
            problems.append(Problem("base_url", "must be http:// or https://, a host and a path, without a query"))
        if "@" in url.netloc:
            problems.append(
                Problem("base_url", "must not hold a user name or a password; the key comes from the environment")
            )
    except ValueError:
        problems.append(Problem("base_url", "is not an address; use http:// or https://, a host and a path"))
    if not model:
        problems.append(Problem("model", "must not be empty"))
    if dimension < 1:
        problems.append(Problem("dimension", "must be at least 1"))
    return problems


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Parse ``Retry-After`` (RFC 9110 §10.2.3): seconds, or a date, which is measured from the answer's own date."""
    from email.utils import parsedate_to_datetime

    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        return float(value)
    try:
        # Both dates are the endpoint's, so no clock of ours has to be right.
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())
