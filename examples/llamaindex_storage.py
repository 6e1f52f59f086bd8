"""A LlamaIndex index in one file: build it, open it again, cite, correct a document, ask what was known before.

`python -m cmc_mcp.examples.llamaindex_storage` runs it with fake models, offline; put your own embedding and language
model in their place.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import tempfile
from pathlib import Path

from llama_index.core import Document, MockEmbedding, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import NodeWithScore
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters

from cmc_mcp.adapters.llamaindex import CMCMemoryBlock, CMCVectorStore, storage_context

RECENT = MetadataFilters(filters=[MetadataFilter(key="year", value=2025, operator=FilterOperator.GTE)])


class Words(MockEmbedding):
    """A fake embedding without a network: texts that share words are near."""

    def __init__(self, embed_dim: int = 64) -> None:
        super().__init__(embed_dim=embed_dim, model_name="words")

    def _of(self, text: str) -> list[float]:
        row = [0.0] * self.embed_dim
        for word in text.lower().split():
            row[hashlib.sha256(word.strip(".?,:").encode()).digest()[0] % self.embed_dim] += 1.0
        length = math.hypot(*row) or 1.0
        return [value / length for value in row]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._of(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._of(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._of(query)


def handbook(limit: int, year: int) -> list[Document]:
    """Return the documents, as one year's edition has them."""
    travel = f"Travel needs approval above {limit} euros."
    office = "The office opens at eight."
    return [
        Document(id_="travel", text=travel, metadata={"source": "travel.md", "year": year}),
        Document(id_="office", text=office, metadata={"source": "office.md", "year": 2024}),
    ]


def shown(hits: list[NodeWithScore]) -> str:
    """Write what was found: the text, where it is from, and who wrote it into the memory."""
    node = hits[0].node
    return f"{node.get_content()} [{node.metadata['source']}] written by {node.metadata['vif']['writer']}"


def run(folder: Path, embedding: BaseEmbedding, model: LLM) -> list[str]:
    """Run the example in a folder; return what it found."""
    path, said = folder / "memory.db", []
    with CMCVectorStore(path, embed_model=embedding) as store:
        context = storage_context(store)
        pipeline = IngestionPipeline(
            transformations=[SentenceSplitter(), embedding],
            docstore=context.docstore,
            vector_store=store,
            docstore_strategy=DocstoreStrategy.UPSERTS,
        )
        pipeline.run(documents=handbook(500, 2025))
        store.client.snapshot("last-year")
        again = pipeline.run(documents=handbook(900, 2026))
        said.append(f"{len(again)} of 2 documents were new")
        index = VectorStoreIndex([], storage_context=context, embed_model=embedding)
        index.set_index_id("handbook")

    with CMCVectorStore(path, embed_model=embedding) as store:  # another day, another process
        reloaded = load_index_from_storage(storage_context(store), index_id="handbook", embed_model=embedding)
        ask = "When does travel need approval?"
        said.append("now: " + shown(reloaded.as_retriever(similarity_top_k=1, filters=RECENT).retrieve(ask)))
        before = reloaded.as_retriever(similarity_top_k=1, vector_store_kwargs={"as_of": "last-year"})
        said.append("then: " + shown(before.retrieve(ask)))
        answer = reloaded.as_query_engine(llm=model, similarity_top_k=1).query(ask)
        said.append(f"answered from {len(answer.source_nodes)} source: {answer.source_nodes[0].metadata['source']}")
        said.append("recalled: " + asyncio.run(talk(store)))
    return said


async def talk(store: CMCVectorStore) -> str:
    """Put what was said in one session into the same file, and return what another session recalls of it.

    An agent's memory does this by itself: `Memory.from_defaults(session_id="tuesday", memory_blocks=[block])`.
    """
    block = CMCMemoryBlock(memory=store.client, limit=1)
    await block.aput([ChatMessage("My train leaves from platform nine.")], session_id="monday")
    return await block.aget([ChatMessage("Which platform does my train leave from?")], session_id="tuesday")


def main() -> None:
    """Run the example with fake models and print what it says."""
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(run(Path(folder), Words(), MockLLM())))


if __name__ == "__main__":
    main()
