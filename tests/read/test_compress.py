"""Compressing keeps sentences whole and in order, keeps to its target, and never grows a text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmc_mcp.config import Compress
from cmc_mcp.embed.tokens import cl100k
from cmc_mcp.model.results import Item
from cmc_mcp.read.compress import (
    ELLIPSIS,
    Excerpt,
    Level,
    Outline,
    Passages,
    _scores,
    compress,
    level_of,
    named_level,
)
from cmc_mcp.read.units import units

COUNT = cl100k().count
CONSTANTS = Compress(passage_tokens=80)
DAY_US = 86_400_000_000


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


SENTENCES = st.sampled_from(
    [
        "Pi is 3.14, e.g. here.",
        "We do not deploy on Fridays.",
        "Ask Dr. Smith of St. John's!",
        "The limit is 1,000.50 EUR since 2024-05-01.",
        "今日は雨です。",
        "यह एक परीक्षा है।",
        "Was it 42?",
        "- a list item with `code()`\n",
        "\n\n```python\nx = 1. Y = 2.\n\nprint('no. 5')\n```\n",
        "\n| a | b |\n|---|---|\n| 1.5 | not |\n",
        "🙂🙂🏽 e\u0301 …",
        "\n\n## 2. A heading\n",
        "nopunctuationhere",
    ]
)
TEXTS = st.lists(SENTENCES, max_size=14).map(" ".join) | st.text(max_size=300)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, target=st.integers(0, 200), question=st.sampled_from([[], ["limit"], ["not", "deploy"]]))
@example(text="A. " * 60, target=3, question=[])
def test_an_excerpt_keeps_to_its_target_and_never_grows(text: str, target: int, question: list[str]) -> None:
    made = compress(text, target, COUNT, words, question)
    assert made.tokens == COUNT(made.text) <= made.original == COUNT(text)
    longest = max((COUNT(text[start:end]) for start, end in units(text)), default=0)
    assert made.tokens <= max(target, longest + 2 * COUNT(f" {ELLIPSIS} ")) or made.text == text
    assert (made.text == text) == (made.level == "full")
    assert compress(text, made.original, COUNT, words, question) == Excerpt(text, "full", made.original, made.original)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, target=st.integers(0, 120))
def test_what_is_kept_are_whole_units_in_their_order_and_what_is_left_out_is_marked(text: str, target: int) -> None:
    made = compress(text, target, COUNT, words, ["limit"])
    if made.level == "full":
        return
    pattern, places = "", units(text)
    assert not any(text[a:b].strip() == "" for a, b in places)
    for index, (start, end) in enumerate(places):
        gap = re.escape(text[places[index - 1][1] : start]) if index else ""
        pattern += rf"(?:(?:{gap}|[ \n]?…[ \n]|[ \n])?{re.escape(text[start:end])})?"
    if not re.fullmatch(pattern + r"(?:[ \n]…)?", made.text):  # a window in the one unit that is longer than the target
        window = made.text.removeprefix(ELLIPSIS).removesuffix(ELLIPSIS).strip()
        inside = [text[a:b] for a, b in places if window in text[a:b]]
        assert inside and COUNT(inside[0]) + 4 > target, made.text
    assert ELLIPSIS in made.text or all(text[a:b] in made.text for a, b in places)  # or only blanks were dropped


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_units_hold_every_character_that_says_something_once(text: str) -> None:
    spans = units(text)
    assert all(a < b <= c < d for (a, b), (c, d) in pairwise(spans))
    outside = list(text)
    for start, end in spans:
        outside[start:end] = [""] * (end - start)
    assert "".join(outside).strip("\ufeff \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
                                   + "".join(map(chr, range(0x2000, 0x200B)))) == "" or not spans  # fmt: skip


@pytest.mark.parametrize("mark", ["```", "~~~~"])
def test_a_code_fence_is_kept_or_left_as_a_whole(mark: str) -> None:
    fence = f"{mark}py\na = 3.14\n\n- b. C\n``\n{mark}"
    text = f"It rained all day.\n{fence}\nThen the sun came out. " + "Nothing else was said about it. " * 20
    assert fence in [text[start:end] for start, end in units(text)]
    for target in range(5, COUNT(text)):
        made = compress(text, target, COUNT, words, ["sun"]).text
        assert fence in made or mark not in made


def test_a_fence_that_is_not_closed_goes_to_the_end() -> None:
    text = "See this. Now.\n```\nx. Y\nz. W"
    assert [text[a:b] for a, b in units(text)] == ["See this.", "Now.", "```\nx. Y\nz. W"]


def test_the_sentence_that_answers_is_the_one_that_is_kept() -> None:
    filler = [f"The team met in room {n} and talked about the weather and the lunch." for n in range(12)]
    text = " ".join([*filler[:6], "The retention period must not exceed 30.5 days.", *filler[6:]])
    made = compress(text, 25, COUNT, words, words("what is the retention period?"))
    assert made.text == "… The retention period must not exceed 30.5 days. …"
    assert made.level == "reference" and made.original == COUNT(text)


def _naive_centrality(bags: Sequence[dict[str, None]]) -> list[float]:
    rarity = {word: math.log((1 + len(bags)) / sum(word in bag for bag in bags)) for bag in bags for word in bag}

    def cosine(a: dict[str, None], b: dict[str, None]) -> float:
        norm = math.sqrt(sum(rarity[w] ** 2 for w in a)) * math.sqrt(sum(rarity[w] ** 2 for w in b))
        return sum(rarity[w] ** 2 for w in a if w in b) / norm if norm else 0.0

    raw = [sum(cosine(bag, other) for other in bags) * min(1.0, len(bag) / 3) for bag in bags]
    return [value / (max(raw) or 1.0) for value in raw]


@given(bags=st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6).map(dict.fromkeys), min_size=1, max_size=8))
def test_centrality_is_the_mean_cosine_to_all_units(bags: list[dict[str, None]]) -> None:
    assert _scores(bags, [0.0] * len(bags), 0.0) == pytest.approx(_naive_centrality(bags), abs=2e-6)


def test_a_heading_or_number_stays_with_what_it_opens() -> None:
    text = "Intro here.\n\n#### 2. Install it.\n\n- Use version 3.14. Do not use 2.7."
    assert [text[a:b] for a, b in units(text)][1:] == ["#### 2. Install it.", "- Use version 3.14.", "Do not use 2.7."]


def test_long_lines_without_full_stops_are_cut_at_line_ends_but_not_inside_a_name_or_number() -> None:
    text = "\n".join(f"[{n}] request took {n}.5 ms in New\nYork (ok)" for n in range(40))
    parts = [text[a:b] for a, b in units(text)]
    assert len(parts) == 40 and all(part.endswith("New\nYork (ok)") for part in parts)


@pytest.mark.parametrize(
    ("days", "priority", "expected"),
    [(0, 0.5, "full"), (7, 0.5, "detailed"), (29.9, 0.5, "detailed"), (30, 0.5, "brief"), (90, 0.5, "reference"),
     (20, 0.85, "full"), (21, 0.85, "detailed"), (75, 1.0, "brief"), (179, 0.9, "brief"), (180, 0.9, "reference"),
     (-5, 0.5, "full")],
)  # fmt: skip
def test_age_and_priority_choose_the_level(days: float, priority: float, expected: Level) -> None:
    assert level_of(round(days * DAY_US), priority, CONSTANTS) == expected


@given(tokens=st.integers(0, 1000), original=st.integers(1, 1000))
def test_the_level_that_is_named_is_the_least_that_covers(tokens: int, original: int) -> None:
    order = ["reference", "brief", "detailed", "full"]
    level = named_level(tokens, original, CONSTANTS)
    shares = dict(zip(order, reversed(CONSTANTS.shares), strict=True))
    if level in ("reference", "brief"):
        assert tokens <= shares[level] * original
    for lower in order[: order.index(level)]:
        assert lower == "detailed" or tokens > shares[lower] * original


def test_equal_scores_are_broken_by_position_and_nothing_depends_on_the_order_of_sets() -> None:
    text = "Red is one. Blue is two. Teal is six."
    outline = Outline(text, COUNT, lambda s: frozenset(words(s)), ["is"])
    same = Outline(text, COUNT, lambda s: words(s)[::-1], ["is"])
    assert outline.excerpt(8) == same.excerpt(8)
    assert outline.excerpt(8).text.startswith("Red is one.")


def test_short_memories_are_cut_only_where_they_would_not_fit_at_all_and_code_is_cut_at_its_lines() -> None:
    passages = Passages(["one"], words, COUNT, lambda _: "reference", CONSTANTS)
    text = "This is one. " * 60
    short = Item(id="atom_2", text="This is one. " * 12)
    assert passages.shortened(short, COUNT(short.text) + 10, 20, 2000) is short
    assert COUNT(passages.shortened(short, COUNT(short.text) + 10, 20, 40).text) <= 40 - 10
    code = Item(id="atom_1", text="\n".join(f"def f{n}(): return one + {n}" for n in range(60)), modality="code")
    cut = passages.shortened(code, COUNT(code.text) + 10, 20, 2000)
    assert COUNT(cut.text) <= CONSTANTS.passage_tokens
    assert set(cut.text.split("\n")) <= {*code.text.split("\n"), ELLIPSIS}
    picture = Item(id="atom_4", text=text, modality="image")
    assert passages.shortened(picture, COUNT(text) + 10, 20, 200) is picture
    cut = passages.shortened(Item(id="atom_3", text=text), COUNT(text) + 10, 20, 2000)
    assert cut.original_tokens == COUNT(text) and cut.level == "brief"
    assert COUNT(cut.text) <= CONSTANTS.passage_tokens


def test_the_age_says_how_much_a_generous_share_is_used() -> None:
    text = " ".join(f"Statement {n} speaks of topic {n} in some words." for n in range(100))
    whole, sizes = COUNT(text), []
    for level in ("full", "detailed", "brief", "reference"):
        passages = Passages([], words, COUNT, lambda _, level=level: level, CONSTANTS)  # type: ignore[misc]
        item = passages.shortened(Item(id="atom_1", text=text), whole + 10, 3 * whole // 4, 10**6)
        sizes.append(COUNT(item.text) / whole)
    assert sizes == sorted(sizes, reverse=True)
    assert 0.65 < sizes[0] <= 0.75 and 0.6 < sizes[1] <= 0.7 and 0.35 < sizes[2] <= 0.4 and 0.1 < sizes[3] <= 0.15
