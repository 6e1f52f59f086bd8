"""The grammars of code: which nodes are functions, classes and scopes; and parsing within bounds."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from tree_sitter import Language, Node, Parser

PARSE_BYTES_MAX: Final = 2 * 1024 * 1024
"""The largest code to parse. Larger code is generated or data, its tree takes fifty times its size, and it is divided at
blank lines."""

_DEPTH_MAX: Final = 500  # brackets open at once
_RUN_BYTES_MAX: Final = 2_000  # code without a token that ends a statement
_STEPS_A_BYTE: Final = 0.1  # hundreds of parser steps; real code takes 0.007
_STEPS_SPARE: Final = 400.0
_STEPS_STILL: Final = 100  # at one place; further steps there are not counted
_READ_BYTES: Final = 65_536

_PROBE_BYTES: Final = 2_048
_WILD_BYTES_MAX: Final = 24_576  # parsing this much text that is not code is still cheap
_WILD_TOKENS: Final = 100  # tokens out of place that make a probe wild; code cut anywhere has some

_CONTINUED: Final = re.compile(rb"(?:\\(?:\r\n|[\r\n])[ \t]*+){256}")
_NESTING: Final = re.compile(rb"[()\[\]{}<>;]")
_OPENING: Final = frozenset(b"([{")
_CLOSING: Final = frozenset(b")]}")
_CPP: Final = re.compile(rb"^[ \t]*+(?:namespace\b|template[ \t]*<|using[ \t]+namespace\b|class[ \t]+\w)", re.MULTILINE)
_STRING: Final = rb"\"(?:[^\"\\\r\n]|\\.)*+\"?"
_CHARS: Final = rb"'(?:[^'\\\r\n]|\\.)*+'?"
_REMARKS: Final = rb"//[^\r\n]*+|/\*(?:[^*]++|\*(?!/))*+(?:\*/)?"
_C_TEXT: Final = re.compile(rb"|".join((_REMARKS, _STRING, _CHARS, rb"^[ \t]*+#[^\r\n]*+")), re.MULTILINE)
_RUST_TEXT: Final = re.compile(rb"|".join((_REMARKS, _STRING, rb"'(?:[^'\\\r\n]|\\.)'")))
_PYTHON_TEXT: Final = re.compile(
    rb"#[^\r\n]*+|\"\"\"(?:[^\"\\]++|\\.|\"(?!\"\"))*+(?:\"\"\")?|'''(?:[^'\\]++|\\.|'(?!''))*+(?:''')?|"
    + rb"|".join((_STRING, _CHARS)),
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Grammar:
    """The rules of the code stage for one language, in the node types of its tree-sitter grammar.

    `wrappers` hold one definition (decorated, exported, templated). `scopes` are divided whatever their size. `leading`
    nodes belong to the definition that follows them. `breaks` are the tokens that end a statement; `text` matches the
    comments and strings.
    """

    module: str
    functions: frozenset[str]
    classes: frozenset[str]
    wrappers: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    leading: frozenset[str] = frozenset({"comment"})
    entry: str = "language"
    breaks: bytes = rb"[;{},\r\n]"
    text: re.Pattern[bytes] = _C_TEXT


def _types(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SCRIPT_FUNCTIONS: Final = (
    "function_declaration generator_function_declaration method_definition function_signature "
    "abstract_method_signature arrow_function function_expression generator_function"
)
_TYPESCRIPT_CLASSES: Final = "class_declaration abstract_class_declaration interface_declaration enum_declaration class"
_SCRIPT_WRAPPERS: Final = (
    "export_statement lexical_declaration variable_declaration variable_declarator ambient_declaration "
    "expression_statement assignment_expression field_definition public_field_definition"
)
_C_FUNCTIONS: Final = "function_definition"
_C_CLASSES: Final = "struct_specifier union_specifier enum_specifier"
_C_SCOPES: Final = "preproc_ifdef preproc_if preproc_else preproc_elif preproc_elifdef linkage_specification"

_GRAMMARS: Final = MappingProxyType(
    {
        "python": Grammar(
            "tree_sitter_python",
            _types("function_definition"),
            _types("class_definition"),
            _types("decorated_definition"),
            text=_PYTHON_TEXT,
        ),
        "javascript": Grammar(
            "tree_sitter_javascript",
            _types(_SCRIPT_FUNCTIONS),
            _types("class_declaration class"),
            _types(_SCRIPT_WRAPPERS),
        ),
        "typescript": Grammar(
            "tree_sitter_typescript",
            _types(_SCRIPT_FUNCTIONS),
            _types(_TYPESCRIPT_CLASSES),
            _types(_SCRIPT_WRAPPERS),
            _types("internal_module module"),
            _types("comment decorator"),
            "language_typescript",
        ),
        "tsx": Grammar(
            "tree_sitter_typescript",
            _types(_SCRIPT_FUNCTIONS),
            _types(_TYPESCRIPT_CLASSES),
            _types(_SCRIPT_WRAPPERS),
            _types("internal_module module"),
            _types("comment decorator"),
            "language_tsx",
        ),
        "go": Grammar(
            "tree_sitter_go",
            _types("function_declaration method_declaration"),
            _types("type_spec type_alias"),
            _types("type_declaration"),
        ),
        "rust": Grammar(
            "tree_sitter_rust",
            _types("function_item function_signature_item macro_definition"),
            _types("struct_item enum_item union_item trait_item impl_item"),
            scopes=_types("mod_item foreign_mod_item"),
            leading=_types("line_comment block_comment attribute_item"),
            breaks=rb"[;{},]",
            text=_RUST_TEXT,
        ),
        "java": Grammar(
            "tree_sitter_java",
            _types("method_declaration constructor_declaration compact_constructor_declaration"),
            _types(
                "class_declaration interface_declaration enum_declaration record_declaration "
                "annotation_type_declaration"
            ),
            scopes=_types("enum_body_declarations"),
            leading=_types("line_comment block_comment"),
            breaks=rb"[;{},]",
        ),
        "c": Grammar(
            "tree_sitter_c",
            _types(_C_FUNCTIONS),
            _types(_C_CLASSES),
            _types("type_definition declaration"),
            _types(_C_SCOPES),
            breaks=rb"[;{},]",
        ),
        "cpp": Grammar(
            "tree_sitter_cpp",
            _types(_C_FUNCTIONS),
            _types(_C_CLASSES + " class_specifier concept_definition"),
            _types("type_definition declaration template_declaration field_declaration"),
            _types(_C_SCOPES + " namespace_definition"),
            breaks=rb"[;{},]",
        ),
    }
)


def grammar_of(language: str | None, data: bytes = b"") -> Grammar | None:
    """Return the grammar of a language, or None if it is unknown. A C header written in C++ is parsed as C++.

    >>> grammar_of("c", b"namespace n {}").module, grammar_of("cobol")
    ('tree_sitter_cpp', None)
    """
    if language == "c" and _CPP.search(data):
        language = "cpp"
    return _GRAMMARS.get(language) if language is not None else None


def parse(data: bytes, grammar: Grammar) -> Node | None:
    """Parse code into a syntax tree, errors included; None if the parse would exceed the bounds.

    The parser's error recovery takes time and memory quadratic in the unclosed text (26 kB of one broken line, repeated,
    takes more than 2 GB). Text that is not code is therefore rejected first, and a parse that takes more steps than real
    code is abandoned. Both tests count steps instead of time, so the same bytes give the same answer on every machine.
    """
    if len(data) > PARSE_BYTES_MAX:
        return None
    bare = grammar.text.sub(_bared, data)
    if not _tame(data, bare, grammar):
        return None
    language = _language(grammar.module, grammar.entry)
    if len(bare) > _WILD_BYTES_MAX and _is_wild(bare, Parser(language)):
        return None
    counter = _Steps()
    try:
        tree = Parser(language).parse(
            lambda offset, _: data[offset : offset + _READ_BYTES], encoding="utf8", progress_callback=counter
        )
    except ValueError:
        # the binding raises this for a cancelled parse
        return None
    return tree.root_node


@lru_cache(maxsize=16)
def _language(module: str, entry: str) -> Language:
    return Language(getattr(importlib.import_module(module), entry)())


class _Steps:
    """A counter of the steps of one parse; it returns True, which cancels the parse, when they outrun the bytes read."""

    def __init__(self) -> None:
        self.offset = 0
        self.still = 0
        self.level = 0.0

    def __call__(self, offset: int, _: bool) -> bool:
        if offset > self.offset:
            self.level = max(0.0, self.level - _STEPS_A_BYTE * (offset - self.offset))
            self.offset, self.still = offset, 0
        self.still += 1
        # at its end the parser balances the tree without moving on, which is linear
        self.level += self.still <= _STEPS_STILL
        return self.level > _STEPS_SPARE


def _bared(match: re.Match[bytes]) -> bytes:
    quote = match.group()[:1]
    return quote * 2 if quote in b"\"'" else b" "


def _tame(data: bytes, bare: bytes, grammar: Grammar) -> bool:
    if max(map(len, re.split(grammar.breaks, bare))) > _RUN_BYTES_MAX:
        return False
    depth = angles = 0
    for match in _NESTING.finditer(data):
        token = data[match.start()]
        if token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            depth = max(0, depth - 1)
        elif token == 0x3C:
            angles += 1
        elif token == 0x3E:
            angles = max(0, angles - 1)
        if token in b";{}":
            angles = 0
        if depth > _DEPTH_MAX or angles > _DEPTH_MAX:
            return False
    return _CONTINUED.search(data) is None


def _is_wild(data: bytes, parser: Parser) -> bool:
    """Return whether too much of the text is misplaced in its language, by parsing it in small pieces."""
    wild = 0
    for start in range(0, len(data), _PROBE_BYTES):
        root = parser.parse(data[start : start + _PROBE_BYTES]).root_node
        wild += root.has_error and _misplaced(root) > _WILD_TOKENS
        if wild * _PROBE_BYTES > _WILD_BYTES_MAX:
            return True
    return False


def _misplaced(root: Node) -> int:
    count = 0
    stack = [root]
    while stack:
        node = stack.pop()
        for child in node.children:
            if node.is_error and child.child_count == 0:
                count += 1
            elif child.has_error:
                stack.append(child)
    return count
