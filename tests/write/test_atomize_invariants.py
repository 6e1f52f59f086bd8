"""For any bytes, the blocks and the whitespace between them are the source."""
# ruff: noqa: E501

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import IntegrityError
from cmc_mcp.limits import ATOM_BYTES_MAX
from cmc_mcp.write.atomize import Block, atomize, check_blocks, segments

MEDIA = {
    "python": "text/x-python",
    "javascript": "text/javascript",
    "typescript": "text/x-typescript",
    "tsx": "text/x-tsx",
    "go": "text/x-go",
    "rust": "text/x-rust",
    "java": "text/x-java",
    "c": "text/x-c",
    "cpp": "text/x-c++",
    "none": "text/x-unknown",
}
SNIPPETS = {
    "python": "import os\n\n# why\n@dec\nasync def f(a):\n    '''é'''\n    return [1]\n\nclass A(B):\n    x = 1\n    def m(self): ...\n",
    "javascript": "import a from 'b';\n/** d */\nexport const f = async (x) => { return `${x}` };\nclass A { #p = 1; m() {} }\n",
    "typescript": "export interface I { a: string }\nabstract class A<T> { @D() m(x: T): void {} }\nnamespace N { function f() {} }\n",
    "tsx": "export function F(p: P) { return <div a={p}>é</div>; }\n",
    "go": "package p\n// F\nfunc (t *T[K]) F(a int) {}\ntype T struct { a int }\n",
    "rust": "//! d\n#[derive(A)]\npub struct S<'a>(&'a str);\nimpl S { /// x\n fn f() {} }\nmod m { fn g() {} }\n",
    "java": "package a;\n@A public class C { /** x */ int f() { return 1; } enum E { A; void g() {} } }\n",
    "c": "#ifndef A\n#define A\nstatic int *f(int a) { return 0; } // x\nstruct s { int a; };\n#endif\n",
    "cpp": "namespace n { template <class T> struct S { T f() { return {}; } }; }\nint A::m() const { return 1; }\n",
    "none": "a b\n  c\n\n\td\n",
}
LINES = st.sampled_from(
    [
        "",
        " ",
        "\t",
        "\u00a0",
        "\u2028",
        "\ufeff",
        "# A",
        "## B #",
        "===",
        "---",
        "```",
        "~~~",
        "   ```py",
        "> q",
        "- a",
        "* b",
        "1. c",
        "10) d",
        "  - e",
        "    f",
        "| a | b |",
        "|---|:-:|",
        "text. More",
        "é漢。字",
        "a: b",
        "...",
        "e\u0301" * 9,
        "#",
        "-",
        "x" * 90,
    ]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r", " "])).map("".join), max_size=40
).map("".join)


def divided(data: bytes, modality: str, media_type: str = "text/plain") -> tuple[Block, ...]:
    blocks = atomize(data, modality=modality, media_type=media_type, origin="x")
    check_blocks(data, blocks)
    joined = b"".join(p if isinstance(p, bytes) else data[p.start : p.end] for p in segments(data, blocks))
    assert joined == data
    assert blocks == atomize(data, modality=modality, media_type=media_type, origin="x")
    if modality in ("text", "code"):
        assert all(block.end - block.start <= ATOM_BYTES_MAX for block in blocks)
    return blocks


@given(TEXTS)
@settings(max_examples=600)
def test_any_text_is_its_blocks(text: str) -> None:
    divided(text.encode(), "text")
    divided(text.encode(), "tool:result")


@given(st.lists(st.tuples(TEXTS, st.integers(1, 400)), max_size=4))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_large_blocks_are_divided(parts: list[tuple[str, int]]) -> None:
    data = "".join(text * times for text, times in parts).encode()[:200_000].decode("utf-8", "ignore").encode()
    divided(data, "text")
    divided(data, "code")


@pytest.mark.parametrize("language", list(MEDIA))
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_any_code_is_its_blocks(language: str, data: st.DataObject) -> None:
    source = SNIPPETS[language] * data.draw(st.sampled_from([1, 2, 30]))
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(source)))
        end = data.draw(st.integers(start, min(len(source), start + 12)))
        source = source[:start] + data.draw(TEXTS) + source[end:]
    divided(source.encode(), "code", MEDIA[language])


@pytest.mark.parametrize("language", list(MEDIA))
@given(text=TEXTS)
@settings(max_examples=60, deadline=None)
def test_text_given_as_code_is_its_blocks(language: str, text: str) -> None:
    divided(text.encode(), "code", MEDIA[language])


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 100_000,
        "word " * 400_000,
        "One sentence. " * 60_000,
        "a" * 1_000_000,
        "漢" * 300_000,
        "- " * 100_000,
        "".join(" " * (i % 90) + "- a\n" for i in range(100_000)),
        "```\n" + "a b\n" * 200_000,
        "a ``` b\n" * 50_000,
        "`" * 500_000,
        "." * 500_000 + "a",
        "#" * 500_000,
        "*" * 500_000 + "a",
        "|-" * 300_000,
        "|a|\n|-|\n" * 50_000,
        "---\na: b\n" * 50_000,
        " " * 1_000_000 + "a",
        "\u00a0" * 500_000 + "a",
        "a" + "\u00a0" * 500_000,
        "a\r" * 200_000,
        "> a\n" * 200_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_pathological_text_is_divided(text: str) -> None:
    divided(text.encode(), "text")
    divided(text.encode(), "code")


@pytest.mark.parametrize("language", ["python", "typescript", "java", "c", "rust"])
@pytest.mark.parametrize(
    "unit", ["(", "a<", "{", "a=>", "int f( { ) ;\n", "->", "a (*", "\\\n", "}", "a", "a b\n", '"\n']
)
def test_pathological_code_is_divided(language: str, unit: str) -> None:
    divided((unit * (150_000 // len(unit))).encode(), "code", MEDIA[language])


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([(0, 2)], "after the last"),
        ([(0, 3), (4, 7), (0, 1)], "out of order"),
        ([(0, 3), (2, 6)], "out of order"),
        ([(0, 3), (4, 4)], "out of order"),
        ([(0, 4), (4, 6)], "cuts a character"),
        ([(0, 3), (3, 4), (4, 8)], "blank"),
        ([(4, 8)], "before block 0"),
        ([(0, 9)], "out of order"),
    ],
)
def test_wrong_blocks_are_refused(blocks: list[tuple[int, int]], message: str) -> None:
    data = "abc 漢x".encode()
    with pytest.raises(IntegrityError, match=message):
        check_blocks(data, [Block(start, end, "paragraph", ()) for start, end in blocks])


def test_other_modalities_are_one_block() -> None:
    data = b'\n{"a":\n\n1}\n'
    assert divided(data, "event") == (Block(0, len(data), "whole", ()),)
    assert divided(b" \n", "tool:call") == ()
