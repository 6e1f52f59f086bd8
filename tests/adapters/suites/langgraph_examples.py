"""The example, the lines of the README and the import, as a user would meet them: fake models, no network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cmc_mcp.examples import langgraph_agent

ROOT = Path(__file__).parents[3]


def test_the_example_remembers_across_conversations_and_forgets_poison(capsys):
    langgraph_agent.main()
    assert capsys.readouterr().out.splitlines() == [
        "You know: nothing yet",
        "You know: I am allergic to walnuts",
        "You know: nothing yet",
        "You know: I am allergic to walnuts",
        "I am allergic to walnuts: written by local",
    ]


def test_the_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/frameworks.md").read_text(), re.DOTALL)
    mine = [block for block in blocks if "cmc_mcp.adapters.langgraph" in block]
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(mine[0], scope)
    assert capsys.readouterr().out.strip() == "Ana is allergic to walnuts | Ana likes nuts | local"
    scope["store"].close()


def test_the_adapter_imports_neither_a_graph_nor_another_framework():
    others = "('langgraph.graph', 'llama_index', 'mcp')"
    code = f"import sys, cmc_mcp.adapters.langgraph; print([name for name in sys.modules if name in {others}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_lines_of_the_guide_run_in_any_order_and_again_in_one_folder(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/frameworks.md").read_text(), re.DOTALL)
    ours = [block for block in blocks if "adapters.langgraph" in block or "adapters.langchain" in block]
    assert len(ours) == 2
    said = []
    for folder, order in (("a", (0, 1, 0, 1)), ("b", (1, 0, 0, 1))):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        for place in order:
            scope: dict[str, object] = {}
            exec(ours[place], scope)
            said.append((place, capsys.readouterr().out))
            scope["store"].close()
    assert len(set(said)) == 2
