"""Golden texts: sections of lines beside the tests, compared line by line, written anew by `python -m tests.pins.write`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "golden"
WRITE: Final = "CMC_PINS_WRITE"
"""The variable that names the files to be written anew, as a pattern."""
_HEAD: Final = "=== "
_SHOWN_MAX: Final = 60

Sections = Mapping[str, Sequence[str]]


def read(name: str) -> dict[str, list[str]]:
    """Return the sections of a golden file, each with its lines."""
    out: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.startswith(_HEAD):
            lines = out[line.removeprefix(_HEAD)] = []
        elif line:
            lines.append(line)
    return out


def check(name: str, now: Sections) -> None:
    """Compare sections with a golden file; or, while the goldens are written anew, write it.

    Raises:
        AssertionError: a line differs; the message names its section and shows the line before and after.
    """
    if fnmatch(name, os.environ.get(WRITE, "")):
        FOLDER.mkdir(exist_ok=True)
        text = "\n".join(
            f"{_HEAD}{section}\n" + "".join(f"{line}\n" for line in lines) for section, lines in now.items()
        )
        (FOLDER / name).write_text(text, encoding="utf-8")
    assert_same(name, read(name), now)


def assert_same(name: str, golden: Sections, now: Sections) -> None:
    """Compare sections with what they were.

    Raises:
        AssertionError: a line differs; the message names its section and shows the line before and after.
    """
    told = [f"[{section}] is new" for section in now if section not in golden]
    for section, lines in golden.items():
        if section not in now:
            told.append(f"[{section}] is gone")
        elif list(now[section]) != list(lines):
            told.append(f"[{section}]")
            told += [
                line
                for line in difflib.unified_diff(lines, now[section], n=0, lineterm="")
                if line[:2] not in ("--", "++", "@@")
            ]
    more = f"\n… and {len(told) - _SHOWN_MAX} more lines" if len(told) > _SHOWN_MAX else ""
    assert not told, f"{name} (- golden, + now):\n" + "\n".join(told[:_SHOWN_MAX]) + more
