"""A source is given back as it came, every byte, at every version; what is missing is named."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import InvalidInput, NotFound, SourceIncomplete
from cmc_mcp.kernel.identity import note_origin, source_name
from cmc_mcp.memory import Memory
from tests.support.memories import erase

_SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
_LINES = st.sampled_from(
    [
        "# Head", "## Sub head", "a paragraph", "- item", "1. one", "| a | b |", "|---|---|", "```py", "```", "    code",
        "> quote", "def f(x):", "    return x", "class A:", "}", "\ufeff", "\u2028", "é\u0301 ü 😀\u200d", "\x0b\x0c", "",
        "  ", "trailing  ", "\ttab", "===", "---", "Setext",
    ]
)  # fmt: skip
_BREAKS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n\n\n", "\r\n\r\n", " \n"])
_DOCUMENTS = st.lists(st.tuples(_LINES, _BREAKS), min_size=1, max_size=14).map(
    lambda pairs: "".join(line + end for line, end in pairs)
)
_TEXTS = st.one_of(
    _DOCUMENTS, st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)
).filter(lambda text: bool(text.strip("\ufeff \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029").strip()))


@_SETTINGS
@given(text=_TEXTS, modality=st.sampled_from(["text", "code", "event", "tool:result"]), as_bytes=st.booleans())
def test_a_document_comes_back_byte_for_byte(memory: Memory, text: str, modality: str, as_bytes: bool) -> None:
    name = f"doc-{modality}"
    content = text.encode() if as_bytes else text
    before = memory.snapshot().transaction
    memory.remember(content, source=name, modality=modality)
    assert memory.read_source(name) == text.encode()
    if before:
        assert memory.read_source(name, before + 1) == text.encode()


@_SETTINGS
@given(texts=st.lists(_TEXTS, min_size=2, max_size=5), suffix=st.sampled_from([".md", ".py", ".rs", ".txt", ".ts"]))
def test_every_past_version_comes_back(memory: Memory, texts: list[str], suffix: str) -> None:
    name = "plan" + suffix
    at = [
        memory.remember(text, source=name, modality="code" if suffix != ".md" else "text").transaction for text in texts
    ]
    for seq, text in zip(at, texts, strict=True):
        assert memory.read_source(name, seq) == text.encode()


@_SETTINGS
@given(text=_TEXTS)
def test_a_note_comes_back_under_its_own_origin(memory: Memory, text: str) -> None:
    memory.remember(text)
    assert memory.read_source(note_origin(text.encode())) == text.encode()


@_SETTINGS
@given(turns=st.lists(_TEXTS, min_size=1, max_size=5))
def test_turns_come_back_joined_by_newlines(memory: Memory, turns: list[str]) -> None:
    source = f"talk/{memory.snapshot().transaction}"
    for turn in turns:
        memory.remember(turn, session="s1", source=source, speaker="ana")
    assert memory.read_source(source) == "\n".join(turns).encode()
    for number in range(1, len(turns)):
        at = memory.snapshot().transaction - len(turns) + number
        assert memory.read_source(source, at) == "\n".join(turns[:number]).encode()


def test_the_id_of_a_source_is_as_good_as_its_origin(memory: Memory) -> None:
    memory.remember("# One\n\ntwo\n", source="guide.md")
    memory.remember("hello", session="monday")
    assert memory.read_source(source_name("guide.md")) == b"# One\n\ntwo\n"
    assert memory.read_source(source_name("session:monday")) == b"hello"
    assert memory.history(source=source_name("guide.md")).source_versions[0].bytes == 11


def test_a_source_that_is_unknown_or_not_yet_there_is_not_found(memory: Memory) -> None:
    memory.remember("one")
    memory.remember("two", source="later.md")
    for name in ("nothing.md", "note:" + "0" * 64, "note:xyz", "src_" + "0" * 32):
        with pytest.raises(NotFound):
            memory.read_source(name)
    with pytest.raises(NotFound):
        memory.read_source("later.md", 1)


@pytest.mark.parametrize("name", ["\ud800", "a\0b"])
def test_a_name_that_no_source_can_have_is_refused(memory: Memory, name: str) -> None:
    with pytest.raises(InvalidInput, match="source"):
        memory.read_source(name)
    with pytest.raises(InvalidInput, match="source"):
        memory.history(source=name)
    with pytest.raises(InvalidInput, match="source"):
        memory.forget(source=name)
    with pytest.raises(InvalidInput, match="as_of"):
        memory.read_source("a", name)


def test_a_forgotten_part_is_named_and_the_version_before_is_whole(memory: Memory) -> None:
    text = "first\n\nsecond\n\nthird\n"
    receipt = memory.remember(text, source="plan.txt")
    memory.forget(receipt.added[1])
    with pytest.raises(SourceIncomplete) as caught:
        memory.read_source("plan.txt")
    assert caught.value.fields["missing"] == [receipt.added[1]]
    assert memory.read_source("plan.txt", receipt.transaction) == text.encode()


def test_a_reworded_part_is_named(memory: Memory) -> None:
    receipt = memory.remember("first\n\nsecond\n", source="plan.txt")
    memory.revise(receipt.added[0], content="the first")
    with pytest.raises(SourceIncomplete) as caught:
        memory.read_source("plan.txt")
    assert caught.value.fields["missing"] == [receipt.added[0]]


def test_a_forgotten_turn_and_a_forgotten_note_are_named(memory: Memory) -> None:
    turn = memory.remember("hello", session="s").added[0]
    note = memory.remember("a note").added[0]
    memory.forget([turn, note])
    for name, id in (("session:s", turn), (note_origin(b"a note"), note)):
        with pytest.raises(SourceIncomplete) as caught:
            memory.read_source(name)
        assert caught.value.fields["missing"] == [id]


def test_an_erased_part_is_named_in_every_version(memory: Memory) -> None:
    receipt = memory.remember("# Secret plan\n\nwe go north\n\n## Other\n\nrest\n", source="plan.md")
    heading = receipt.added[0]
    erase(memory, heading)
    with pytest.raises(SourceIncomplete) as caught:
        memory.read_source("plan.md")
    assert caught.value.fields["missing"] == [heading]
    with pytest.raises(SourceIncomplete):
        memory.read_source("plan.md", receipt.transaction)
