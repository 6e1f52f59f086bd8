"""A LangChain retrieval chain over a memory: load, index, ask with citations, correct, and ask what was known before.

`python -m cmc_mcp.examples.langchain_rag` runs it with fake models, offline; put your own embedding and chat model in
their place.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import index
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough

from cmc_mcp.adapters.langchain import CMCRecordManager, CMCRetriever, CMCVectorStore

PROMPT = ChatPromptTemplate.from_template("Answer from these notes, and cite them.\n\n{notes}\n\nQuestion: {question}")


def notes(documents: list[Document]) -> str:
    """Write documents for a prompt: the text and where it is from, nothing else of their metadata."""
    return "\n".join(f"{document.page_content} [{document.metadata['source']}]" for document in documents)


def chain(store: CMCVectorStore, model: BaseChatModel) -> Runnable[str, str]:
    """Make the usual chain: retrieve, write the prompt, ask, read the answer."""
    retriever = CMCRetriever(store=store, k=2)
    return {"notes": retriever | notes, "question": RunnablePassthrough()} | PROMPT | model | StrOutputParser()


def run(folder: Path, embedding: Embeddings, model: BaseChatModel) -> list[str]:
    """Run the example in a folder; return its answers and what it found."""
    with CMCVectorStore(embedding, path=folder / "memory.db") as store:
        records = CMCRecordManager("handbook", store=store)
        first = [
            Document("Travel needs approval above 500 euros.", metadata={"source": "travel.md", "year": 2025}),
            Document("The office opens at eight.", metadata={"source": "office.md", "year": 2024}),
        ]
        index(first, records, store, cleanup="full", source_id_key="source", key_encoder="sha256")
        store.memory.snapshot("last-year")
        answer = chain(store, model).invoke("When does travel need approval?")

        edited = [
            Document("Travel needs approval above 900 euros.", metadata={"source": "travel.md", "year": 2026}),
            first[1],
        ]
        result = index(edited, records, store, cleanup="full", source_id_key="source", key_encoder="sha256")
        now = CMCRetriever(store=store, k=1, filter={"year": {"$gte": 2025}}).invoke("travel approval")
        then = CMCRetriever(store=store, k=1, filter={"year": {"$gte": 2025}}).invoke(
            "travel approval", as_of="last-year"
        )
        return [
            answer,
            f"{result['num_added']} added, {result['num_deleted']} deleted, {result['num_skipped']} as before",
            f"now: {now[0].page_content} written by {now[0].metadata['vif']['writer']}",
            f"then: {then[0].page_content}",
        ]


def main() -> None:
    """Run the example with fake models and print what it says."""
    with tempfile.TemporaryDirectory() as folder:
        model = FakeListChatModel(responses=["Above 500 euros [travel.md]."])
        print("\n".join(run(Path(folder), DeterministicFakeEmbedding(size=64), model)))


if __name__ == "__main__":
    main()
