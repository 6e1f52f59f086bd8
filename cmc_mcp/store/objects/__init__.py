"""Objects: large contents stored under their hash, per workspace, in a folder beside the store or in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cmc_mcp.errors import InvalidInput, StoreError

if TYPE_CHECKING:
    from cmc_mcp.store.ports import Objects


def open_objects(place: str | Path, key: bytes | None = None) -> Objects:
    """Open an object store by its place: the path of a folder, or `s3://bucket/prefix?endpoint=…&region=…`.

    Raises:
        InvalidInput: the place is a URL of an unknown kind, or malformed.
        StoreError: the bucket cannot be opened.
    """
    text = str(place)
    scheme = text.partition("://")[0].lower() if "://" in text else "file"
    if scheme == "s3":
        return _bucket(text, key)
    if scheme != "file":
        raise InvalidInput.at(
            "objects",
            f"{scheme:.20}:// is an unknown kind of object store; use a folder, or s3://bucket/prefix",
        )
    from cmc_mcp.store.objects.files import FileObjects

    return FileObjects(Path(text.removeprefix("file://")).expanduser().absolute(), key)


def _bucket(url: str, key: bytes | None) -> Objects:
    from cmc_mcp.store.objects.place import Bucket

    bucket = Bucket.of(url)
    try:
        from cmc_mcp.store.objects.s3 import S3Objects
    except ImportError as error:
        raise StoreError(
            f"objects in a bucket need a driver ({error.name} is missing): pip install 'cmc-mcp[s3]'"
        ) from error
    return S3Objects.open(bucket, key)
