"""A workspace is put together once: who looks at it shares what is kept of it in memory, and nothing that is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.errors import InvalidInput
from cmc_mcp.index.following import Follower
from cmc_mcp.index.matrix import Matrix
from cmc_mcp.memory import Memory
from cmc_mcp.workspace import Kept, Workspace
from tests.support.memories import live


def of(memory: Memory) -> Workspace:
    return memory._workspace


def test_principals_share_what_is_kept_and_models_and_workspaces_have_their_own(tmp_path: Path) -> None:
    memory = live(tmp_path / "m.db")
    mine, other = of(memory), of(memory.as_principal("other"))
    assert other.principal == "other" and other.kept is mine.kept
    assert of(memory.as_principal("other", "default")).kept is mine.kept
    assert of(memory.with_embedder(None)).kept is not mine.kept
    elsewhere = of(memory.as_principal("other", "elsewhere"))
    assert elsewhere.kept is not mine.kept and elsewhere.ws != mine.ws
    assert (elsewhere.name, elsewhere.principal, mine.principal) == ("elsewhere", "other", "local")
    with pytest.raises(InvalidInput):
        memory.as_principal("other", "No Such Name")
    memory.close()


def test_the_counter_of_tokens_is_loaded_once_for_every_view(memory: Memory) -> None:
    counter = of(memory).kept.counter()
    assert of(memory.with_embedder(None)).kept.counter() is counter
    assert of(memory.as_principal("other", "elsewhere")).kept.counter() is counter


def test_a_thing_is_made_once_an_erasure_and_anew_after_the_next() -> None:
    kept = Kept()
    first = kept.of(0, Manifests)
    assert kept.of(0, Manifests) is first
    assert kept.of(1, Manifests) is not first
    assert kept.of(1, list) == [] and kept.of(1, list) is not kept.of(1, dict)
    known = kept.of(1, Manifests)
    kept.clear()
    assert kept.of(1, Manifests) is not known


def test_an_index_is_of_one_model_and_one_erasure_and_a_broken_one_is_not_used_again() -> None:
    kept, made = Kept(), []

    def make(ws: int, model: int, dimension: int, erasure_count: int) -> Follower:
        made.append((ws, model, dimension, erasure_count))
        return Follower(ws, model, erasure_count)

    first = kept.index(make, 1, 2, 3, 0)
    assert kept.index(make, 1, 2, 3, 0) is first
    kept.index(make, 1, 7, 3, 0)
    last = kept.index(make, 1, 7, 3, 1)
    assert made == [(1, 2, 3, 0), (1, 7, 3, 0), (1, 7, 3, 1)]

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        last._follow(1, interrupted)
    assert last.seq == 0 and kept.index(make, 1, 7, 3, 1) is not last


def test_an_index_that_would_pass_its_bound_is_not_kept(tmp_path: Path) -> None:
    from cmc_mcp.config import Settings

    with live(tmp_path / "m.db", settings=Settings(matrix_bytes_max=520)) as memory:
        memory.remember("one")
        with of(memory).reader() as view:
            assert of(memory).index(view, Matrix, 0) is not None
        memory.remember("two")
        with of(memory).reader() as view:
            assert of(memory).index(view, Matrix, 0) is None
