from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.errors import InvalidInput
from cmc_mcp.store.objects.place import Bucket
from tests.support.memories import live

WRONG = (
    "s3://",
    "s3:///prefix",
    "s3://ab",
    "s3://Upper-Case",
    "s3://bucket:9000/prefix",
    "s3://bucket/../other",
    "s3://bucket/a//b",
    "s3://bucket/a%00b",
    "s3://bucket/ключ",
    "s3://bucket/" + "a/" * 500,
    "s3://bucket?region=",
    "s3://bucket?region=eu;x",
    "s3://bucket?endpoint=ftp://host",
    "s3://bucket?endpoint=https://",
    "s3://bucket?endpoint=https://host:99999",
    "s3://bucket?endpoint=https://host/path",
    "s3://bucket?endpoint=https://host&endpoint=https://other",
    "s3://bucket?key=a",
    "s3://bucket?region",
    "s3://bucket#x",
    "s3://[bucket",
    "gs://bucket",
)


@pytest.mark.parametrize("place", WRONG)
def test_an_address_that_is_malformed_is_refused_before_anything_is_made(place: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^objects: "):
        live(tmp_path / "m.db", objects=place)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "place",
    [
        "s3://AKIASECRET:hush@bucket/prefix",
        "s3://AKIASECRET@bucket",
        "s3://bucket?endpoint=https://AKIASECRET:hush@host",
        "s3://bucket?secret=hush",
        "s3://bucket?aws_secret_access_key=hush&region=AKIASECRET",
    ],
)
def test_credentials_in_an_address_are_refused_and_never_repeated(place: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        live(tmp_path / "m.db", objects=place)
    assert "hush" not in caught.value.message and "AKIASECRET" not in caught.value.message
    assert caught.value.__cause__ is None


def test_an_address_is_read_whole() -> None:
    assert Bucket.of("s3://a.bucket-1/one/two/?endpoint=http://127.0.0.1:9000/&region=eu-1") == Bucket(
        "a.bucket-1", "one/two/", "http://127.0.0.1:9000", "eu-1"
    )
    assert Bucket.of("s3://bucket") == Bucket("bucket")
    assert str(Bucket.of("s3://bucket/p?endpoint=https://host")) == "s3://bucket/p/ at https://host"
