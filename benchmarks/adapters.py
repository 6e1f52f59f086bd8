"""The adapters beside the stores that each framework's users have: 5,000 documents of 384 dimensions, in one run.

Every row of a framework whose packages are installed is measured; the others are left out. Vectors are random and of
unit length, which is the worst case for an approximate index; the filter lets a tenth of the rows through. Bars
(issue 4): add in batches of 100 at least 4,000/s with provenance in the same transaction; query p50 at most 5 ms,
filtered p50 at most 6 ms, both with recall 1.00 and exactly k rows; the event loop held up for at most 50 ms while a
query of 200 ms runs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common import Figures

DOCUMENTS = 5_000
DIMENSION = 384
BATCH = 100
QUERIES = 200
K = 10
GROUPS = 10
SLOW_S = 0.2


@dataclass
class Data:
    """What every store is given: texts of about 200 characters, unit vectors, a group each; and questions."""

    texts: list[str] = field(default_factory=list)
    vectors: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, DIMENSION), np.float32))
    questions: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, DIMENSION), np.float32))

    def nearest(self, question: int, group: int | None) -> set[str]:
        """Return the ids of the `K` nearest, of a group where one is asked."""
        scores = self.vectors @ self.questions[question]
        if group is not None:
            scores = np.where(np.arange(DOCUMENTS) % GROUPS == group, scores, -2.0)
        return {str(place) for place in np.argsort(-scores)[:K]}


def made() -> Data:
    """Make the data, the same each time."""
    rng = np.random.default_rng(4)
    words = [
        f"{a}{b}" for a in ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki") for b in ("lo", "mu", "na", "pe", "ri")
    ]
    unit = rng.normal(size=(DOCUMENTS + QUERIES, DIMENSION))
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    texts = [f"{place}: {' '.join(rng.choice(words, 48))}" for place in range(DOCUMENTS)]
    return Data(texts, unit[:DOCUMENTS], unit[DOCUMENTS:])


@dataclass(frozen=True)
class Subject:
    """One store as the benchmark drives it. `search` gives ids; `slow` is a coroutine of a query that takes 200 ms more."""

    add: Callable[[Sequence[int]], object]
    search: Callable[[int, int | None], Sequence[str]]
    slow: Callable[[], Any] | None = None


def measured(name: str, data: Data, subject: Subject) -> Figures:
    """Measure one store."""
    start = time.perf_counter()
    for first in range(0, DOCUMENTS, BATCH):
        subject.add(range(first, first + BATCH))
    out = {f"{name}: added a second in batches of {BATCH}": DOCUMENTS / (time.perf_counter() - start)}
    for kind in ("query", "filtered"):
        times, hits, rows = [], 0, 0
        for question in range(QUERIES):
            group = question % GROUPS if kind == "filtered" else None
            begin = time.perf_counter()
            found = subject.search(question, group)
            times.append((time.perf_counter() - begin) * 1_000)
            hits += len(set(found) & data.nearest(question, group))
            rows += len(found)
        out[f"{name}: {kind} p50 ms"] = float(np.percentile(times, 50))
        out[f"{name}: {kind} p95 ms"] = float(np.percentile(times, 95))
        out[f"{name}: {kind} recall@{K}"] = hits / (K * QUERIES)
        out[f"{name}: {kind} rows"] = rows / QUERIES
    if subject.slow is not None:
        out[f"{name}: loop held up ms during a query of 200"] = asyncio.run(_held_up(subject.slow))
    return out


async def _held_up(slow: Callable[[], Any]) -> float:
    worst = 0.0

    async def heartbeat() -> None:
        nonlocal worst
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - start - 0.001)

    beat = asyncio.create_task(heartbeat())
    await asyncio.sleep(0.05)
    await slow()
    beat.cancel()
    return worst * 1_000


# ---------------------------------------------------------------------- LangChain
def langchain(data: Data, folder: Path) -> Figures:
    """Measure the stores of LangChain: ours, the one in memory, Chroma where it is installed."""
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

    from cmc_mcp.adapters.langchain import CMCVectorStore

    class Given(Embeddings):
        """Knows every text's vector; a question takes as long as it says."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return data.vectors[[int(text.partition(":")[0]) for text in texts]].tolist()  # type: ignore[no-any-return]

        def embed_query(self, text: str) -> list[float]:
            time.sleep(SLOW_S)
            return data.questions[0].tolist()  # type: ignore[no-any-return]

    def subject(store: Any, filter_of: Callable[[int], Any]) -> Subject:
        documents = [
            Document(text, id=str(place), metadata={"group": place % GROUPS, "place": place})
            for place, text in enumerate(data.texts)
        ]
        questions = data.questions.tolist()

        def search(question: int, group: int | None) -> list[str]:
            limits = {} if group is None else {"filter": filter_of(group)}
            return [found.id for found in store.similarity_search_by_vector(questions[question], k=K, **limits)]

        return Subject(
            lambda places: store.add_documents([documents[place] for place in places]),
            search,
            lambda: store.asimilarity_search("slow", k=K),
        )

    out: Figures = {}
    with CMCVectorStore(Given(), path=folder / "langchain.db") as ours:
        out |= measured("CMCVectorStore (LangChain)", data, subject(ours, lambda group: {"group": group}))
        ours.similarity_search_by_vector(data.questions[0].tolist(), filter={"place": {"$gt": 1}})
        fresh = []
        for bound in range(QUERIES):
            begin = time.perf_counter()
            ours.similarity_search_by_vector(
                data.questions[bound].tolist(), k=K, filter={"place": {"$lt": 500 + bound}}
            )
            fresh.append((time.perf_counter() - begin) * 1_000)
        out["CMCVectorStore (LangChain): filtered, a filter never seen before, p50 ms"] = float(
            np.percentile(fresh, 50)
        )
    plain = InMemoryVectorStore(Given())
    by_function = lambda group: lambda document: document.metadata["group"] == group  # noqa: E731
    out |= measured("InMemoryVectorStore", data, subject(plain, by_function))
    if importlib.util.find_spec("langchain_chroma"):
        from langchain_chroma import Chroma

        chroma = Chroma(
            "bench", Given(), persist_directory=str(folder / "chroma"), collection_metadata={"hnsw:space": "cosine"}
        )
        out |= measured("Chroma", data, subject(chroma, lambda group: {"group": group}))
    return out


