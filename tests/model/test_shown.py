"""What is not seen in stored text is shown as an escape that nothing typed can be taken for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.model.shown import clean

PIECES = (
    "\\",
    "\\\\",
    "u{200b}",
    "\\u{200b}",
    "u{1b}",
    "\u200b",
    "\x1b",
    "\u202e",
    "\U000e0001",
    "\\u200b",
    "\\x1b",
    "a",
    "{",
    "}",
    "u",
)


def read_back(shown: str) -> str:
    """Read what `clean` wrote: an odd backslash before u{…} makes it an escape, the others stand for half as many."""

    def one(found: re.Match[str]) -> str:
        slashes, digits = len(found[1]), found[2]
        return "\\" * (slashes // 2) + (chr(int(digits, 16)) if slashes % 2 else f"u{{{digits}}}")

    return re.sub(r"(\\+)u\{([0-9a-f]{1,6})\}", one, shown)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join))
def test_what_is_shown_can_be_read_back(text: str) -> None:
    said = re.sub("\r\n|[\r\x85\u2028\u2029]", "\n", text)
    assert read_back(clean(text)) == said


def test_a_typed_escape_and_an_invisible_character_are_told_apart() -> None:
    shown = [clean(text) for text in ("\u200b", "\\u200b", "\\u{200b}", "\\\u200b", "\\\\u{200b}")]
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(
    "text",
    [
        r"C:\users\x86\u200b\new", r"[\u200b-\u200f]+\x1b\[31m", r"\frac{1}{2} \xi \u \unit{m} \u{m}", 'print("\\x1b[0m\\n")',
        "\\\\server\\share", r"\d+\\", r"\u{}", r"\u{1234567}",
    ],
)  # fmt: skip
def test_usual_text_with_backslashes_stays_as_it_is(text: str) -> None:
    assert clean(text) == text
    assert clean(text + "\n" + text) == text + "\n" + text
