"""The suites that LangChain ships, with the default constructor and no test left out."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from cmc_mcp.adapters.langchain import CMCRetriever, CMCVectorStore


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        store = CMCVectorStore(self.get_embeddings(), path=tmp_path / "memory.db")
        try:
            yield store
        finally:
            store.close()


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _filled(self, tmp_path):
        self.store = CMCVectorStore(VectorStoreIntegrationTests.get_embeddings(), path=tmp_path / "memory.db")
        rooms = ("cellar", "kitchen", "attic", "garden", "hall")
        self.store.add_documents([Document(f"The kettle number {n} is in the {room}") for n, room in enumerate(rooms)])
        yield
        self.store.close()

    @property
    def retriever_constructor(self):
        return CMCRetriever

    @property
    def retriever_constructor_params(self):
        return {"store": self.store}

    @property
    def retriever_query_example(self):
        return "Where is the kettle?"
