from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("adapters", "examples", "prompts", "tools")
_SKIPPED = {"__pycache__", ".mypy_cache"}

pytestmark = pytest.mark.slow


def expected() -> set[str]:
    """Every module of the tree under the name it is installed by: the linked folders once, under the package."""
    found = {"cmc_mcp/py.typed"}
    for folder in ("cmc_mcp", *LINKED):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).parts
            if _SKIPPED & set(parts) or (folder == "cmc_mcp" and parts[1] in LINKED):
                continue
            found.add("/".join(parts if folder == "cmc_mcp" else ("cmc_mcp", *parts)))
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist of a copy of the tree, and the wheel that is built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    copy = tmp_path_factory.mktemp("tree") / "cmc"
    # a copy, links and all: a build writes into its tree, where others may be at work
    ignored = shutil.ignore_patterns(
        ".*", "__pycache__", "build", "dist", "*.egg-info", "tests", "benchmarks", "node_modules"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    here = metadata.version("setuptools").split(".")[0]  # new enough here, nothing need be downloaded
    isolation = ["--no-isolation"] if int(here) >= 80 else []
    done = subprocess.run(
        [sys.executable, "-m", "build", *isolation, "--outdir", str(folder), str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def names(built: Path) -> set[str]:
    return {name for name in wheel(built).namelist() if ".dist-info/" not in name}


def test_the_wheel_from_the_sdist_holds_exactly_the_tree(built: Path) -> None:
    assert expected() == {name for name in names(built) if name.endswith((".py", "py.typed"))}


def test_nothing_is_installed_under_a_generic_name(built: Path) -> None:
    assert {"cmc_mcp"} == {name.split("/")[0] for name in names(built)}


def test_the_declared_packages_are_the_folders_that_hold_modules() -> None:
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    modules = [
        name for name in expected() if name.endswith(".py") and not name.startswith("cmc_mcp/examples/documents/")
    ]
    folders = {name.rpartition("/")[0].replace("/", ".") for name in modules}
    assert folders <= declared
    for package in declared - folders:  # data alone
        assert any((ROOT / package.replace(".", "/")).iterdir()), package


@pytest.mark.parametrize(
    "folder",
    ["cmc_mcp/embed/data", "cmc_mcp/examples", "cmc_mcp/examples/documents", "cmc_mcp/prompts", "cmc_mcp/contracts/v1"],
)
def test_data_travels_with_the_wheel_byte_for_byte(built: Path, folder: str) -> None:
    inside = wheel(built)
    there = {
        f"{folder}/{path.name}": path.read_bytes()
        for path in (ROOT / folder).iterdir()
        if path.is_file() and not path.name.startswith(".") and path.suffix not in (".py", ".pyc")
    }
    assert there, folder
    assert there == {name: inside.read(name) for name in there if name in names(built)}


def test_the_wheel_says_its_licence_and_its_commands(built: Path) -> None:
    files = {name.rpartition("/")[2]: name for name in wheel(built).namelist() if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE", "entry_points.txt", "METADATA"} <= set(files)
    scripts = wheel(built).read(files["entry_points.txt"]).decode()
    assert re.search(r"^cmc = cmc_mcp\.cli", scripts, re.MULTILINE)
    assert re.search(r"^cmc-mcp = cmc_mcp\.cli", scripts, re.MULTILINE)


def test_the_sdist_keeps_the_top_folders_and_no_links(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    tops = {member.name.split("/")[1] for member in members if "/" in member.name}
    assert {"cmc_mcp", *LINKED, "pyproject.toml", "README.md", "LICENSE", "NOTICE"} <= tops
    assert not [
        member.name for member in members if re.search(r"/cmc_mcp/(adapters|examples|prompts|tools)/", member.name)
    ]


def test_the_package_finds_its_linked_folders_as_it_is_installed_here(tmp_path: Path) -> None:
    code = (
        "import cmc_mcp.tools, cmc_mcp.adapters, cmc_mcp.prompts, importlib.util as u, importlib.resources as r\n"
        "assert any(f.name.endswith('.md') for f in r.files('cmc_mcp.prompts').iterdir())\n"
        "assert any(f.is_file() for f in r.files('cmc_mcp.embed.data').iterdir())\n"
        "assert r.files('cmc_mcp.examples').joinpath('documents').is_dir()\n"
        "generic = [n for n in ('adapters', 'prompts', 'examples') if (s := u.find_spec(n)) and 'cmc' in str(s.origin)]\n"
        "assert not generic, generic\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
