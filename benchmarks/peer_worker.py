"""One memory system behind a line protocol: `python peer_worker.py PEER FOLDER CORPUS`.

Runs in the peer's own virtual environment, so it imports nothing of the project but for the peers `cmc…`. CORPUS is a
file of NumPy with `texts` and `vectors`; every peer is handed these vectors in place of a model. A request is a line
{"op": "write" | "recall", "from": n, "to": m}; the answer has the seconds of each call, and what was found.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

K = 10
DIMENSION = 384
Peer = tuple[Callable[[str], object], Callable[[str], list[str]]]


class Given:
    """The vectors of the corpus, by their texts, in every shape that some peer asks for."""

    dim = DIMENSION
    name = "given"

    def __init__(self, texts: list[str], vectors: Any) -> None:
        self.places = {text: place for place, text in enumerate(texts)}
        self.places.update({text.lower().strip(): place for text, place in self.places.items()})
        self.vectors = vectors

    def one(self, text: str) -> Any:
        """Return the vector of a text; some peers hand over the JSON document that it is part of."""
        if text.startswith("{"):
            text = json.loads(text)["text"]
        return self.vectors[self.places[text]]

    def encode(self, texts: Any, **_: object) -> Any:
        """Return an array; memvara and mcp-memory-service call this method."""
        return np.stack([self.one(text) for text in ([texts] if isinstance(texts, str) else texts)])

    def get_sentence_embedding_dimension(self) -> int:
        """Return the dimension; mcp-memory-service calls this method."""
        return DIMENSION


def _cmc(folder: Path, given: Given, *, collection: bool) -> Peer:
    from cmc_mcp import Memory
    from cmc_mcp.embed.protocol import EmbeddingIdentity

    class Model:
        identity = EmbeddingIdentity("given", "", "float32", DIMENSION, 0)

        def embed(self, texts: Any) -> Any:
            return given.encode(list(texts))

        def close(self) -> None: ...

    memory = Memory.open(folder / "memory.db", embedder=Model())
    if not collection:
        return memory.remember, lambda text: [item.text for item in memory.recall(text, limit=K).items]
    from cmc_mcp.adapters.langgraph import CMCStore

    index: Any = {"dims": DIMENSION, "embed": lambda xs: given.encode(xs).tolist(), "fields": ["text"]}
    return _langgraph(CMCStore(folder / "store.db", index=index))


def _langgraph(store: Any) -> Peer:
    count = iter(range(1 << 30))
    return (
        lambda text: store.put(("user", "memories"), f"k{next(count)}", {"text": text}),
        lambda text: [found.value["text"] for found in store.search(("user", "memories"), query=text, limit=K)],
    )


def _langgraph_sqlite(folder: Path, given: Given) -> Peer:
    _modern_sqlite()
    from langgraph.store.sqlite import SqliteStore

    index: Any = {"dims": DIMENSION, "embed": lambda xs: given.encode(xs).tolist(), "text_fields": ["text"]}
    manager = SqliteStore.from_conn_string(str(folder / "store.db"), index=index)
    store = manager.__enter__()
    store._kept = manager  # closed with the process
    store.setup()
    return _langgraph(store)


def _chromadb(folder: Path, given: Given) -> Peer:
    import chromadb

    client = chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))
    rows = client.create_collection("memories", embedding_function=None, metadata={"hnsw:space": "cosine"})
    count = iter(range(1 << 30))

    def write(text: str) -> None:
        rows.add(ids=[f"k{next(count)}"], documents=[text], embeddings=[given.one(text)], metadatas=[{"user": "a"}])

    def recall(text: str) -> list[str]:
        return list(rows.query(query_embeddings=[given.one(text)], n_results=K)["documents"][0])

    return write, recall


def _mem0(folder: Path, given: Given) -> Peer:
    from mem0 import Memory

    key = {"api_key": "none"}
    memory = Memory.from_config(
        {
            "vector_store": {
                "provider": "qdrant",
                "config": {"path": str(folder / "q"), "on_disk": True, "embedding_model_dims": DIMENSION},
            },
            "llm": {"provider": "openai", "config": key},
            "embedder": {"provider": "openai", "config": {**key, "embedding_dims": DIMENSION}},
            "history_db_path": str(folder / "history.db"),
        }
    )

    class Model:
        config = type("Config", (), {"embedding_dims": DIMENSION, "model": "given"})

        def embed(self, text: str, *_: object, **__: object) -> list[float]:
            return list(map(float, given.one(text)))

        def embed_batch(self, texts: list[str], *_: object, **__: object) -> list[list[float]]:
            return [self.embed(text) for text in texts]

    memory.embedding_model = Model()
    return (
        lambda text: memory.add(text, user_id="a", infer=False),
        lambda text: [
            row["memory"] for row in memory.search(text, filters={"user_id": "a"}, top_k=K, threshold=0.0)["results"]
        ],
    )


def _mcp_memory_service(folder: Path, given: Given) -> Peer:
    _modern_sqlite()
    from mcp_memory_service.models.memory import Memory
    from mcp_memory_service.storage.sqlite_vec import SqliteVecMemoryStorage
    from mcp_memory_service.utils.hashing import generate_content_hash

    storage, loop = SqliteVecMemoryStorage(str(folder / "memory.db")), asyncio.new_event_loop()

    async def ready(*_: object, **__: object) -> None:
        storage.embedding_model, storage.embedding_dimension = given, DIMENSION

    storage._initialize_embedding_model = ready
    loop.run_until_complete(storage.initialize())
    loop.run_until_complete(ready())
    storage.enable_cache = False

    def write(text: str) -> None:
        row = Memory(content=text, content_hash=generate_content_hash(text), tags=["a"], memory_type="note")
        done = loop.run_until_complete(storage.store(row, skip_semantic_dedup=True))
        assert done[0], done

    def recall(text: str) -> list[str]:
        return [found.memory.content for found in loop.run_until_complete(storage.retrieve(text, n_results=K))]

    return write, recall


def _memvara(folder: Path, given: Given) -> Peer:
    _modern_sqlite()
    import warnings

    from memvara import Memvara

    warnings.simplefilter("ignore")  # it has no model to extract claims with, and says so
    memory = Memvara(str(folder / "memory.db"), embedder=given, user="a")

    def recall(text: str) -> list[str]:
        return [getattr(found, "text", str(found)) for found in memory.search(text, k=K, include_episodes=True)]

    return lambda text: memory.add(text, role="system"), recall


def _modern_sqlite() -> None:
    """Replace a SQLite that cannot load extensions with one that can."""
    import pysqlite3

    sys.modules["sqlite3"], sys.modules["sqlite3.dbapi2"] = pysqlite3, pysqlite3.dbapi2


PEERS: dict[str, tuple[str, Callable[[Path, Given], Peer]]] = {
    "cmc": ("cmc-mcp", lambda folder, given: _cmc(folder, given, collection=False)),
    "cmc, as LangGraph's store": ("cmc-mcp", lambda folder, given: _cmc(folder, given, collection=True)),
    "LangGraph SqliteStore": ("langgraph-checkpoint-sqlite", _langgraph_sqlite),
    "chromadb": ("chromadb", _chromadb),
    "mem0ai, infer=False": ("mem0ai", _mem0),
    "mcp-memory-service": ("mcp-memory-service", _mcp_memory_service),
    "memvara": ("memvara", _memvara),
}
"""The distribution whose version is told, and what opens the peer in a folder."""


def main() -> None:
    """Serve until the input ends; whatever a peer prints goes to standard error."""
    name, folder, corpus = sys.argv[1], Path(sys.argv[2]), np.load(sys.argv[3])
    wire, sys.stdout = sys.stdout, sys.stderr
    os.environ.update(
        HOME=str(folder), MEM0_DIR=str(folder / "mem0"), MEM0_TELEMETRY="False", ANONYMIZED_TELEMETRY="False",
        HF_HUB_OFFLINE="1", MCP_MEMORY_BASE_DIR=str(folder), OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1",
    )  # fmt: skip
    texts = [str(text) for text in corpus["texts"]]
    begun = time.perf_counter()
    distribution, opened = PEERS[name]
    write, recall = opened(folder, Given(texts, corpus["vectors"]))
    told: dict[str, object] = {"open_s": time.perf_counter() - begun, "version": version(distribution)}
    print(json.dumps(told), file=wire, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        times, found = [], []
        for text in texts[asked["from"] : asked["to"]]:
            start = time.perf_counter()
            answer = write(text) if asked["op"] == "write" else recall(text)
            times.append(time.perf_counter() - start)
            found.append(answer if asked["op"] == "recall" else None)
        print(json.dumps({"times": times, "found": found}), file=wire, flush=True)


if __name__ == "__main__":
    main()
