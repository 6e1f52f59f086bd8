"""What keeps the house readable: documented ports, functions that do one thing, files that fit one idea."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cmc_mcp.store import ports

ROOT: Final = Path(__file__).parents[1]
LINES_MAX: Final = 450
FUNCTION_LINES_MAX: Final = 60
PARAMETERS_MAX: Final = 8
LONG_FILES: Final = {
    "cmc_mcp/memory.py": "the facade: signatures and their docstrings",
    "cmc_mcp/index/matrix.py": "one class whose arrays change together",
}
MANY_PARAMETERS: Final = {
    "adapters/langchain.py __init__",
    "adapters/langgraph.py __init__",
    "adapters/llamaindex.py __init__",
    "cmc_mcp/collection.py recall",
    "cmc_mcp/memory.py forget",
    "cmc_mcp/memory.py open",
    "cmc_mcp/memory.py recall",
    "cmc_mcp/memory.py revise",
}
"""What users call: the facade, the adapters' constructors."""


def modules() -> list[Path]:
    """Return the modules of the product, the links to the four top-level folders left out."""
    found = [
        path
        for folder in ("cmc_mcp", "adapters", "tools", "prompts")
        for path in (ROOT / folder).rglob("*.py")
        if not any(parent.is_symlink() for parent in path.parents)
    ]
    assert len(found) > 200
    return sorted(found)


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function with the path of its module."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield str(path.relative_to(ROOT)), node


def test_every_method_of_every_port_is_documented() -> None:
    bare = [
        f"{port.__name__}.{name}"
        for port in (getattr(ports, name) for name in ports.__all__)
        for name, method in inspect.getmembers(port, inspect.isfunction)
        if not name.startswith("_") and not method.__doc__
    ]
    assert bare == []
    assert sum(1 for _ in inspect.getmembers(ports.LedgerView, inspect.isfunction)) > 50


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{path} {node.name}": lines
        for path, node in functions()
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_only_what_users_call_has_many_parameters() -> None:
    many = set()
    for path, node in functions():
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if len([name for name in names if name not in ("self", "cls")]) > PARAMETERS_MAX and "/cli/" not in path:
            many.add(f"{path} {node.name}")
    assert many == MANY_PARAMETERS


def test_no_file_is_longer_than_it_may_be() -> None:
    long = {str(path.relative_to(ROOT)) for path in modules() if path.read_text().count("\n") > LINES_MAX}
    assert long == set(LONG_FILES)
