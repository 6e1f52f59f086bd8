"""Prose by structure: Markdown as CommonMark reads it, and plain text as people write it.

The scanner reads each line once and never goes back, so its time is linear in the text.
"""

from __future__ import annotations

import re
from typing import Final

from cmc_mcp import limits
from cmc_mcp.write.atomize.blocks import Block, blank, indented, skip, trim
from cmc_mcp.write.atomize.split import Finder, by_lines, by_sentences, parts

_END: Final = rb"(?=[\r\n]|\Z)"
_LINE_KIND: Final = re.compile(
    rb"(?P<blank>[ \t\f\v]*+" + _END + rb")"
    rb"| {0,3}(?:(?P<heading>#{1,6}(?=[ \t\r\n]|\Z))"
    rb"|(?P<fence>`{3,}+(?=[^`\r\n]*+" + _END + rb")|~{3,}+)"
    rb"|(?P<quote>>)"
    rb"|(?P<rule>(?:(?:\*[ \t]*+){3,}+|(?:-[ \t]*+){3,}+|(?:_[ \t]*+){3,}+)" + _END + rb")"
    rb"|(?P<bullet>[-*+](?=[ \t\r\n]|\Z))"
    rb"|(?P<ordered>[0-9]{1,9}[.)](?=[ \t\r\n]|\Z)))"
    rb"|(?P<indent>(?: {4}| {0,3}\t))"
)
_LINE: Final = re.compile(rb"[^\r\n]*+(?:\r\n|[\r\n])?+")
_INDENT: Final = re.compile(rb"[ \t]*+")
_UNDERLINE: Final = re.compile(rb" {0,3}(=++|-++)[ \t]*+" + _END)
_TABLE_RULE: Final = re.compile(rb" {0,3}\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t]*+" + _END)
_FENCE_END: Final = re.compile(rb"(`++|~++)[ \t]*+" + _END)
_FENCE_RUN: Final = re.compile(rb"`++|~++")
_FRONT: Final = re.compile(rb"---[ \t]*+(?:\r\n|[\r\n])(?=[A-Za-z_\"'][^\r\n:]*+:|#)")
_FRONT_END: Final = re.compile(rb"(?>\r\n|[\r\n])(?:---|\.\.\.)[ \t]*+" + _END)
_PLAIN: Final = frozenset({"", "indent"})
_PROSE: Final = (by_sentences,)
_LINES: Final = (by_lines,)
_FINDERS: Final[dict[str, tuple[Finder, ...]]] = {
    "heading": _PROSE,
    "paragraph": _PROSE,
    "quote": _PROSE,
    "list": (by_lines, by_sentences),
    "table": _LINES,
    "code": _LINES,
}


def prose(data: bytes) -> tuple[Block, ...]:
    """Divide prose (valid UTF-8) into its blocks: headings, paragraphs, lists, tables, code, quotes.

    >>> [(block.kind, block.path) for block in prose(b"# Deploy\\n\\nWe use Fly.\\n- fast\\n- cheap\\n")]
    [('heading', ('Deploy',)), ('paragraph', ('Deploy',)), ('list', ('Deploy',))]
    """
    if len(data) <= limits.ATOM_BYTES_MAX and b"\n" not in data and b"\r" not in data:
        # most notes are one line: no scanner is built for them
        start, end = trim(data, 0, len(data))
        if start == end:
            return ()
        if start == 0 and not _kind(data, 0):
            return (Block(start, end, "paragraph", ()),)
    return tuple(_Scanner(data).run())


def _kind(data: bytes, position: int) -> str:
    match = _LINE_KIND.match(data, position)
    return (match.lastgroup or "") if match is not None else ""


def _title(line: str) -> str:
    text = line.strip().lstrip("#").strip()
    bare = text.rstrip("#")
    if not bare or bare[-1].isspace():
        text = bare
    return " ".join(text.split())[: limits.TITLE_CHARS_MAX] or line.strip()[:6]


