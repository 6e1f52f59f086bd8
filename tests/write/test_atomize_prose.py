"""Which blocks prose has."""

from __future__ import annotations

import random

import pytest

from cmc_mcp.limits import ATOM_BYTES_MAX
from cmc_mcp.write.atomize import Block, atomize, check_blocks


def blocks_of(text: str) -> tuple[Block, ...]:
    data = text.encode()
    blocks = atomize(data, modality="text", media_type="text/markdown", origin="a.md")
    check_blocks(data, blocks)
    return blocks


def shown(text: str) -> list[tuple[str, str]]:
    data = text.encode()
    return [(block.kind, data[block.start : block.end].decode()) for block in blocks_of(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\ufeff \u00a0\n", []),
        ("One line.", [("paragraph", "One line.")]),
        ("\ufeffOne line.\n", [("paragraph", "One line.")]),
        ("a\nb\n\nc\r\n \r\nd\r\re", [("paragraph", t) for t in ("a\nb", "c", "d", "e")]),
        ("# A\ntext", [("heading", "# A"), ("paragraph", "text")]),
        ("#hashtag", [("paragraph", "#hashtag")]),
        ("Title\n=====\ntext", [("heading", "Title\n====="), ("paragraph", "text")]),
        ("a\nb\n---\nc", [("paragraph", "a\nb"), ("paragraph", "---"), ("paragraph", "c")]),
        ("- a\n- b\n\n  more\n- c\n\ntext", [("list", "- a\n- b\n\n  more\n- c"), ("paragraph", "text")]),
        ("- a\n* b", [("list", "- a"), ("list", "* b")]),
        ("1. a\n   - b\n2. c\nlazy", [("list", "1. a\n   - b\n2. c\nlazy")]),
        ("It was\n1986. A year", [("paragraph", "It was\n1986. A year")]),
        (
            "text\n```py\na\n\n# b\n```\nmore",
            [("paragraph", "text"), ("code", "```py\na\n\n# b\n```"), ("paragraph", "more")],
        ),
        ("````\n```\n````\nx", [("code", "````\n```\n````"), ("paragraph", "x")]),
        ("```\nnever closed\n\n# b", [("code", "```\nnever closed\n\n# b")]),
        ("```inline``` code", [("paragraph", "```inline``` code")]),
        ("> a\nlazy\n\n> b", [("quote", "> a\nlazy"), ("quote", "> b")]),
        ("|a|b|\n|-|-|\n|1|2|\n\nx", [("table", "|a|b|\n|-|-|\n|1|2|"), ("paragraph", "x")]),
        ("Here:\n|a|b|\n|-|-|\n|1|2|", [("paragraph", "Here:"), ("table", "|a|b|\n|-|-|\n|1|2|")]),
        ("x\n\n    code\n      more\n", [("paragraph", "x"), ("code", "    code\n      more")]),
        ("---\ntitle: x\n\ntags: [a]\n---\n# H", [("code", "---\ntitle: x\n\ntags: [a]\n---"), ("heading", "# H")]),
        (
            "---\n\nno front matter\n\n---",
            [("paragraph", "---"), ("paragraph", "no front matter"), ("paragraph", "---")],
        ),
    ],
)
def test_blocks(text: str, expected: list[tuple[str, str]]) -> None:
    assert shown(text) == expected


def test_headings_set_the_path_of_what_follows() -> None:
    text = "intro\n\n# A #\n\na\n\n## B\n\nb\n\nC\n---\n\nc\n\n# D\n\n### E `x`\n\ne"
    assert [block.path for block in blocks_of(text)] == [
        (), ("A",), ("A",), ("A", "B"), ("A", "B"), ("A", "C"), ("A", "C"), ("D",), ("D", "E `x`"), ("D", "E `x`"),
    ]  # fmt: skip


def test_a_list_too_large_is_its_items() -> None:
    items = [f"- item {number} " + "word " * 100 for number in range(40)]
    text = "\n  - nested\n".join(items)
    blocks = blocks_of(text)
    assert len(blocks) == 40
    assert {block.kind for block in blocks} == {"list"}


def test_an_oversize_paragraph_ends_at_sentences() -> None:
    text = " ".join(f"Sentence number {number} says 3.14 things, e.g. this." for number in range(2_000))
    shown_blocks = shown(text)
    assert len(shown_blocks) > 5
    assert all(part.startswith("Sentence") and part.endswith("this.") for _, part in shown_blocks)
    assert all(len(part) <= ATOM_BYTES_MAX for _, part in shown_blocks)


def test_an_oversize_sentence_ends_at_whitespace_or_characters() -> None:
    assert all(set(part.split()) == {"word"} for _, part in shown("word " * 10_000))
    assert "".join(part for _, part in shown("漢" * 10_000)) == "漢" * 10_000
    assert all(part.startswith("e") for _, part in shown("e\u0301" * 10_000))


def test_an_edit_changes_one_block() -> None:
    paragraphs = [f"Paragraph {number}.\nIt has text, and {number % 7} more." for number in range(500)]
    before = set(shown("\n\n".join(paragraphs)))
    paragraphs[250] += " Edited."
    after = set(shown("\n\n".join(paragraphs)))
    assert (len(before - after), len(after - before)) == (1, 1)


def test_an_edit_of_an_oversize_paragraph_stays_local() -> None:
    words = random.Random(7)
    sentences = [f"Sentence {number} about {words.randrange(10**6)} things." for number in range(5_000)]
    before = shown(" ".join(sentences))
    sentences[100] = "An edited sentence of quite another length, it is longer than what was here before."
    after = shown(" ".join(sentences))
    assert len(set(after) - set(before)) <= 4 < len(after)
