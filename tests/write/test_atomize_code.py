"""Which blocks code has."""
# ruff: noqa: E501

from __future__ import annotations

import pytest

from cmc_mcp.limits import ATOM_BYTES_MAX
from cmc_mcp.write.atomize import Block, atomize, check_blocks, language_of, media_type_of


def blocks_of(text: str, origin: str) -> tuple[Block, ...]:
    data = text.encode()
    blocks = atomize(data, modality="code", media_type=media_type_of(origin, "code"), origin=origin)
    check_blocks(data, blocks)
    return blocks


def shown(text: str, origin: str) -> list[tuple[str, tuple[str, ...], str]]:
    data = text.encode()
    return [(b.kind, b.path, data[b.start : b.end].decode()) for b in blocks_of(text, origin)]


PYTHON = '''"""Module."""
import os
import sys

LIMIT = 1
# about f
@dec
def f(a):
    """Doc."""

    return a


class A(B):
    def m(self): ...
f(1)  # call
'''


def test_python_blocks() -> None:
    assert shown(PYTHON, "a.py") == [
        ("module", (), '"""Module."""\nimport os\nimport sys'),
        ("module", (), "LIMIT = 1"),
        ("function", ("f",), '# about f\n@dec\ndef f(a):\n    """Doc."""\n\n    return a'),
        ("class", ("A",), "class A(B):\n    def m(self): ..."),
        ("module", (), "f(1)  # call"),
    ]


@pytest.mark.parametrize(
    ("origin", "text", "expected"),
    [
        ("a.js", "/** d */\nexport default function f() {}\nexport const g = (x) => x;\nclass A { m() {} }\nx.y = function () {};\n",
         [("function", ("f",)), ("function", ("g",)), ("class", ("A",)), ("function", ("x.y",))]),
        ("a.ts", "export interface I { a: string }\n@D()\nexport abstract class A<T> { m(): void {} }\nexport async function f() {}\nenum E { A }\nnamespace N { export function z() {} }\n",
         [("class", ("I",)), ("class", ("A",)), ("function", ("f",)), ("class", ("E",)), ("module", ("N",)), ("function", ("N", "z"))]),
        ("a.tsx", "export function F(p: P) { return <div/>; }\nconst G = () => <b>x</b>;\n", [("function", ("F",)), ("function", ("G",))]),
        ("a.go", "// F does\nfunc F(a int) int { return a }\nfunc (t *T[K]) M() {}\ntype T struct { a int }\n",
         [("function", ("F",)), ("function", ("T", "M")), ("class", ("T",))]),
        ("a.rs", "/// doc\n#[derive(Debug)]\npub struct S { a: i32 }\nimpl Tr for S { fn m(&self) {} }\nmod t { fn g() {} }\nfn main() {}\n",
         [("class", ("S",)), ("class", ("S",)), ("module", ("t",)), ("function", ("t", "g")), ("function", ("main",))]),
        ("A.java", "/** d */\n@Ann\npublic class A { void m() {} }\ninterface I {}\nrecord R(int a) {}\n",
         [("class", ("A",)), ("class", ("I",)), ("class", ("R",))]),
        ("a.c", "/* d */\nstatic int *f(int a) { return 0; }\nstruct s { int a; };\ntypedef struct { int b; } t;\n",
         [("function", ("f",)), ("class", ("s",)), ("class", ("t",))]),
        ("a.h", "namespace n { class A { void m() {} }; }\ntemplate <class T> T f(T a) { return a; }\nvoid A::m() {}\n",
         [("module", ("n",)), ("class", ("n", "A")), ("function", ("f",)), ("function", ("A", "m"))]),
    ],
)  # fmt: skip
def test_definitions_of_each_language(origin: str, text: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert [(block.kind, block.path) for block in blocks_of(text, origin)] == expected


def test_docs_and_closing_tokens_go_with_their_definition() -> None:
    text = "fn a() {} // beside\n/// doc\n#[x]\nfn b() {}\n\n// alone\n\nfn c() {}\n"
    assert [part for _, _, part in shown(text, "a.rs")] == [
        "fn a() {} // beside", "/// doc\n#[x]\nfn b() {}", "// alone", "fn c() {}",
    ]  # fmt: skip


def test_a_large_class_is_its_header_and_methods() -> None:
    methods = "\n".join(f"    def m{i}(self):\n        return '{'x' * 200}'\n" for i in range(20))
    blocks = shown(f'class A:\n    """Doc."""\n\n    x = 1\n\n{methods}', "a.py")
    assert [(kind, path) for kind, path, _ in blocks[:4]] == [
        ("class", ("A",)), ("class", ("A",)), ("function", ("A", "m0")), ("function", ("A", "m1")),
    ]  # fmt: skip
    assert blocks[0][2] == 'class A:\n    """Doc."""'
    assert blocks[2][2].startswith("    def m0")
    assert len(blocks) == 22


def test_a_large_function_is_divided_at_lines() -> None:
    body = "".join(f"    value_{i} = compute({i})\n" for i in range(2_000))
    blocks = shown(f"def f():\n{body}", "a.py")
    assert len(blocks) > 3
    assert all(path == ("f",) and len(part) <= ATOM_BYTES_MAX for _, path, part in blocks)
    assert all(part.startswith("    value_") for _, _, part in blocks[1:])


def test_an_edit_changes_one_block() -> None:
    functions = [f"def f{i}(a):\n    b = a + {i}\n\n    return b\n" for i in range(300)]
    before = set(shown("\n\n".join(functions), "a.py"))
    functions[150] = functions[150].replace("return b", "return b * 2")
    after = set(shown("\n\n".join(functions), "a.py"))
    assert (len(before - after), len(after - before)) == (1, 1)


def test_a_syntax_error_leaves_the_rest_in_place() -> None:
    text = "def a():\n    return 1\n\ndef b(:\n    ) ] oops\n\ndef c():\n    return 2\n"
    paths = {path for _, path, _ in shown(text, "a.py")}
    assert ("a",) in paths


def test_unknown_language_is_divided_at_blank_lines() -> None:
    assert shown("  a\n  b\n\n\n\tc\n", "a.f90") == [("block", (), "  a\n  b"), ("block", (), "\tc")]


def test_media_types_and_languages() -> None:
    assert media_type_of("src/a.PY", "code") == "text/x-python"
    assert media_type_of("file:///a/b.d/README", "text") == "text/plain"
    assert media_type_of("https://example.org", "text") == "text/plain"
    assert media_type_of("C:\\x\\a.tsx", "code") == "text/x-tsx"
    assert media_type_of("", "event") == "application/json"
    assert language_of("Text/X-C++; charset=utf-8") == "cpp"
    assert language_of("application/json") is None
