"""Objects in a bucket of any store that speaks S3: written once, checked on every read (`envelope.py`).

Keys and bytes equal those of the files beside a store, `prefix/workspace/ab/hash`, so a folder of objects can be copied
into a bucket. Credentials come from the places where AWS tools look (environment, profile, role), never from the address.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError, ProfileNotFound
from urllib3.exceptions import HTTPError

from cmc_mcp.errors import CmcError, IntegrityError, StoreError
from cmc_mcp.ids import PayloadHash, Ws
from cmc_mcp.store.objects.envelope import Envelopes, damaged
from cmc_mcp.store.objects.files import write_file
from cmc_mcp.store.objects.place import Bucket

T = TypeVar("T")
_PART_BYTES: Final = 256 * 1024
_ABSENT: Final = ("NoSuchKey", "404", "NotFound")
_THERE: Final = ("PreconditionFailed", "412")
_UNCONDITIONAL: Final = ("NotImplemented", "501")  # the server has no conditional writes
_AGAIN: Final = (  # of the transfer, which botocore does not try again
    "BadDigest",
    "XAmzContentChecksumMismatch",
    "ConditionalRequestConflict",
    "OperationAborted",
)
_CREDENTIALS: Final = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
)
_DENIED: Final = ("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden")
_ELSEWHERE: Final = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Time-outs and the number of attempts towards a server."""

    connect_s: float = 5.0
    read_s: float = 20.0  # between two bytes
    body_s: float = 120.0  # one whole object
    tries: int = 4
    pause_s: float = 0.2  # before the second try of a body; twice as long before each further one


class _Torn(Exception):
    """Raised when a body did not arrive whole."""


class S3Objects:
    """Objects under `prefix/workspace/ab/hash` of a bucket, encrypted if the store has a key. Thread-safe."""

    def __init__(self, bucket: Bucket, key: bytes | None = None, bounds: Bounds | None = None) -> None:
        self._bucket, self._bounds = bucket, bounds or Bounds()
        self._seal = Envelopes(key)
        self._conditional = True
        self._process, self._made = 0, None

    @classmethod
    def open(cls, bucket: Bucket, key: bytes | None = None, bounds: Bounds | None = None) -> S3Objects:
        """Open a bucket after checking that it exists and may be read.

        Raises:
            StoreError: the bucket does not exist, refuses access, or cannot be reached.
        """
        made = cls(bucket, key, bounds)
        with made._translated("opened"):
            made._client.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix, MaxKeys=1)
        return made

    def put(self, workspace: Ws, hash_: PayloadHash, data: bytes) -> None:
        """Write an object durably; an existing object stays.

        Raises:
            StoreError: the object cannot be written.
        """
        envelope = self._seal.close(workspace, hash_, data)
        with self._translated("written"):
            self._tried(lambda: self._put(self._key(workspace, hash_), envelope))

    def _put(self, key: str, envelope: bytes) -> None:
        given: dict[str, Any] = {"Bucket": self._bucket.name, "Key": key}
        if self._conditional:
            try:
                self._client.put_object(**given, Body=envelope, ChecksumAlgorithm="SHA256", IfNoneMatch="*")
                return
            except ClientError as error:
                if _code(error) in _THERE:
                    return
                if _code(error) not in _UNCONDITIONAL:
                    raise
                self._conditional = False
        try:
            self._client.head_object(**given)
        except ClientError as error:
            if _code(error) not in _ABSENT:
                raise
            self._client.put_object(**given, Body=envelope, ChecksumAlgorithm="SHA256")

    def get(self, workspace: Ws, hash_: PayloadHash) -> bytes:
        """Read an object and check it against its hash.

        Raises:
            IntegrityError: the object is missing or damaged.
            StoreError: the object cannot be read now.
        """
        return self._read(workspace, hash_)[1]

    def _read(self, workspace: Ws, hash_: PayloadHash) -> tuple[bytes, bytes]:
        """Return an object's envelope and content, reading again if they arrive damaged: the network may be the cause."""

        def once() -> tuple[bytes, bytes]:
            envelope = self._fetched(self._key(workspace, hash_))
            return envelope, self._seal.open(workspace, hash_, envelope)

        with self._translated("read"):
            try:
                return self._tried(once)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                raise damaged(f"an object is missing from {self._bucket}", hash_) from error

    def _fetched(self, key: str) -> bytes:
        answer = self._client.get_object(Bucket=self._bucket.name, Key=key)
        expected, parts, got = int(answer["ContentLength"]), list[bytes](), 0
        until_s = time.monotonic() + self._bounds.body_s
        with answer["Body"] as raw:
            while part := raw.read1(_PART_BYTES):  # as much as has arrived, so that a trickle is noticed
                parts.append(part)
                got += len(part)
                if time.monotonic() > until_s:
                    raise _Torn(f"{got:,} of {expected:,} bytes came in {self._bounds.body_s:g} s")
        if got != expected:
            raise _Torn(f"{got:,} of {expected:,} bytes came")
        return b"".join(parts)

    def delete(self, workspace: Ws, hash_: PayloadHash) -> None:
        """Remove an object durably if it exists, with every version that the bucket kept.

        Raises:
            StoreError: the object cannot be removed.
        """
        key = self._key(workspace, hash_)
        with self._translated("removed"):
            answer = self._client.delete_object(Bucket=self._bucket.name, Key=key)
            if answer.get("DeleteMarker") or answer.get("VersionId"):
                self._delete_versions(key)

    def _delete_versions(self, key: str) -> None:
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket.name, Prefix=key)
        for page in pages:
            for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                self._client.delete_object(Bucket=self._bucket.name, Key=found["Key"], VersionId=found["VersionId"])

    def copy_to(self, folder: Path) -> None:
        """Copy every object into a folder of files, checking each, for a backup. Existing files stay.

        Raises:
            IntegrityError: an object is damaged.
            StoreError: an object cannot be read or written.
        """
        try:
            for workspace, hash_ in self._listed(""):
                name = hash_.hex()
                target = folder / str(workspace) / name[:2] / name
                if not target.exists():
                    write_file(target, self._read(workspace, hash_)[0])
        except OSError as error:
            raise StoreError(f"the objects cannot be copied ({error.strerror}); check the folder {folder}") from error

    def hashes(self, workspace: Ws) -> Iterator[PayloadHash]:
        """Return an iterator over the hashes of a workspace's objects, sorted.

        Raises:
            StoreError: the bucket cannot be listed.
        """
        return (hash_ for _, hash_ in self._listed(f"{workspace}/"))

    def _listed(self, below: str) -> Iterator[tuple[Ws, PayloadHash]]:
        prefix = self._bucket.prefix
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name, Prefix=f"{prefix}{below}"
        )
        with self._translated("listed"):
            for page in pages:
                for found in page.get("Contents", ()):
                    workspace, _, rest = found["Key"][len(prefix) :].partition("/")
                    start, _, name = rest.partition("/")
                    if (
                        workspace.isdecimal() and len(name) == 64 and name[:2] == start
                    ):  # files of other programs are skipped
                        yield Ws(int(workspace)), PayloadHash(bytes.fromhex(name))

    # ------------------------------------------------------------------ the server
    def _key(self, workspace: Ws, hash_: PayloadHash) -> str:
        name = hash_.hex()
        return f"{self._bucket.prefix}{workspace}/{name[:2]}/{name}"

    @property
    def _client(self) -> Any:
        """The client of this process; a child process must not use its parent's connections."""
        if self._process != os.getpid():
            self._made, self._process = _connected(self._bucket, self._bounds), os.getpid()
            weakref.finalize(self, _close, self._made, self._process)
        return self._made

    def _tried(self, once: Callable[[], T]) -> T:
        """Run a function, and run it again within the bound while the network spoils its result."""
        for attempt in range(1, self._bounds.tries):
            try:
                return once()
            except (_Torn, HTTPError, IntegrityError):
                pass
            except ClientError as error:
                if _code(error) not in _AGAIN:
                    raise
            time.sleep(self._bounds.pause_s * 2 ** (attempt - 1))
        return once()

    @contextmanager
    def _translated(self, done: str) -> Iterator[None]:
        """Translate the client's errors into ours; each message says what to do, and none quotes a credential."""
        try:
            yield
        except ClientError as error:
            raise _refused(self._bucket, _code(error), done) from error
        except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
            raise StoreError(f"no credentials were found for {self._bucket} ({error}); {_GIVE}") from error
        except (BotoCoreError, HTTPError, _Torn) as error:
            raise StoreError(
                f"the objects in {self._bucket} could not be {done} ({_first_line(error)}); {_again(done)}. If it goes on, "
                "check the network and the endpoint"
            ) from error


