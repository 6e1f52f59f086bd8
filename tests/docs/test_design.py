"""What the design pages list is what there is: the domains of hashes, and the tables."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import apsw

from cmc_mcp import Memory
from tests.docs.pages import DOCS, ROOT

DESIGN = DOCS / "design"
_DOMAIN = re.compile(r"cmc/[a-z{}.-]+(?:/[a-z{}.]+)?/\d+")


def test_every_domain_of_a_hash_is_on_a_page() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "cmc_mcp").rglob("*.py"))
    made = {re.sub(r"\{[^}]*\}", "NAME", domain) for domain in _DOMAIN.findall(source)} - {"cmc/test/1"}

    pages = "\n".join(page.read_text(encoding="utf-8") for page in DESIGN.glob("*.md"))
    listed = set(re.findall(r"cmc/[\w-]+(?:/[A-Z]+)?/\d+", pages))

    assert len(made) > 15
    assert made == listed


def test_every_table_is_on_the_page_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with Memory.open(path, embedder=None):
        pass
    with closing(apsw.Connection(str(path))) as raw:
        made = {str(name) for (name,) in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    made = {name for name in made if not name.startswith("sqlite_")}

    section = (DESIGN / "store.md").read_text(encoding="utf-8").partition("\n## 2")[0]
    listed = set(re.findall(r"`([a-z_]+)`", section))

    assert sorted(made - listed) == []
