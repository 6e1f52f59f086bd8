"""Documents that repeat themselves: written in linear time, with the same twins as ever."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cmc_mcp.errors import LimitExceeded
from cmc_mcp.kernel import identity
from cmc_mcp.kernel.identity import aligned
from cmc_mcp.limits import DOCUMENT_ATOMS_MAX
from cmc_mcp.memory import Memory

CPU_S = 4.0  # on a machine that does other things too; these took from 14 to more than 45 s
REPEATED = {
    "headings": "# a\n",
    "paragraphs": "a\n\n",
    "items": "- a\n",
    "quotes": "> a\n\n",
    "turns": "a\n\nb\n\n",
    "rules": "---\n\n",
    "fences": "```\na\n```\n\n",
    "tables": "|a|\n|-|\n\n",
}


@pytest.mark.parametrize("what", REPEATED)
def test_thousands_of_identical_blocks_are_written_and_told_again_in_linear_time(tmp_path: Path, what: str) -> None:
    block = REPEATED[what]
    count = 4_000
    texts = [
        block * count,
        block * count,
        f"first\n\n{block * (count - 1)}",
        block * (count // 2) + f"\nmiddle\n\n{block * 10}",
    ]
    with Memory.open(tmp_path / "memory.db", embedder=None) as memory:
        for text in texts:
            began = time.process_time()
            memory.remember(text, source="d.md")
            assert time.process_time() - began < CPU_S
            assert memory.read_source("d.md") == text.encode()


def test_a_few_texts_in_another_order_are_aligned_in_linear_time(tmp_path: Path) -> None:
    one = "".join(f"p{number % 40}\n\n" for number in range(1_990))
    other = "".join(f"p{number * 7 % 41}\n\n" for number in range(1_990))
    with Memory.open(tmp_path / "memory.db", embedder=None) as memory:
        memory.remember(one, source="d.md")
        began = time.process_time()
        memory.remember(other, source="d.md")
        assert time.process_time() - began < 1.0


def test_a_document_of_too_many_blocks_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory.db", embedder=None) as memory:
        assert len(memory.remember("a\n\n" * DOCUMENT_ATOMS_MAX, source="most.md").added) == DOCUMENT_ATOMS_MAX
        root = memory.snapshot().root
        with pytest.raises(LimitExceeded, match="DOCUMENT_ATOMS_MAX") as caught:
            memory.remember("a\n\n" * (DOCUMENT_ATOMS_MAX + 1), source="more.md")
        assert caught.value.fields["value"] == DOCUMENT_ATOMS_MAX + 1
        with pytest.raises(LimitExceeded, match="items"):
            memory.remember_many(
                [{"content": "fine"}, {"content": "b\n\n" * (DOCUMENT_ATOMS_MAX + 1), "source": "x.md"}]
            )
        assert memory.snapshot().root == root


# ---------------------------------------------------------------------- the same numbers
def slowly(previous: Sequence[tuple[str, int]], texts: Sequence[str]) -> list[tuple[str, int]]:
    """What `aligned` says, written as its rule is."""
    old, n, m = [text for text, _ in previous], len(previous), len(texts)
    head = next((i for i, (a, b) in enumerate(zip(old, texts, strict=False)) if a != b), min(n, m))
    tail = 0
    while tail < min(n, m) - head and old[-1 - tail] == texts[-1 - tail]:
        tail += 1
    length = [[0] * (m + 1) for _ in range(n + 1)]
    for i in range(n - tail - 1, head - 1, -1):
        for j in range(m - tail - 1, head - 1, -1):
            same = length[i + 1][j + 1] + 1
            length[i][j] = same if old[i] == texts[j] else max(length[i + 1][j], length[i][j + 1])
    kept = {i: i for i in range(head)} | {m - k: n - k for k in range(1, tail + 1)}
    i = j = head
    while i < n - tail and j < m - tail:
        if old[i] == texts[j]:
            kept[j], i, j = i, i + 1, j + 1
        elif length[i + 1][j] >= length[i][j + 1]:
            i += 1
        else:
            j += 1
    used = {previous[place] for place in kept.values()}
    out = []
    for place, text in enumerate(texts):
        if place in kept:
            out.append(previous[kept[place]])
            continue
        number = next(k for k in range(m + n + 1) if (text, k) not in used)
        used.add((text, number))
        out.append((text, number))
    return out


@pytest.mark.parametrize("small", [0, 1 << 30])
def test_every_version_has_the_twins_that_the_rule_gives(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    monkeypatch.setattr(identity, "_TABLE_CELLS_SMALL", small)
    rng = random.Random(5)
    for _ in range(300):
        letters = "abcdef"[: rng.randrange(1, 7)]
        before: list[tuple[str, int]] = []
        for _ in range(4):
            texts = rng.choices(letters, k=rng.randrange(0, 25))
            after = aligned(before, texts)
            assert after == slowly(before, texts)
            before = after