# ---------------------------------------------------------------------- LlamaIndex
def llamaindex(data: Data, folder: Path) -> Figures:
    """Measure the stores of LlamaIndex: ours, and the one in memory, which gives ids alone."""
    from llama_index.core import MockEmbedding
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores import SimpleVectorStore
    from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery

    from cmc_mcp.adapters.llamaindex import CMCVectorStore

    class Slow(MockEmbedding):
        """Takes its time over a question."""

        def _get_query_embedding(self, query: str) -> list[float]:
            time.sleep(SLOW_S)
            return data.questions[0].tolist()  # type: ignore[no-any-return]

    nodes = [
        TextNode(
            id_=str(place),
            text=text,
            metadata={"group": place % GROUPS, "place": place},
            embedding=data.vectors[place].tolist(),
        )
        for place, text in enumerate(data.texts)
    ]
    questions = data.questions.tolist()

    def subject(store: Any, slow: Callable[[], Any] | None) -> Subject:
        def search(question: int, group: int | None) -> list[str]:
            filters = None if group is None else MetadataFilters(filters=[MetadataFilter(key="group", value=group)])
            query = VectorStoreQuery(query_embedding=questions[question], similarity_top_k=K, filters=filters)
            return store.query(query).ids  # type: ignore[no-any-return]

        return Subject(lambda places: store.add([nodes[place] for place in places]), search, slow)

    with CMCVectorStore(folder / "llamaindex.db", embed_model=Slow(embed_dim=DIMENSION)) as ours:
        asked = VectorStoreQuery(query_str="slow", similarity_top_k=K)
        out = measured("CMCVectorStore (LlamaIndex)", data, subject(ours, lambda: ours.aquery(asked)))
    return out | measured("SimpleVectorStore", data, subject(SimpleVectorStore(), None))


