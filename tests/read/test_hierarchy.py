"""Above and beside: the fast way equals the obvious one, at every read point."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from cmc_mcp.documents.loading import load
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.errors import CmcError, LimitExceeded
from cmc_mcp.index.matrix import Matrix
from cmc_mcp.index.nodematrix import NodeMatrix, nearest_by_rows
from cmc_mcp.memory import Memory
from cmc_mcp.read.hierarchy import above, neighbours
from cmc_mcp.read.query import limits_of
from cmc_mcp.read.retrieve import Selection
from tests.read.made import asked, opened, point_at
from tests.support import reach
from tests.support.embedders import HashVectors

QUERIES = tuple(f"question {i}" for i in range(8))  # some are on the side of any node
WORDS = ("fly", "pytest", "ruff", "sqlite", "merkle", "vector")


def document(rng: random.Random) -> str:
    """Sections of a few paragraphs, two levels deep."""
    lines = []
    for section in range(rng.randint(1, 4)):
        lines.append(f"{'#' * rng.choice((1, 2))} {rng.choice(WORDS)} {section}")
        lines += [f"{rng.choice(WORDS)} {rng.choice(WORDS)} {rng.randint(0, 5)}" for _ in range(rng.randint(0, 4))]
    return "\n\n".join(lines) + "\n"


def lived(folder: Path, seed: int) -> Memory:
    """A memory after a random life of documents, some embedded late."""
    rng = random.Random(seed)
    memory = opened(folder, embedder=HashVectors())
    for _ in range(14):
        reach.embedder(memory).down = rng.random() < 0.2
        source = f"{rng.choice('abc')}.md"
        match rng.randint(0, 9):
            case 0 if source in memory.sources():
                memory.forget(source=source)
            case 1:
                memory.rollback(rng.randint(0, int(memory.status()["transaction"] or 0)))
            case 2:
                reach.embedder(memory).down = False
                memory.embed_pending()
            case _:
                memory.remember(document(rng), source=source, tags={"kind": rng.choice("xy")})
    reach.embedder(memory).down = False
    return memory


def below(
    memory: Memory,
    query: str,
    *,
    seq: int | None = None,
    k: int = 3,
    decay: float = 0.9,
    matrix: bool = True,
    **filters: object,
) -> dict[int, float]:
    """Ask what stands below the nearest nodes, by the nodes in memory or by SQL."""
    vector = HashVectors().embed([query])[0]
    with reach.reader(memory) as view:
        limits = limits_of(view, asked(**filters))
        models = view.models()
        if limits is None or not models:
            return {}
        model = models[0][0]
        selection = Selection(
            view, point_at(view, seq), limits, reach.index(memory, view, Matrix, model) if matrix else None
        )
        nodes = reach.index(memory, view, NodeMatrix, model) if matrix else None
        manifests = reach.kept(memory).of(view.erasure_count(), Manifests) if matrix else Manifests()
        return above(selection, nodes, manifests, model, vector, k, decay, 20)


# ---------------------------------------------------------------------- above
@pytest.mark.parametrize("seed", range(12))
def test_the_nodes_in_memory_give_what_the_rows_give_at_every_transaction(tmp_path: Path, seed: int) -> None:
    with lived(tmp_path, seed) as memory:
        found = 0
        head = int(memory.status()["transaction"] or 0)
        for seq in [*range(head, 0, -1), *range(1, head + 1)]:
            for query in WORDS[:3]:
                fast = below(memory, query, seq=seq)
                assert fast == below(memory, query, seq=seq, matrix=False)
                found += len(fast)
        assert found


@pytest.mark.parametrize("seed", range(6))
def test_an_answer_about_the_past_is_the_same_after_more_was_written(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with lived(tmp_path, seed) as memory:
        seq = int(memory.status()["transaction"] or 0)
        before = below(memory, "fly", seq=seq)
        for _ in range(5):
            memory.remember(document(rng), source=f"{rng.choice('abcd')}.md")
        memory.embed_pending()
        assert before == below(memory, "fly", seq=seq) == below(memory, "fly", seq=seq, matrix=False)
        assert below(memory, "fly") == below(memory, "fly", matrix=False)


@pytest.mark.parametrize("seed", range(6))
def test_every_atom_has_the_best_of_the_nodes_above_it_and_passes_the_filter(tmp_path: Path, seed: int) -> None:
    with lived(tmp_path, seed) as memory:
        for filters in ({}, {"tags": (("kind", "x"),)}, {"sources": ("a.md", "b.md")}):
            found = below(memory, "merkle", k=1000, **filters)
            assert found == below(memory, "merkle", k=1000, matrix=False, **filters)
            assert found == _naive(memory, "merkle", filters)


def _naive(memory: Memory, query: str, filters: dict[str, object]) -> dict[int, float]:
    """Walk every atom's place upward, and look each node up."""
    vector = HashVectors().embed([query])[0].astype(np.float64)
    out: dict[int, float] = {}
    with reach.reader(memory) as view:
        limits = limits_of(view, asked(**filters))
        if limits is None:
            return {}
        point = point_at(view)
        model = view.models()[0][0]
        vectors = {key: np.frombuffer(v, np.float32) for key, _, v in view.node_vectors(model, 0, point.head.seq)}
        live = {(row[0], row[1]): row[4] for row in view.nodes_opened(0, point.head.seq) if row[3] > point.head.seq}
        passing = view.selected(point.head.seq, point.valid_at, limits)
        for source in {row[0] for row in set(view.index_rows(view.registry.by_name["sources"]))}:
            manifest = Manifests().of_record(view, source, point.head.seq)  # type: ignore[arg-type]
            for part in () if manifest is None else manifest.parts:
                rid = next(rid for rid, key in view.records(1) if key == part.atom)
                path, steps = part.place.rpartition("#")[0], 0
                while rid in passing:
                    key = live.get((source, path))  # type: ignore[arg-type]
                    if key in vectors:
                        cosine = round(float((vectors[key].astype(np.float64) * vector).sum()), 6)
                        if cosine > 0:
                            out[rid] = max(out.get(rid, 0.0), round(cosine * 0.9**steps, 6))
                    if not path:
                        break
                    path, steps = path.rpartition("/")[0], steps + 1
    return out