class _Scanner:
    """A scanner over the lines of one text; `position` is always the start of a line."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.position = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        self.blocks: list[Block] = []
        self.sections: list[tuple[int, str]] = []
        self.path: tuple[str, ...] = ()

    def run(self) -> list[Block]:
        self._front_matter()
        while self._to_text():
            start = self.position
            match = _LINE_KIND.match(self.data, start)
            kind = (match.lastgroup or "") if match is not None else ""
            if match is None or kind in _PLAIN:
                self._paragraph(start, indent=kind == "indent")
            elif kind == "heading":
                self._next_line()
                self._heading(start, self.position, len(match.group().strip()))
            elif kind == "fence":
                self._fence(start, match.group("fence"))
            elif kind == "quote":
                self._next_line()
                self._flow()
                self._emit("quote", start, self.position)
            elif kind == "rule":
                self._next_line()
                self._emit("paragraph", start, self.position)
            else:
                self._list(start, match)
        return self.blocks

    def _next_line(self) -> None:
        match = _LINE.match(self.data, self.position)
        self.position = match.end() if match is not None else self.size

    def _to_text(self) -> bool:
        """Skip blank lines to the next line with text, in one step; return whether such a line exists."""
        first = skip(self.data, self.position, self.size)
        if first == self.size:
            return False
        self.position = indented(self.data, first, self.position)
        return True

    def _emit(self, kind: str, start: int, end: int) -> None:
        keep = kind == "code"
        first, last = trim(self.data, start, end)
        if first == last:
            return
        if keep:
            first = indented(self.data, first, start)
        if last - first <= limits.ATOM_BYTES_MAX:
            self.blocks.append(Block(first, last, kind, self.path))
            return
        for part in parts(self.data, first, last, *_FINDERS[kind], keep_indent=keep):
            self.blocks.append(Block(*part, kind, self.path))

    def _heading(self, start: int, end: int, level: int, title_end: int = 0) -> None:
        while self.sections and self.sections[-1][0] >= level:
            self.sections.pop()
        self.sections.append((level, _title(self.data[start : title_end or end].decode("utf-8"))))
        self.path = tuple(title for _, title in self.sections)
        self._emit("heading", start, end)

    def _front_matter(self) -> None:
        opening = _FRONT.match(self.data, self.position)
        closing = _FRONT_END.search(self.data, opening.end() - 1) if opening is not None else None
        if closing is not None:
            start, self.position = self.position, closing.end()
            self._next_line()
            self._emit("code", start, self.position)

    def _paragraph(self, start: int, *, indent: bool) -> None:
        self._next_line()
        previous, lines, all_indented = start, 1, indent
        while self.position < self.size:
            line = self.position
            mark = _UNDERLINE.match(self.data, line) if lines == 1 and not indent else None
            if mark is not None:
                self._next_line()
                self._heading(start, self.position, 1 if mark.group(1)[:1] == b"=" else 2, line)
                return
            if self._is_table(previous, line):
                self._emit("paragraph", start, previous)
                self._table(previous)
                return
            kind = self._interrupts(line)
            if kind is None:
                break
            all_indented = all_indented and kind == "indent"
            previous, lines = line, lines + 1
            self._next_line()
        self._emit("code" if all_indented else "paragraph", start, self.position)

    def _interrupts(self, line: int) -> str | None:
        """Return the kind of a line that continues the text before it, or None for a line that begins another block."""
        match = _LINE_KIND.match(self.data, line)
        kind = (match.lastgroup or "") if match is not None else ""
        if match is None or kind in _PLAIN:
            return kind
        if kind == "ordered" and match.group().strip()[:-1] != b"1":
            return ""
        if kind in ("bullet", "ordered") and blank(self.data, match.end(), self._line_end(match.end())):
            return ""
        return None

    def _line_end(self, position: int) -> int:
        match = _LINE.match(self.data, position)
        return match.end() if match is not None else self.size

    def _is_table(self, header: int, line: int) -> bool:
        match = _TABLE_RULE.match(self.data, line)
        return match is not None and b"|" in match.group() and self.data.find(b"|", header, line) >= 0

    def _table(self, start: int) -> None:
        self._next_line()
        self._flow(stop_at_quote=True)
        self._emit("table", start, self.position)

    def _flow(self, *, stop_at_quote: bool = False) -> None:
        """Advance to the end of a quote or table: a blank line, or a line that begins another block."""
        while self.position < self.size:
            kind = _kind(self.data, self.position)
            if kind not in _PLAIN and (kind != "quote" or stop_at_quote):
                return
            self._next_line()

    def _fence(self, start: int, mark: bytes) -> None:
        self._next_line()
        position = self.position
        while True:
            position = self.data.find(mark[:1] * 3, position)
            if position < 0:
                # never closed: CommonMark reads code to the end of the text
                self.position = self.size
                break
            closing = _FENCE_END.match(self.data, position)
            line = position
            while line > 0 and position - line < 4 and self.data[line - 1] == 0x20:
                line -= 1
            opens_line = position - line < 4 and self.data[line - 1] in b"\r\n"
            if closing is not None and opens_line and len(closing.group(1)) >= len(mark):
                self.position = closing.end()
                self._next_line()
                break
            run = _FENCE_RUN.match(self.data, position)
            position = run.end() if run is not None else position + 3
        self._emit("code", start, self.position)

    def _list(self, start: int, opening: re.Match[bytes]) -> None:
        marker = opening.group().strip()[-1:]
        indent = len(opening.group()) - len(opening.group().lstrip())
        items, end = [start], start
        self._next_line()
        after_blank = False
        end = self.position
        while self._to_line():
            line = self.position
            after_blank = line > end
            blanks = _INDENT.match(self.data, line)
            width = len(blanks.group().expandtabs(4)) if blanks is not None else 0
            if width < indent + 2:
                match = _LINE_KIND.match(self.data, line)
                kind = (match.lastgroup or "") if match is not None else ""
                if match is not None and kind in ("bullet", "ordered") and match.group()[-1:] == marker:
                    items.append(line)
                elif after_blank or kind not in _PLAIN:
                    break
            self._next_line()
            end = self.position
        self.position = end
        self._emit_list(items, end)

    def _to_line(self) -> bool:
        return self.position < self.size and self._to_text()

    def _emit_list(self, items: list[int], end: int) -> None:
        first, last = trim(self.data, items[0], end)
        if last - first <= limits.ATOM_BYTES_MAX:
            self._emit("list", first, last)
            return
        for item, following in zip(items, [*items[1:], end], strict=True):
            self._emit("list", item, following)
