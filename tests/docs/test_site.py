"""The documentation is built as CI builds it: every warning is an error, and nothing of it is fetched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import cmc_mcp
from cmc_mcp import errors, limits
from cmc_mcp.tools import TOOLS
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow


def mkdocs(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run mkdocs as CI does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", *arguments],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    done = mkdocs("build", "--strict", "--site-dir", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text(page: Path) -> str:
    """Return a page without its tags."""
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_a_page_of_the_navigation_links_to_every_page_that_was_built(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")

    built = {str(page.relative_to(site)) for page in site.rglob("*.html")} - {"404.html", "index.html"}

    assert len(built) > 40
    assert [page for page in sorted(built) if f'href="{page}"' not in start] == []


class _Loads(HTMLParser):
    """Collects what a browser fetches for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.found.append(named.get("src") or "")
        if tag == "link" and named.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(named.get("href") or "")


def loaded(site: Path) -> Iterator[tuple[Path, str]]:
    """Yield each page with each address that it loads."""
    for page in site.rglob("*.html"):
        parser = _Loads()
        parser.feed(page.read_text(encoding="utf-8"))
        yield from ((page, address) for address in parser.found if address)


def test_whoever_reads_it_fetches_nothing_from_elsewhere(site: Path) -> None:
    every = list(loaded(site))

    assert len(every) > 100
    assert [address for _, address in every if "//" in address.partition("?")[0]] == []
    styles = "\n".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\(['\"]?(?:https?:)?//", styles) == []


def test_every_asset_that_a_page_loads_is_there(site: Path) -> None:
    missing = {
        address
        for page, address in loaded(site)
        if not address.startswith("data:") and page.name != "404.html"  # that one is served from anywhere
        and not (page.parent / address.partition("?")[0].partition("#")[0]).resolve().exists()
    }  # fmt: skip
    assert missing == set()


def test_the_reference_has_every_public_name(site: Path) -> None:
    folder = site / "reference" / "python"
    pages = {page.stem: text(page) for page in folder.glob("*.html")}

    index = pages.pop("index")

    for name in set(cmc_mcp.__all__) - {"__version__"}:
        assert f"cmc_mcp.{name}" in index
        home = getattr(cmc_mcp, name).__module__.rpartition(".")[2]
        assert name in (pages.get(home) or "") or name == "Settings", name
    assert "RAISES" in pages["memory"] and "as_of" in pages["memory"] and "idempotency" in pages["errors"]


def test_the_reference_has_every_tool_code_limit_and_setting(site: Path) -> None:
    reference = {page.stem: text(page) for page in (site / "reference").glob("*.html")}

    contracts = {path.stem for path in (ROOT / "cmc_mcp" / "contracts" / "v1").glob("*.json")}
    assert contracts == {tool.name for tool in TOOLS}
    for name in contracts:
        assert name in reference["tools"]
    codes = {
        value.code for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.CmcError)
    }
    for code in codes - {errors.CmcError.code}:
        assert code in reference["errors"]
    for name in vars(limits):
        assert not name.isupper() or name in reference["limits"], name
    for name in cmc_mcp.Settings.__dataclass_fields__:
        assert name in reference["settings"], name


def test_the_reference_has_every_command_of_the_help(site: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "cmc_mcp", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "300"},
    ).stdout
    names = re.findall(r"^│ ([a-z][a-z-]+) ", said, re.MULTILINE)
    page = text(site / "reference" / "command-line.html")

    assert len(names) > 20
    assert [name for name in names if f"cmc {name}" not in page] == []


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        ("[gone](nowhere.md), [there](index.md#no-heading)\n", ["nowhere.md", "no-heading"]),
        ("::: cmc_mcp.nothing\n", ["cmc_mcp.nothing"]),
    ],
)
def test_a_broken_link_or_name_fails_the_build(tmp_path: Path, page: str, wrong: list[str]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n{page}", encoding="utf-8")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    text = re.sub(r"^nav:\n.*", "nav: [index.md]\n", text, flags=re.DOTALL | re.MULTILINE)
    text = (
        text.replace("  - scripts/documentation.py\n", "")
        .replace("hooks:\n", "")
        .replace('paths: ["."]', f'paths: ["{ROOT}"]')
    )
    text = text.replace("- scripts/docstrings.py", f"- {ROOT}/scripts/docstrings.py")
    (tmp_path / "mkdocs.yml").write_text(text, encoding="utf-8")

    done = mkdocs("build", "--strict", "--site-dir", str(tmp_path / "site"), folder=tmp_path)

    assert done.returncode != 0
    assert [name for name in wrong if name not in done.stdout + done.stderr] == []
