"""The pages of the documentation as the tests read them: their code, and what it is said to print."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
_BLOCK: Final = re.compile(r"^```python\n(.*?)^```\n(?:\s*^```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)


def examples(page: Path) -> list[tuple[str, str | None]]:
    """Return the Python of a page, in order, each with the output that the page shows below it."""
    return [(code, said or None) for code, said in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def run(page: Path) -> list[tuple[str, str]]:
    """Run the examples of a page as one program; return what each was to print and what it printed."""
    names: dict[str, object] = {}
    out = []
    for code, expected in examples(page):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, page.name, "exec"), names)
        if expected is not None:
            out.append((expected, printed.getvalue()))
    return out
