"""Words of the code as Markdown: docstrings, help texts, comments, tables of them."""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; what is in a cell stays in it.

    >>> print(table(["name"], [["a|b"]]))
    | name |
    | --- |
    | a\\|b |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Write a value as inline code; nothing where there is nothing to write."""
    return f"`{text}`" if str(text) else ""


def prose(text: str | None) -> str:
    """Write the words of a docstring or a help text, its examples left out, so that Markdown leaves them as they are.

    >>> prose("for <title> and *.md, not `*.md`")
    'for &lt;title&gt; and \\\\*.md, not `*.md`'
    """
    words = re.split(r"\n\s*>>> ", inspect.cleandoc(text or ""))[0].rstrip()
    parts = re.split(r"(`[^`]*`)", words)
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return re.sub(r"([*_\[\]])", r"\\\1", text.replace("<", "&lt;").replace(">", "&gt;"))


def first_line(value: object) -> str:
    """Return the summary of a docstring, its first paragraph; a module is given by its name and is not imported."""
    text = _docstring(value) if isinstance(value, str) else inspect.getdoc(value)
    return prose((text or "").partition("\n\n")[0])


def _docstring(module: str) -> str | None:
    return ast.get_docstring(ast.parse(Path(module_spec(module).origin or "").read_text(encoding="utf-8")))


def module_spec(module: str) -> ModuleSpec:
    """Find a module without importing it."""
    found = find_spec(module)
    assert found is not None, module
    return found


def document(title: str, *parts: str) -> str:
    """Join the parts of a page, and say where it comes from."""
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


def comments(source: str) -> dict[str, str]:
    """Return what a comment says beside each name that is assigned, by the name.

    >>> comments("class A:\\n    b: int = 1  # of each\\n    c: int = 2\\n")
    {'b': 'of each'}
    """
    source = textwrap.dedent(source)
    said = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    out = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.end_lineno in said:
            out[node.target.id] = said[node.end_lineno]
    return out
