"""What the pages say is so: their code runs and prints what they show, and what they name exists."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, examples, run

PAGES = sorted(DOCS.rglob("*.md"))
TOP = [ROOT / name for name in ("CONTRIBUTING.md", "README.md", "ARCHITECTURE.md", "SECURITY.md")]
RUN = [page for page in PAGES if examples(page) and page.name != "frameworks.md"]  # those: tests/adapters


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", RUN, ids=name)
def test_the_python_of_a_page_prints_what_the_page_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    shown = run(page)

    assert shown
    assert [expected for expected, _ in shown] == [printed for _, printed in shown]


def test_a_page_that_shows_another_output_is_found_out(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", encoding="utf-8")

    assert run(page) == [("3\n", "2\n")]


@pytest.mark.parametrize("page", [*PAGES, *TOP], ids=name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|docs|examples|scripts|benchmarks|cmc_mcp)/[\w./-]*\w)`", text))

    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, *TOP], ids=name)
def test_the_json_and_toml_of_a_page_can_be_read(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    for language, parse in (("json", json.loads), ("toml", tomllib.loads)):
        for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL):
            assert parse(block)


def test_the_variables_that_are_documented_are_those_that_the_code_reads() -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("cmc_mcp", "adapters", "tools")
        for path in (ROOT / folder).rglob("*.py")
    )
    read = set(re.findall(r'"(CMC_[A-Z_]+)"', source))
    read |= {f"{key}_FILE" for key in read if f"{key}_FILE" in source or key == "CMC_NEW_KEY"}  # `key_from` appends it

    page = (DOCS / "guides" / "configuration.md").read_text(encoding="utf-8")

    assert read == set(re.findall(r"`(CMC_[A-Z_]+)`", page))
