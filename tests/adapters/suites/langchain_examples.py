"""The example, and the lines of the README, as a user would run them: fake models, no network."""

from __future__ import annotations

import re
from pathlib import Path

from cmc_mcp.examples import langchain_rag

ROOT = Path(__file__).parents[3]


def test_the_example_answers_cites_and_remembers_what_it_knew_before(capsys):
    langchain_rag.main()
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "Above 500 euros [travel.md].",
        "1 added, 1 deleted, 1 as before",
        "now: Travel needs approval above 900 euros. written by local",
        "then: Travel needs approval above 500 euros.",
    ]


def test_the_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/frameworks.md").read_text(), re.DOTALL)
    mine = [block for block in blocks if "cmc_mcp.adapters.langchain" in block]
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(mine[0], scope)
    assert capsys.readouterr().out.strip() == "The kettle is in the attic | The kettle is in the cellar | local"
    scope["store"].close()
