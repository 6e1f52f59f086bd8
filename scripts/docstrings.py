"""The griffe extension of `mkdocs.yml`: docstrings, written for people and doctest, as Markdown shows them."""

from __future__ import annotations

import re
from typing import Any

import griffe


def marked(text: str) -> str:
    """Fence the examples of a docstring, and drop the colons in front of a literal block.

    >>> marked("Add.\\n\\n>>> 1 + 1\\n2\\n\\nDone.").splitlines()[2:6]
    ['```pycon', '>>> 1 + 1', '2', '```']
    >>> marked("The tree.\\n\\n::\\n\\n    a\\n      b").splitlines()[2:]
    ['    a', '      b']
    """
    text = re.sub(r"^::\n\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"::\n\n(?=    )", ":\n\n", text)
    return re.sub(r"^>>> (?:.+\n?)+", lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text, flags=re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites each docstring as it is loaded."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = marked(obj.docstring.value)
