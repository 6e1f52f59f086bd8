"""LangChain's retriever: the full read pipeline over a collection."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import ConfigDict

from cmc_mcp import limits
from cmc_mcp.adapters._awaiting import awaited, tried
from cmc_mcp.adapters._langchain_documents import CollectionStore, document_of, no_more
from cmc_mcp.adapters._langchain_errors import BadArgument
from cmc_mcp.adapters._langchain_filters import parsed
from cmc_mcp.adapters._opening import is_none
from cmc_mcp.errors import EmbedderError
from cmc_mcp.model.entries import Found
from cmc_mcp.model.filters import VIF, Compare, Every, Field, Where


def _among(field: Field, names: Any) -> bool:
    return field in names


def _at_least(field: Field, least: Any) -> bool:
    return isinstance(field, int | float) and field >= least


def _is_odd(query: str) -> bool:
    """Return whether a question is one that the pipeline does not take: blank, or too long."""
    return not query.strip() or len(query) > limits.QUERY_CHARS_MAX


class CMCRetriever(BaseRetriever):
    """The full read pipeline over a collection: meaning and words, what contradicts and what superseded, both clocks.

    Every field can be given at a call too, as in `retriever.invoke(question, k=3, as_of="2026-01-01")`; what is no
    field is refused. With the witness, a document without a `source` gets `atom://…`, so that it can be cited.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    store: CollectionStore
    k: int = 4
    budget_tokens: int = limits.BUDGET_TOKENS_MAX
    filter: dict[str, Any] | None = None
    as_of: Any = None
    valid_at: Any = None
    mode: str = "hybrid"
    writer: str | list[str] | None = None
    min_confidence: float | None = None
    witness: bool = True

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        asked, witness = self._asked(kwargs)
        return [document_of(one, witness=witness) for one in self._found(query, asked, None)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        asked, witness = self._asked(kwargs)
        vector, embedding = None, self.store.own_embedding
        if embedding is not None and asked["mode"] != "text":
            collection = self.store.collection
            await tried(collection, embedding.aembed_documents)
            text = query
            if asked["mode"] == "hybrid" and not _is_odd(query):
                text = await asyncio.to_thread(collection.meant, query, asked["as_of"], asked["valid_at"])
            try:
                vector = await awaited(embedding.aembed_query(text))
            except EmbedderError:
                if asked["mode"] == "dense" or _is_odd(query):
                    raise
                return await asyncio.to_thread(self._by_words, query, asked, witness)
        found = await asyncio.to_thread(self._found, query, asked, vector)
        return [document_of(one, witness=witness) for one in found]

    def _by_words(self, query: str, asked: dict[str, Any], witness: bool) -> list[Document]:
        """Answer without a vector, as the pipeline does when the model cannot be had."""
        collection = self.store.collection.without_model()
        return [document_of(one, witness=witness) for one in collection.recall(query, **asked)]

    def _asked(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        own = CMCRetriever.model_fields.keys() - BaseRetriever.model_fields.keys() - {"store"}
        asked = {name: kwargs.pop(name, getattr(self, name)) for name in own}
        no_more(kwargs)
        filter, witness = asked.pop("filter"), asked.pop("witness")
        asked["where"] = None if filter is None else parsed(filter)
        return asked, bool(witness)

    def _found(self, query: str, asked: dict[str, Any], vector: Any) -> list[Found]:
        """Answer a question of any length, for any number of documents; a blank one by its vector alone."""
        collection, k = self.store.collection, asked["k"]
        if not isinstance(query, str):
            raise BadArgument.at("query", f"is a {type(query).__name__}; pass text")
        if is_none(k):
            return []
        if not query.strip():
            return self._nearest(query, asked, vector, k)
        few = not isinstance(k, int) or k <= limits.RECALL_ITEMS_MAX
        if few and len(query) <= limits.QUERY_CHARS_MAX:
            return collection.recall(query, vector=vector, **asked)
        part = {**asked, "k": min(k, limits.RECALL_ITEMS_MAX)}
        if vector is None and asked["mode"] != "text" and self.store.has_model:
            vector = collection.embed_query(query)
        cut = query[: limits.QUERY_CHARS_MAX]
        found = collection.recall(cut, vector=vector, **part)
        if asked["mode"] == "text" and not few:
            times = {"as_of": asked["as_of"], "valid_at": asked["valid_at"]}
            return collection.search(text=cut, k=min(k, limits.ENTRIES_K_MAX), where=asked["where"], **times)
        if len(found) < min(k, limits.RECALL_ITEMS_MAX) or len(found) >= k or vector is None:
            return found
        known = {one.id for one in found}
        more = self._nearest(query, asked, vector, min(k + len(found), limits.ENTRIES_K_MAX))
        return [*found, *(one for one in more if one.id not in known)][:k]

    def _nearest(self, query: str, asked: dict[str, Any], vector: Any, k: int) -> list[Found]:
        """Find by vector alone, limited as the pipeline is; without a model in order of recording."""
        collection = self.store.collection
        times = {"as_of": asked["as_of"], "valid_at": asked["valid_at"]}
        limits_: list[Where] = [] if asked["where"] is None else [asked["where"]]
        writer, least = asked["writer"], asked["min_confidence"]
        if writer is not None:
            limits_.append(Compare((VIF, "writer"), _among, (writer,) if isinstance(writer, str) else tuple(writer)))
        if least is not None:
            limits_.append(Compare((VIF, "confidence", "lo"), _at_least, least))
        where = Every(tuple(limits_)) if limits_ else None
        if not self.store.has_model or asked["mode"] == "text":
            return collection.entries(where=where, limit=k, **times)
        asked_vector = collection.embed_query(query) if vector is None else vector
        return collection.search(vector=asked_vector, k=min(k, limits.ENTRIES_K_MAX), where=where, **times)

    def _get_ls_params(self, **_: Any) -> LangSmithRetrieverParams:
        return LangSmithRetrieverParams(ls_retriever_name="cmc", ls_vector_store_provider="cmc")
