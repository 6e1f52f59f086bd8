"""Objects: large bytes under their hash, kept per workspace beside the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cmc_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from cmc_mcp.store.protocol import Objects


def open_objects(place: str | Path, key: bytes | None = None) -> Objects:
    """Open an object store by its place: the path of a folder.

    Raises:
        InvalidInput: it is a URL of an unknown kind.
    """
    from cmc_mcp.store.objects.files import FileObjects

    text = str(place)
    if "://" in text and not text.startswith("file://"):
        raise InvalidInput.at(
            "objects", f"{text.partition('://')[0]}:// is no kind of object store this version has; give a folder"
        )
    return FileObjects(Path(text.removeprefix("file://")).expanduser().absolute(), key)
