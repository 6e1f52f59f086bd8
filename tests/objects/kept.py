"""The same objects in a folder and in a bucket, for tests that ask both, and what lies there behind the store's back."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.store.objects import open_objects
from cmc_mcp.store.ports import Objects
from tests.objects import server

PLACES = ("folder", "bucket")


class Kept:
    """Objects in a folder."""

    def __init__(self, place: str) -> None:
        self.place = place

    def open(self, key: bytes | None = None) -> Objects:
        """Open them as the product does."""
        return open_objects(self.place, key)

    def raw(self) -> dict[str, bytes]:
        """Every envelope by its name below the place."""
        folder = Path(self.place)
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    def write(self, name: str, data: bytes) -> None:
        """Put other bytes in the place of an envelope."""
        (Path(self.place) / name).write_bytes(data)

    def remove(self, name: str) -> None:
        """Take an envelope away."""
        (Path(self.place) / name).unlink()


class KeptInBucket(Kept):
    """Objects in a bucket, below a prefix."""

    def __init__(self, path: Path) -> None:
        self.server = server.Server()
        self.bucket = self.server.bucket(path)
        super().__init__(f"s3://{self.bucket}/some/prefix?endpoint={server.endpoint()}")

    def raw(self) -> dict[str, bytes]:
        return {key.removeprefix("some/prefix/"): data for key, data in self.server.raw(self.bucket).items()}

    def write(self, name: str, data: bytes) -> None:
        self.server.client.put_object(Bucket=self.bucket, Key=f"some/prefix/{name}", Body=data)

    def remove(self, name: str) -> None:
        self.server.client.delete_object(Bucket=self.bucket, Key=f"some/prefix/{name}")


def kept_in(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Make the place of a test's objects."""
    if kind == "folder":
        return Kept(str(folder / "memory.db.objects"))
    server.signed_in(monkeypatch)
    return KeptInBucket(folder)
