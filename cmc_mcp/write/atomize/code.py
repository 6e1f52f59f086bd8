"""Code by its syntax tree: functions, classes with their methods, and the statements between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tree_sitter import Node

from cmc_mcp import limits
from cmc_mcp.write.atomize.blocks import Block, blank_line_runs, indented, trim
from cmc_mcp.write.atomize.grammar import Grammar, grammar_of, parse
from cmc_mcp.write.atomize.split import by_lines, parts

_CLASS_BYTES_MAX: Final = 2_048  # a larger class is divided into its header and its methods
_DEPTH_MAX: Final = 16  # classes within classes beyond this are not looked into
_WRAPPER_DEPTH_MAX: Final = 6

_BLANK_LINE: Final = re.compile(rb"(?>\r\n|[\r\n])[ \t\f\v]*+[\r\n]")
_GENERICS: Final = re.compile(rb"[\[<].*", re.DOTALL)


def code(data: bytes, language: str | None) -> tuple[Block, ...]:
    """Divide code (valid UTF-8) into functions, classes and the statements between; by blank lines without a grammar.

    Syntax errors do not raise: code that the grammar cannot place is divided at blank lines.

    >>> [(block.kind, block.path) for block in code(b"import os\\n\\ndef f():\\n    pass\\n", "python")]
    [('module', ()), ('function', ('f',))]
    """
    base = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    grammar = grammar_of(language, data)
    root = parse(data[base:], grammar) if grammar is not None else None
    if grammar is None or root is None:
        return tuple(
            Block(*part, "block", ())
            for run in blank_line_runs(data, base, len(data))
            for part in parts(data, *run, by_lines, keep_indent=True)
        )
    walk = _Walk(data, base, grammar)
    walk.region(root.children, base, base, len(data), "module", (), 0)
    return tuple(walk.blocks)


@dataclass(slots=True)
class _Span:
    """A part of a region: a definition with its node, or the text between definitions."""

    start: int
    end: int
    kind: str
    names: tuple[str, ...] = ()
    node: Node | None = None


class _Walk:
    """Turns a syntax tree into blocks. Regions tile their parent, so every byte lies in a region, whatever the tree."""

    def __init__(self, data: bytes, base: int, grammar: Grammar) -> None:
        self.data = data
        self.base = base
        self.grammar = grammar
        self.blocks: list[Block] = []

    def region(
        self, nodes: Sequence[Node], start: int, inner: int, end: int, kind: str, path: tuple[str, ...], depth: int
    ) -> None:
        """Divide `[start, end)`, whose members `nodes` begin at `inner`, into definitions and the text between."""
        spans, cuts = self._spans(nodes, start, inner, end)
        position = 0
        for span in spans:
            if span.node is not None:
                self._definition(span, span.node, path, depth)
                continue
            while position < len(cuts) and cuts[position] <= span.start:
                position += 1
            first = span.start
            while position < len(cuts) and cuts[position] < span.end:
                self._emit(first, cuts[position], kind, path)
                first = cuts[position]
                position += 1
            self._emit(first, span.end, kind, path)

    def _spans(self, nodes: Sequence[Node], start: int, inner: int, end: int) -> tuple[list[_Span], list[int]]:
        """Return the definitions and the loose text of a region, and the offsets after blank lines."""
        spans: list[_Span] = []
        cuts: list[int] = []
        loose, last, lead = start, inner, -1
        only_marks = True  # since the last definition: brackets and semicolons alone
        for node in nodes:
            first = max(last, self.base + node.start_byte)
            final = max(first, trim(self.data, first, min(end, self.base + node.end_byte))[1])
            gap = _BLANK_LINE.search(self.data, last, first) is not None
            if gap:
                cuts.append(first)
            found = _definition_of(node, self.grammar) if node.is_named else None
            beside = bool(spans) and only_marks and loose == last and not self._newline(last, first)
            if found is not None:
                begin = lead if lead >= 0 and not gap else first
                spans += [_Span(loose, begin, ""), _Span(begin, final, *found)]
                loose, lead, only_marks = final, -1, True
            elif beside and (not node.is_named or node.type in self.grammar.leading):
                spans[-1].end = loose = final  # "};" or a comment after the brace
            elif node.type in self.grammar.leading:
                lead = first if lead < 0 or gap else lead
                only_marks = False
            else:
                lead = -1
                only_marks = only_marks and not node.is_named
                if node.type == "ERROR":
                    cuts += [run for run, _ in blank_line_runs(self.data, first, final) if run > first]
            last = final
        if spans and only_marks:
            spans[-1].end = end  # a closing brace alone should not become a memory
        else:
            spans.append(_Span(loose, end, ""))
        return spans, cuts

    def _newline(self, start: int, end: int) -> bool:
        return self.data.find(b"\n", start, end) >= 0 or self.data.find(b"\r", start, end) >= 0

    def _definition(self, span: _Span, node: Node, path: tuple[str, ...], depth: int) -> None:
        path = path + span.names
        kind = "module" if span.kind == "scope" else span.kind
        if kind != "function" and depth < _DEPTH_MAX:
            body = node.child_by_field_name("body")
            members = node if span.kind == "scope" and body is None else body
            wide = span.kind == "scope" and members is not None and self._defines(members)
            if members is not None and (wide or span.end - span.start > _CLASS_BYTES_MAX):
                inner = self.base + members.start_byte
                self.region(members.children, span.start, inner, span.end, kind, path, depth + 1)
                return
        self._emit(span.start, span.end, kind, path)

    def _defines(self, node: Node) -> bool:
        return any(_definition_of(child, self.grammar) is not None for child in node.named_children)

    def _emit(self, start: int, end: int, kind: str, path: tuple[str, ...]) -> None:
        first, last = trim(self.data, start, end)
        if first < last:
            floor = self.blocks[-1].end if self.blocks else self.base
            for part in parts(self.data, indented(self.data, first, floor), last, by_lines, keep_indent=True):
                self.blocks.append(Block(*part, kind, path))


def _definition_of(node: Node, grammar: Grammar) -> tuple[str, tuple[str, ...], Node] | None:
    """Return kind, names and inner node of a definition, looking through exports, decorators and declarations."""
    outer: list[Node] = []
    level = [node]
    while len(outer) < _WRAPPER_DEPTH_MAX:
        inner: Node | None = None
        for child in level:
            if child.type in grammar.functions:
                return "function", _names(child, outer), child
            if child.type in grammar.classes and _has_body(child):
                return "class", _names(child, outer), child
            if child.type in grammar.scopes:
                return "scope", _scope_names(child), child
            if inner is None and child.type in grammar.wrappers:
                inner = child
        if inner is None:
            return None
        outer.append(inner)
        level = inner.named_children
    return None


def _has_body(node: Node) -> bool:
    # "struct s *p;" in C names a struct without defining one
    return not node.type.endswith("_specifier") or node.child_by_field_name("body") is not None


def _text(node: Node) -> str:
    return " ".join((node.text or b"").decode("utf-8", "replace").split())[: limits.TITLE_CHARS_MAX]


def _field(node: Node, *names: str) -> Node | None:
    for name in names:
        found = node.child_by_field_name(name)
        if found is not None:
            return found
    return None


def _names(node: Node, outer: Sequence[Node]) -> tuple[str, ...]:
    """Return the names of a definition: one name, or class and method for a method outside its class."""
    receiver = _field(node, "receiver")
    if receiver is not None:
        kind = next((_field(child, "type") for child in receiver.named_children), None)
        owner = _GENERICS.sub(b"", (kind.text or b"").lstrip(b"* (")) if kind is not None else b""
        name = _field(node, "name")
        return tuple(filter(None, (owner.decode("utf-8", "replace").strip(), _text(name) if name is not None else "")))
    declarator = _field(node, "declarator")
    if declarator is not None:
        return _declared(declarator)
    if node.type == "impl_item":
        return tuple(_text(kind) for kind in (_field(node, "type"),) if kind is not None)
    for holder in (node, *reversed(outer)):
        found = _field(holder, "name", "left", "property", "declarator")
        if found is not None:
            return (_text(found),)
    return ("default",) if any(holder.type == "export_statement" for holder in outer) else ()


def _declared(node: Node) -> tuple[str, ...]:
    """Return the names that a C or C++ declarator declares: `*A::m(int)` is `A`, `m`."""
    names: list[str] = []
    for _ in range(64):
        if node.type == "qualified_identifier":
            scope = _field(node, "scope")
            if scope is not None:
                names.append(_text(scope))
            inner = _field(node, "name")
        else:
            inner = _field(node, "declarator") or next(
                (child for child in node.named_children if child.type.endswith("declarator")), None
            )
        if inner is None:
            break
        node = inner
    return (*names, _text(node))


def _scope_names(node: Node) -> tuple[str, ...]:
    if node.type.startswith("preproc"):
        return ()
    name = _field(node, "name")
    return (_text(name).strip("\"'"),) if name is not None else ()
