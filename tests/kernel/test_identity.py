"""Identity: ids depend on their fields alone, and aligned twins keep theirs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.kernel import identity
from cmc_mcp.kernel.identity import aligned, atom_id, turn_discriminator, twin_discriminator

words = st.lists(st.sampled_from("abcd"), max_size=9)


def longest(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of a longest common subsequence, by plain recursion on a table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a)):
        for j in range(len(b)):
            table[i + 1][j + 1] = table[i][j] + 1 if a[i] == b[j] else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@given(words, words)
def test_alignment_keeps_a_longest_common_subsequence_and_gives_no_atom_twice(old: list[str], new: list[str]) -> None:
    before = aligned([], old)
    after = aligned(before, new)
    assert [text for text, _ in after] == new
    assert len(set(after)) == len(after)
    pairs = identity._common(old, new)
    assert len(pairs) == longest(old, new)
    assert pairs == sorted(set(pairs)) and all(old[i] == new[j] for i, j in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))
    assert all(after[j] == before[i] for i, j in pairs)


@given(words, words)
def test_what_is_not_aligned_takes_the_lowest_number_that_its_version_does_not_use(
    old: list[str], new: list[str]
) -> None:
    before = aligned([], old)
    after = aligned(before, new)
    for text in set(new):
        mine = [number for word, number in after if word == text]
        fresh = [n for n in mine if (text, n) not in before]
        assert all(set(range(number)) <= set(mine) for number in fresh)


@given(words)
def test_the_same_version_again_renames_nothing(texts: list[str]) -> None:
    first = aligned([], texts)
    assert aligned(first, texts) == first
    assert [number for _, number in first] == [texts[:i].count(text) for i, text in enumerate(texts)]


def test_huge_middles_are_matched_in_order_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_TABLE_CELLS_MAX", 0)
    old, new = [f"p{i}" for i in range(500)], [f"p{i}" for i in range(500) if i % 7]
    new.insert(0, "new")
    before = aligned([], old)
    assert aligned(before, new)[1:] == [item for i, item in enumerate(before) if i % 7]


def test_edits_of_long_documents_seldom_move_an_atom_to_another_paragraph() -> None:
    """The measured case: 600 edits of 100-paragraph documents with a fifth of their paragraphs repeated."""
    dice = random.Random(5)
    slid = 0
    for _ in range(12):
        paragraphs = [(n, f"T{dice.randrange(4)}" if dice.random() < 0.2 else f"u{n}") for n in range(100)]
        fresh = 100
        ids = aligned([], [text for _, text in paragraphs])
        for _ in range(10):
            new, place = list(paragraphs), dice.randrange(len(paragraphs))
            match dice.choice(("repeat", "edit", "delete", "insert", "move")):
                case "repeat":
                    new.insert(place, (fresh, f"T{dice.randrange(4)}"))
                case "insert":
                    new.insert(place, (fresh, f"u{fresh}"))
                case "edit":
                    new[place] = (fresh, f"u{fresh}")
                case "delete":
                    new.pop(place)
                case _:
                    new.insert(dice.randrange(len(new)), new.pop(place))
            fresh += 1
            now = aligned(ids, [text for _, text in new])
            was, is_ = ({i: n for i, (n, _) in zip(x, y, strict=True)} for x, y in ((ids, paragraphs), (now, new)))
            slid += sum(was[atom] != is_[atom] for atom in was.keys() & is_.keys())
            paragraphs, ids = new, now
    assert slid <= 12, "a plain ordinal slides dozens"


@given(st.lists(st.binary(max_size=4), min_size=4, max_size=4), st.lists(st.binary(max_size=4), min_size=4, max_size=4))
def test_atoms_are_equal_only_in_every_field(one: list[bytes], other: list[bytes]) -> None:
    ids = [atom_id("text", "text/plain", *fields) for fields in (one, other)]  # type: ignore[arg-type]
    assert (ids[0] == ids[1]) == (one == other)
    assert len(ids[0]) == 16


def test_modality_and_media_type_are_part_of_an_atom() -> None:
    rest = (b"c", b"o", b"d", b"w")
    assert len({atom_id(m, t, *rest) for m in ("text", "code") for t in ("text/plain", "text/markdown")}) == 4


def test_turns_are_told_apart_by_session_speaker_time_and_ordinal() -> None:
    made = [
        turn_discriminator("s", "ana", None, 0), turn_discriminator("s", "ana", None, 1),
        turn_discriminator("s", "ben", None, 0), turn_discriminator("t", "ana", None, 0),
        turn_discriminator("s", "ana", 5, None), turn_discriminator("s", "ana", 6, None),
    ]  # fmt: skip
    assert len(set(made)) == len(made)
    assert twin_discriminator(0) == b"" and twin_discriminator(1) != twin_discriminator(2)