def test_nodes_of_too_many_atoms_and_of_other_sources_are_passed_over(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember("# Long\n\n" + "\n\n".join(f"fly {i}" for i in range(30)), source="long.md")
        assert below(memory, "fly", k=50) == {}
        memory.remember("# Short\n\nfly\n\nfast\n", source="short.md")
        assert all(below(memory, text, sources=("long.md",)) == {} for text in QUERIES)
        assert any(below(memory, text) for text in QUERIES)


def test_an_erase_is_seen_at_once_by_the_nodes_in_memory(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember("# Short\n\nfly\n\nfast\n", source="short.md")
        query = next(text for text in QUERIES if below(memory, text))
        ids = [f"atom_{_key(memory, 'fly')}"]
        memory.forget(ids, erase=True, digest=memory.forget(ids, dry_run=True, erase=True).digest)
        assert below(memory, query) == below(memory, query, matrix=False) == {}


def test_another_workspace_has_its_own_nodes(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        other = memory.as_principal("local", "other")
        other.remember("# Short\n\nfly\n\nfast\n", source="short.md")
        memory.remember("a note")
        assert all(below(memory, text) == {} for text in QUERIES)
        with reach.reader(memory) as view:
            assert nearest_by_rows(view, 1, HashVectors().embed(["fly"])[0], 9, None, 9) == []


def _key(memory: Memory, text: str) -> str:
    with reach.reader(memory) as view:
        return next(row.key.hex() for row in list(view.all_atoms()) if view.payload(row.content) == text.encode())


# ---------------------------------------------------------------------- beside
def beside(memory: Memory, text: str, n: int, *, seq: int | None = None) -> list[tuple[str, bool]]:
    with reach.reader(memory) as view:
        point = point_at(view, seq)
        row = next(row for row in list(view.all_atoms()) if view.payload(row.content) == text.encode())
        loaded = list(load(view, reach.objects(memory), [row.rid], point.head.seq, point.valid_at).values())
        found = neighbours(
            view,
            reach.objects(memory),
            reach.kept(memory).of(view.erasure_count(), Manifests),
            point,
            loaded,
            n,
        )
        return [(other.text, other.after) for other in found[row.rid]]


def test_turns_have_the_turns_of_their_session_beside_them(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        turns = [("s1", "one"), ("s1", "two"), ("s1", "three"), ("s2", "four"), ("s2", "five")]
        memory.remember_many([{"content": text, "session": session, "source": "chat"} for session, text in turns])
        assert beside(memory, "two", 1) == [("one", False), ("three", True)]
        assert beside(memory, "three", 2) == [("one", False), ("two", False)]
        assert beside(memory, "four", 3) == [("five", True)]
        assert beside(memory, "two", 0) == []


def test_atoms_have_the_atoms_of_their_section_beside_them(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember("# A\n\none\n\ntwo\n\n## B\n\nthree\n\nfour\n", source="x.md")
        assert beside(memory, "two", 2) == [("# A", False), ("one", False)]
        assert beside(memory, "three", 3) == [("## B", False), ("four", True)]
        memory.remember("a bare note")
        assert beside(memory, "a bare note", 3) == []


def test_what_was_forgotten_or_erased_or_not_yet_said_is_beside_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        for text in ("one", "two", "three"):
            memory.remember(text, session="s")
        assert beside(memory, "two", 1, seq=2) == [("one", False)]
        one, three = f"atom_{_key(memory, 'one')}", f"atom_{_key(memory, 'three')}"
        memory.forget([one])
        memory.forget([three], erase=True, digest=memory.forget([three], dry_run=True, erase=True).digest)
        assert beside(memory, "two", 1) == []
        assert beside(memory, "two", 1, seq=3) == [("one", False)]


@pytest.mark.parametrize(("around", "kind"), [(4, LimitExceeded), (-1, CmcError), (True, CmcError), ("2", CmcError)])
def test_how_many_are_beside_is_checked(tmp_path: Path, around: object, kind: type[CmcError]) -> None:
    with opened(tmp_path) as memory:
        memory.remember("a note")
        with pytest.raises(kind, match="around"):
            memory.recall("note", around=around)  # type: ignore[arg-type]
