"""The address of objects in a bucket: `s3://bucket/prefix?endpoint=…&region=…`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from cmc_mcp.errors import InvalidInput

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
_PREFIX: Final = re.compile(r"(?:[\w!.*'()+=@ -]{1,255}/)*", re.ASCII)
_PREFIX_CHARS_MAX: Final = 900  # of the 1,024 bytes of a key
_WRITE: Final = "write it as s3://bucket/prefix?endpoint=https://host&region=name"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and the prefix of its keys, which is empty or ends in `/`."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None

    @classmethod
    def of(cls, url: str) -> Bucket:
        """Parse an address. Error messages never quote it, since it may hold a misplaced secret.

        Raises:
            InvalidInput: the address is malformed, or holds credentials.

        >>> Bucket.of("s3://memories/acme?region=eu-central-1")
        Bucket(name='memories', prefix='acme/', endpoint=None, region='eu-central-1')
        """
        try:
            parts = urlsplit(url)
            given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise InvalidInput.at("objects", f"is not the address of a bucket; {_WRITE}") from None
        if "@" in parts.netloc:
            raise InvalidInput.at(
                "objects", "holds credentials; remove them from the address, and set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            )  # fmt: skip
        options = dict(given)
        if len(options) < len(given) or options.keys() - {"endpoint", "region"} or parts.fragment:
            raise InvalidInput.at(
                "objects", f"has parameters other than endpoint and region, or one of them twice; {_WRITE}"
            )
        if not _BUCKET.fullmatch(parts.netloc):
            raise InvalidInput.at(
                "objects",
                f"lacks a valid bucket name: 3 to 63 lower-case letters, digits, dots and hyphens; {_WRITE}",
            )
        if "region" in options and not _REGION.fullmatch(options["region"]):
            raise InvalidInput.at("objects", f"has an invalid region; {_WRITE}")
        return cls(parts.netloc, _prefix(parts.path), _endpoint(options.get("endpoint")), options.get("region"))

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}{f' at {self.endpoint}' if self.endpoint else ''}"


def _prefix(path: str) -> str:
    text = unquote(path).strip("/")
    prefix = f"{text}/" if text else ""
    if len(prefix) > _PREFIX_CHARS_MAX or not _PREFIX.fullmatch(prefix) or {".", ".."} & set(text.split("/")):
        raise InvalidInput.at(
            "objects",
            "has an invalid prefix; join parts of letters, digits and !.*'()+=@_- with slashes, none empty, . or ..",
        )
    return prefix


def _endpoint(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or "@" in text or set("?#").intersection(text) or text.count("/") > 2 + text.endswith("/"):
        raise InvalidInput.at("objects", "has an invalid endpoint; use http:// or https:// and a host, without a path")
    return text.rstrip("/")
