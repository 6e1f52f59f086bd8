"""What an adapter says when its framework is not installed, or too old."""

from __future__ import annotations


def missing(extra: str, error: ImportError) -> ImportError:
    """Return the error for a framework that cannot be imported: what to install.

    >>> str(missing("langchain", ModuleNotFoundError("No module named 'langchain_core'")))
    "No module named 'langchain_core'; this adapter needs its framework: pip install 'cmc-mcp[langchain]'"
    """
    kind = type(error)
    return kind(
        f"{error}; this adapter needs its framework: pip install 'cmc-mcp[{extra}]'", name=error.name, path=error.path
    )
