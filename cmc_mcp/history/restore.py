"""Restore, as it is asked for: every argument is checked before a byte is touched."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from cmc_mcp.environment import check_workspace
from cmc_mcp.errors import InvalidInput, Problem

_PUBLIC_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
_PLACES: Final = ("backup", "path")


def check_arguments(given: Mapping[str, object]) -> None:
    """Refuse arguments of `Memory.restore` that no restore can mean.

    Raises:
        InvalidInput: an argument has the wrong type or form, or `public_key` is given without `checkpoint`; the error
            lists every wrong argument.
    """
    problems = [Problem(name, message) for name in _PLACES if (message := _place_fault(given[name]))]
    key, progress = given["key"], given["progress"]
    if key is not None and not isinstance(key, bytes):
        problems.append(Problem("key", f"is a {_type(key)}; pass the bytes of the key, or None for no encryption"))
    if not isinstance(given["replace"], bool):
        problems.append(Problem("replace", f"is a {_type(given['replace'])}; pass True or False"))
    for name in ("checkpoint", "public_key"):
        value = given[name]
        if value is not None and not isinstance(value, str):
            problems.append(Problem(name, f"is a {_type(value)}; pass text, or None"))
    public_key = given["public_key"]
    if isinstance(public_key, str) and not _PUBLIC_KEY.fullmatch(public_key):
        problems.append(Problem("public_key", "is not an Ed25519 public key; pass 64 hex digits"))
    if public_key is not None and given["checkpoint"] is None:
        problems.append(
            Problem(
                "public_key", "says who signed a checkpoint, and none is given; pass checkpoint too, or leave it out"
            )
        )
    problems += _workspace_faults(given["workspace"])
    if progress is not None and not callable(progress):
        problems.append(Problem("progress", f"is a {_type(progress)}; pass a function of (done, total), or None"))
    if problems:
        raise InvalidInput.of(problems)


def _place_fault(value: object) -> str | None:
    if not isinstance(value, str | os.PathLike):
        return f"is a {_type(value)}; pass the path of a file"
    path: object = os.fspath(value)
    if not isinstance(path, str):
        return "is a path of bytes; pass one of text"
    if not path.strip():
        return "is blank; pass the path of a file"
    try:
        wrong = b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        wrong = True
    return "has characters that no path can hold; pass the path of a file" if wrong else None


def _workspace_faults(value: object) -> list[Problem]:
    if not isinstance(value, str):
        return [Problem("workspace", f"is a {_type(value)}; pass the name of a workspace")]
    try:
        check_workspace(value)
    except InvalidInput as error:
        return list(error.problems)
    return []


def _type(value: object) -> str:
    return type(value).__name__
