"""Counting tokens: right for ordinary text, never too low, never slow, never over a network."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.embed import TokenCounter, UpperBound, cl100k, load_token_counter
from cmc_mcp.embed.tokens import CACHED_TEXTS_MAX, VOCABULARY_FILE, Cl100k
from cmc_mcp.errors import IntegrityError, NotFound
from tests.support.together import together


class CountingEncoding:
    """An encoding that notes what it was asked and how long the longest text was."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self.encoding = encoding
        self.asked: list[int] = []

    def encode_ordinary(self, text: str) -> list[int]:
        self.asked.append(len(text))
        return self.encoding.encode_ordinary(text)


@pytest.fixture(scope="module")
def encoding() -> tiktoken.Encoding:
    return cl100k()._encoding


@pytest.fixture(scope="module")
def counter() -> Cl100k:
    return cl100k()


# Whole scripts, and the pieces at which the splitting pattern decides.
SCRIPTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
MARKS = [*"aB 1!_()'{}/é漢，。…Ⅷ²؟ा😀", "\u0301", "\u00a0", "\u200d", "\u3000", "\u2028", "\x1c", "\x85", "\t", "\n"]
RUNS = ["  ", "\r\n", "'s", "don't", "123", "...", "a" * 40, " " * 40, "\n" * 40, "!" * 40]
SHAPES = st.lists(st.sampled_from(MARKS + RUNS), max_size=80).map("".join)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("hello world", 2), ("tiktoken is great!", 6), ("お誕生日おめでとう", 9), ("2 + 2 = 4", 7)],
)
def test_known_texts_have_their_published_counts(counter: Cl100k, text: str, tokens: int) -> None:
    assert counter.count(text) == tokens


@pytest.mark.parametrize("text", ["<|endoftext|>", "<|fim_prefix|> and <|endofprompt|>"])
def test_the_text_of_a_special_token_is_counted_as_ordinary_text(counter: Cl100k, text: str) -> None:
    assert counter.count(text) > 5


@given(SCRIPTS | SHAPES)
def test_the_bound_by_bytes_is_never_below_the_count(counter: Cl100k, text: str) -> None:
    assert UpperBound().count(text) >= counter.count(text)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(SCRIPTS | SHAPES, st.sampled_from([" ", "\n", " word. ", ";", "a" * 3_000, " " * 3_000, "é" * 2_500]), SHAPES)
def test_a_long_text_counts_no_less_than_its_encoding_has_tokens(
    counter: Cl100k, encoding: tiktoken.Encoding, first: str, between: str, last: str
) -> None:
    text = (first + between + last) * 12
    assert len(encoding.encode_ordinary(text)) <= counter.count(text) <= UpperBound().count(text)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.lists(SCRIPTS | SHAPES, min_size=1, max_size=8))
def test_a_long_text_with_word_boundaries_is_counted_exactly(
    counter: Cl100k, encoding: tiktoken.Encoding, parts: list[str]
) -> None:
    text = " and then\n".join(parts * 20) + " end"
    assert counter.count(text) == len(encoding.encode_ordinary(text))


@pytest.mark.parametrize("unit", ["a", " ", "\n", "!", "1", "漢", "😀", " \n", "\t"])
def test_an_unbroken_run_is_bounded_without_being_encoded(encoding: tiktoken.Encoding, unit: str) -> None:
    noted = CountingEncoding(encoding)
    text = "before. " + unit * 500_000 + " after"
    count = Cl100k(noted).count(text)
    assert sum(noted.asked) < 5_000
    assert count >= len(text) - 5_000


def test_no_single_call_of_the_tokenizer_gets_more_than_a_stretch(encoding: tiktoken.Encoding) -> None:
    noted = CountingEncoding(encoding)
    Cl100k(noted).count(("a" * 1_500 + " ") * 200 + "plain words " * 5_000)
    assert max(noted.asked) <= 2_048


def test_a_text_is_encoded_once_while_it_is_remembered(encoding: tiktoken.Encoding) -> None:
    noted = CountingEncoding(encoding)
    counter = Cl100k(noted)
    assert counter.count("the same text") == counter.count("the same text") == 3
    assert len(noted.asked) == 1
    for number in range(CACHED_TEXTS_MAX):
        counter.count(f"other {number}")
    counter.count("the same text")
    assert len(noted.asked) == CACHED_TEXTS_MAX + 2


def test_lone_surrogates_are_counted(counter: Cl100k) -> None:
    broken, replaced = "broken \ud800 text \udc80", "broken \ufffd text \ufffd"
    assert counter.count(broken) == counter.count(replaced)
    assert UpperBound().count(broken) == UpperBound().count(replaced)


def test_threads_share_a_counter(counter: Cl100k) -> None:
    texts = [f"thread text {number}" for number in range(200)]
    expected = [counter.count(text) for text in texts]
    results: list[list[int]] = []
    shared = cl100k()
    together(lambda: results.append([shared.count(text) for text in texts]), [()] * 4)
    assert results == [expected] * 4


def test_the_best_counter_is_loaded_and_says_what_it_is() -> None:
    counter: TokenCounter = load_token_counter()
    assert (counter.name, counter.exact) == ("cl100k_base", True)


def test_without_a_vocabulary_the_bound_stands_in_and_says_so(tmp_path: Path) -> None:
    counter = load_token_counter(tmp_path)
    assert (counter.name, counter.exact) == ("bytes-upper-bound", False)
    assert counter.count("naïve") == 6
    with pytest.raises(NotFound, match=r"cannot be read .*; reinstall"):
        cl100k(tmp_path)


def test_a_changed_vocabulary_is_refused(tmp_path: Path) -> None:
    data = resources.files("cmc_mcp.embed.data").joinpath(VOCABULARY_FILE).read_bytes()
    (tmp_path / VOCABULARY_FILE).write_bytes(data.replace(b"IQ== 0", b"IQ== 1", 1))
    with pytest.raises(IntegrityError, match="reinstall"):
        cl100k(tmp_path)
    assert not load_token_counter(tmp_path).exact
