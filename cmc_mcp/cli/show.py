"""How results look to people: tables and colour on a terminal, plain lines elsewhere.

Stored text is data: control characters in it are shown, never sent to the terminal, and it is never read as markup.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cmc_mcp.model.shown import body, clean, flat, one_line

if TYPE_CHECKING:
    from rich.console import Console


class Styled(NamedTuple):
    """An interval of text and how it looks on a terminal."""

    text: str
    style: str = ""


Cell = str | int | float | Styled | None


def bar(value: float, most: float, width: int) -> str:
    """Draw a value from 0 to `most` as a bar of at most `width` columns, in eighths of one; always `width` columns.

    >>> bar(1, 2, 4), bar(0.01, 1, 4), bar(0, 0, 2)
    ('██  ', '▏   ', '  ')
    """
    eighths = 0 if value <= 0 or most <= 0 else max(1, min(width * 8, round(width * 8 * value / most)))
    whole, part = divmod(eighths, 8)
    return ("█" * whole + " ▏▎▍▌▋▊▉"[part].strip()).ljust(width)


class Out:
    """Standard output, for people; or a terminal that is given."""

    def __init__(self, console: Console | None = None) -> None:
        self.fancy = console is not None or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb")
        self._console = console

    @property
    def console(self) -> Console:
        """The terminal; made on first use."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False, markup=False, emoji=False)
        return self._console

    @property
    def width(self) -> int:
        """The number of columns; 0 if lines are not cut."""
        return self.console.width if self.fancy else 0

    def line(self, *parts: str | Styled) -> None:
        """Print one line, whatever its parts hold."""
        self._print([Styled(flat(part.text), part.style) if isinstance(part, Styled) else flat(part) for part in parts])

    def text(self, text: str) -> None:
        """Print a text of ours as its lines are."""
        self._print([clean(text)])

    def body(self, text: str) -> None:
        """Print stored text: each of its lines begins with one space, as no line of an answer that shows one does."""
        self._print([body(text)])

    def _print(self, parts: Sequence[str | Styled]) -> None:
        intervals = [part if isinstance(part, Styled) else Styled(part) for part in parts]
        if not self.fancy:
            sys.stdout.write("".join(interval.text for interval in intervals) + "\n")
            return
        from rich.text import Text

        self.console.print(Text.assemble(*intervals), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Print a table; elsewhere than on a terminal, a header and tab-separated lines."""
        if not self.fancy:
            self._write([columns, *rows])
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in columns:
            table.add_column(name, overflow="fold")
        for row in rows:
            styled = [cell if isinstance(cell, Styled) else Styled(_text(cell)) for cell in row]
            table.add_row(*(Text(clean(cell.text), cell.style) for cell in styled))
        self.console.print(table)

    def pairs(self, rows: Iterable[tuple[str, Cell]]) -> None:
        """Print names and values, one a line, leaving out what has no value."""
        known = [(name, value) for name, value in rows if _text(value)]
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            shown = value if isinstance(value, Styled) else Styled(_text(value))
            self.line(Styled(name.ljust(width), "dim"), "  ", Styled(one_line(shown.text), shown.style))

    @staticmethod
    def _write(rows: Iterable[Sequence[Cell]]) -> None:
        for row in rows:
            sys.stdout.write("\t".join(one_line(_text(cell)) for cell in row) + "\n")


def _text(cell: Cell) -> str:
    if isinstance(cell, Styled):
        return cell.text
    return "" if cell is None else str(cell)