# ---------------------------------------------------------------------- LangGraph
def langgraph(data: Data, folder: Path) -> Figures:
    """Measure the stores of LangGraph: ours, the one in memory, and the one on SQLite where it can load extensions.

    The search of a store takes text, so an embedding that knows every vector is asked each time, as it is by all.
    """
    from langchain_core.embeddings import Embeddings
    from langgraph.store.base import PutOp
    from langgraph.store.memory import InMemoryStore

    from cmc_mcp.adapters.langgraph import CMCStore

    rows, questions = data.vectors.tolist(), data.questions.tolist()

    class Given(Embeddings):
        """Knows every text's and question's vector; one question takes its time."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            if text == "slow":
                time.sleep(SLOW_S)
                return questions[0]  # type: ignore[no-any-return]
            head, _, rest = text.partition(":")
            return rows[int(head)] if rest else questions[int(head)]  # type: ignore[no-any-return]

    ops = [
        PutOp(("docs", str(place % GROUPS)), str(place), {"text": text, "group": place % GROUPS, "place": place})
        for place, text in enumerate(data.texts)
    ]

    def subject(store: Any, slow: Callable[[], Any] | None = None) -> Subject:
        def search(question: int, group: int | None) -> list[str]:
            filter = None if group is None else {"group": group}
            return [item.key for item in store.search(("docs",), query=str(question), filter=filter, limit=K)]

        return Subject(lambda places: store.batch([ops[place] for place in places]), search, slow)

    index: Any = {"dims": DIMENSION, "embed": Given(), "fields": ["text"]}
    with CMCStore(folder / "langgraph.db", index=index) as ours:
        out = measured("CMCStore", data, subject(ours, lambda: ours.asearch(("docs",), query="slow", limit=K)))
        for name, call in (
            ("get", lambda n: ours.get(("docs", str(n % GROUPS)), str(n))),
            ("search of one namespace", lambda n: ours.search(("docs", str(n % GROUPS)), query=str(n), limit=K)),
            ("last ten of one namespace", lambda n: ours.search(("docs", str(n % GROUPS)), limit=K)),
            ("put of one item", lambda n: ours.put(("more",), str(n), {"text": data.texts[n]})),
            ("list of namespaces", lambda n: ours.list_namespaces()),
        ):
            times = []
            for n in range(QUERIES):
                begin = time.perf_counter()
                call(n)
                times.append((time.perf_counter() - begin) * 1_000)
            out[f"CMCStore: {name} p50 ms"] = float(np.percentile(times, 50))
    out |= measured("InMemoryStore (LangGraph)", data, subject(InMemoryStore(index=index)))
    try:
        from langgraph.store.sqlite import SqliteStore

        with SqliteStore.from_conn_string(str(folder / "stock.db"), index={**index, "text_fields": ["text"]}) as stock:
            stock.setup()
            out |= measured("SqliteStore (LangGraph)", data, subject(stock))
    except (ImportError, AttributeError):  # not installed, or this Python's sqlite3 loads no extensions
        pass
    return out


FRAMEWORKS: dict[str, tuple[str, Callable[[Data, Path], Figures]]] = {
    "langchain": ("langchain_core", langchain),
    "llamaindex": ("llama_index", llamaindex),
    "langgraph": ("langgraph", langgraph),
}


def adapters() -> Figures:
    """Measure every framework that is installed."""
    data = made()
    out: Figures = {}
    for package, measure in FRAMEWORKS.values():
        if importlib.util.find_spec(package):
            with tempfile.TemporaryDirectory() as folder:
                out |= measure(data, Path(folder))
    return out