_GIVE: Final = "set them where AWS tools look: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def _connected(bucket: Bucket, bounds: Bounds) -> Any:
    config = Config(
        connect_timeout=bounds.connect_s,
        read_timeout=bounds.read_s,
        retries={"total_max_attempts": bounds.tries, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",  # our own hash is checked on every read
        s3={"addressing_style": "path" if bucket.endpoint else "auto"},
    )
    try:
        session = boto3.Session()
        region = bucket.region or session.region_name or "us-east-1"
        return session.client("s3", region_name=region, endpoint_url=bucket.endpoint, config=config)
    except BotoCoreError as error:
        raise StoreError(f"{bucket} cannot be opened ({_first_line(error)}); {_GIVE}") from error


def _close(client: Any, process: int) -> None:
    if process == os.getpid():
        client.close()


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _refused(bucket: Bucket, code: str, done: str) -> CmcError:
    if code == "NoSuchBucket":
        return StoreError(
            f"the bucket {bucket.name} does not exist ({bucket}); create it, or check its name and the endpoint"
        )
    if code in _CREDENTIALS:
        return StoreError(f"{bucket} rejects the credentials ({code}); {_GIVE}, and check this machine's clock")
    if code in _DENIED:
        return StoreError(
            f"the objects in {bucket} may not be {done} ({code}); allow s3:ListBucket on the bucket, and s3:GetObject, "
            "s3:PutObject, s3:DeleteObject below the prefix (with versions, s3:ListBucketVersions and "
            "s3:DeleteObjectVersion)"
        )
    if code in _ELSEWHERE:
        return StoreError(f"{bucket} is in another region ({code}); name the region in the address: ?region=NAME")
    return StoreError(
        f"the objects in {bucket} could not be {done}: the server answered {code or 'without a reason'}; {_again(done)}"
    )


def _again(done: str) -> str:
    return "nothing was changed, try again" if done == "written" else "try again"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
