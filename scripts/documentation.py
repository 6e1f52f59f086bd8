"""The hook of `mkdocs.yml`: adds the reference, made from the code, and the documents that lie at the top of the repository."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from reference import Page, pages  # noqa: E402

TOP: Final = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_SECTION: Final = "Reference"
_LINK: Final = re.compile(r"\[([^\]]+)\]\(((?!https?://|#)[^)]+)\)")
_made: list[Page] = []


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the reference, and put its pages into the navigation."""
    _made[:] = pages()
    python = [{page.title: page.path} for page in _made if "/python/" in page.path]
    others = [{page.title: page.path} for page in _made if "/python/" not in page.path]
    for entry in config.nav or []:
        if _SECTION in entry:
            entry[_SECTION] = [{"Python": python}, *others]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie under `docs/`."""
    for page in _made:
        files.append(File.generated(config, page.path, content=page.text))
    for name in TOP:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=published(text)))
    return files


def published(text: str) -> str:
    """Point the links of a document at the top of the repository to its place in the site.

    >>> published("[how](docs/releasing.md), [map](ARCHITECTURE.md#one), [licence](LICENSE)")
    '[how](releasing.md), [map](ARCHITECTURE.md#one), licence'
    """

    def moved(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        if target.startswith("docs/"):
            return f"[{words}]({target.removeprefix('docs/')})"
        return found[0] if target.partition("#")[0] in TOP else words

    return _LINK.sub(moved, text)
