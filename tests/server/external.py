"""Programs of others that the tests drive: installed once into a cache outside the repository, or skipped with a reason.

The cache is the folder that CMC_TEST_CACHE names, by default one in the system's temporary folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVE_HTTP = """
from cmc_mcp.environment import configuration
from cmc_mcp.server import serve_http
serve_http(configuration(), port=0)
"""
SERVE_STDIO = [sys.executable, "-m", "cmc_mcp.server"]
NODE_MIN = 20
_INSTALL_S = 600


def cache() -> Path:
    named = os.environ.get("CMC_TEST_CACHE")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"cmc-test-cache-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one test process at a time install something."""
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def npm(package: str, entry: str) -> list[str]:
    """The command that runs a program of an npm package, which is installed where it is not yet."""
    node, client = shutil.which("node"), shutil.which("npm")
    if node is None or client is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().removeprefix("v").partition(".")[0]) < NODE_MIN:
        pytest.skip(f"node {version.strip()} is older than {NODE_MIN}")
    folder = cache() / re.sub(r"\W+", "-", package).strip("-")
    script = folder / "node_modules" / entry
    with _alone(folder):
        if not script.exists():
            folder.mkdir(exist_ok=True)
            command = [client, "install", "--no-audit", "--no-fund", "--ignore-scripts", package]
            _install(command, folder, package)
    return [node, str(script)]


def python_with(name: str, *requirements: str) -> str:
    """The interpreter of a virtual environment of its own, with these installed."""
    key = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[
        :8
    ]  # of another tree, or before a change of pins
    folder = cache() / f"venv-{name}-{key}-{sys.version_info.major}.{sys.version_info.minor}"
    done = folder / "installed"
    with _alone(folder):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(_made(folder) + list(requirements), folder, " ".join(requirements))
            done.touch()
    return str(folder / "bin" / "python")


def _made(folder: Path) -> list[str]:
    """Make a virtual environment; return the command that installs into it: uv, which links what it has, or pip."""
    python = str(folder / "bin" / "python")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if uv is None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        return [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    return [uv, "pip", "install", "--quiet", "--python", python]


def _install(command: list[str], folder: Path, what: str) -> None:
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} could not be installed within {_INSTALL_S} s")
    if result.returncode:
        pytest.skip(f"{what} cannot be installed here: {result.stderr.strip()[-300:]}")


def environment(folder: Path) -> dict[str, str]:
    """The environment of a server with a store in a folder."""
    return {**os.environ, "CMC_STORE": str(folder / "memory.db"), "CMC_CONFIG": str(folder / "none.toml")}


@contextmanager
def shipped_over_http(folder: Path) -> Iterator[str]:
    """The shipped server over HTTP in a process of its own; gives the address."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE_HTTP], env=environment(folder), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            found = re.search(r"url=(\S+)", process.stderr.readline())
            assert found, "the server did not start"
            yield found[1]
        finally:
            process.terminate()
            process.communicate(timeout=10)


def run(command: list[str], folder: Path, timeout_s: int = 120) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command, env=environment(folder), capture_output=True, text=True, timeout=timeout_s, cwd=folder, check=False
    )
