"""LangChain: a vector store, a retriever and a record manager over one collection of a memory.

>>> store = CMCVectorStore(embeddings, path="memory.db")              # doctest: +SKIP
>>> store.add_documents([Document("The kettle is in the cellar")])    # doctest: +SKIP
>>> store.similarity_search("kettle", k=1, filter={"room": {"$gt": 0}}, as_of="2026-01-01")   # doctest: +SKIP

Filters are maps in the manner of MongoDB: `{"page": 3}`, `{"page": {"$gt": 1, "$lte": 9}}`, `{"$or": [{…}, {…}]}`,
`{"author.name": {"$ilike": "m%"}}`; below `vif.` are the virtual columns of the witness. The operators, and what each
says of a missing key, a null and a value of another type, are in `_langchain_filters`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, cast
from uuid import uuid4

from pydantic import JsonValue

from cmc_mcp import limits
from cmc_mcp.adapters._awaiting import awaited, rows_of, tried
from cmc_mcp.adapters._extra import missing
from cmc_mcp.adapters._nul import check_nul
from cmc_mcp.adapters._opening import Opening, checked_model_id, is_none
from cmc_mcp.collection import Collection
from cmc_mcp.embed.external import ExternalEmbedder, model_name
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry, Found

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore

    from cmc_mcp.adapters._langchain_documents import SOURCE, document_of, no_more, own
    from cmc_mcp.adapters._langchain_errors import BadArgument, BadFilter
    from cmc_mcp.adapters._langchain_filters import check_lists, parsed
    from cmc_mcp.adapters._langchain_records import CMCRecordManager
    from cmc_mcp.adapters._langchain_retriever import CMCRetriever
except ImportError as error:
    raise missing("langchain", error) from error

__all__ = (
    "COLLECTION", "SOURCE", "BadArgument", "BadFilter", "CMCRecordManager", "CMCRetriever", "CMCVectorStore",
    "DocumentFilter", "document_of", "parsed",
)  # fmt: skip

COLLECTION: Final = "langchain"
_WITNESS: Final = ("off", "metadata")
DocumentFilter = Mapping[str, Any] | Callable[[Document], bool]


# ---------------------------------------------------------------------- the vector store
class CMCVectorStore(VectorStore):
    """A collection of a memory as a LangChain vector store. Safe to call from several threads.

    Adding under an id that is there supersedes it, deleting ends belief in it; `as_of` and `valid_at` on every search
    read an earlier state, and `cmc history` sees it all. Scores of `similarity_search_with_score` are cosine distances
    (0 the same, 2 the opposite); relevance scores are `1 - d/2`, always from 0 to 1.
    """

    def __init__(
        self,
        embedding: Embeddings | None = None,
        *,
        path: str | Path | None = None,
        memory: Memory | None = None,
        collection: str = COLLECTION,
        workspace: str = "default",
        principal: str | None = None,
        key: bytes | None = None,
        witness: str = "off",
        model_id: str | None = None,
    ) -> None:
        """Open a collection, in a new or existing file or of an open memory.

        `embedding` None means the model of the memory, which for a path is the bundled one. With `witness="metadata"`
        documents come with their provenance under the metadata key `vif`; see also `witness()`. `model_id` names the
        model of the embedding, by default its class and the attribute that names its model.

        Raises:
            BadArgument: both or neither of path and memory are given, or a model is named without an embedding.
            StoreError: the file cannot be opened.
        """
        opening = Opening(path, memory, workspace, principal, key).checked(BadArgument)
        self._witness = _checked_witness(witness)
        given = _embedder(embedding, model_id)
        self._embedding, self._owned = embedding, opening.owned
        self._reopens = None if memory is not None or key is not None else {
            "embedding": embedding, "path": path, "collection": collection, "workspace": workspace,
            "principal": principal, "witness": witness, "model_id": model_id,
        }  # fmt: skip
        self.memory, self.collection = opening.open(collection, given, "bundled")

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Open a store (arguments as of the constructor) and add texts to it."""
        store = cls(embedding, **kwargs)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the file, unless the memory was given. Closing twice is allowed."""
        if self._owned:
            self.memory.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return the arguments that open the same file again: for a copy, or in another process."""
        if self._reopens is None:
            raise BadArgument.at(
                "store", "cannot be pickled or copied: it was given an open memory or a key; open it by its path"
            )
        return self._reopens

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def embeddings(self) -> Embeddings:
        """The embedding; the memory's own model where none was given."""
        return self._embedding or _Bundled(self.collection)

    @property
    def own_embedding(self) -> Embeddings | None:
        """The embedding that the store was given; None: the model of the memory."""
        return self._embedding

    @property
    def has_model(self) -> bool:
        """Whether anything embeds a question."""
        return self._embedding is not None or self.collection.identity is not None

    # ------------------------------------------------------------------ writing
    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, of a list or of anything that yields them, with their metadata; see `add_documents`."""
        return self.add_documents(_documents(texts, metadatas), ids=ids, **kwargs)

    def add_documents(self, documents: Iterable[Document], **kwargs: Any) -> list[str]:
        """Add documents, a transaction for each thousand; return their ids.

        An id is the argument `ids`, or else the document's, or else new. Of an id given twice the last one counts.
        `valid_from`, `valid_to` and `confidence` hold for all; `batch_size` is for `index()`, and changes nothing.

        Raises:
            BadArgument: the number of ids differs, or an argument is unknown.
            InvalidInput: a text or its metadata is invalid.
        """
        entries = _entries(documents, kwargs)
        self.collection.put(entries, large=True)
        return [entry.id for entry in entries]

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """As `add_texts`, with the embedding awaited."""
        return await self.aadd_documents(_documents(texts, metadatas), ids=ids, **kwargs)

    async def aadd_documents(self, documents: Iterable[Document], **kwargs: Any) -> list[str]:
        """As `add_documents`, with the embedding awaited and the rest in a thread."""
        entries = _entries(documents, kwargs)
        if self._embedding is not None and entries:
            await tried(self.collection, self._embedding.aembed_documents)
            texts = await asyncio.to_thread(self.collection.unembedded, [entry.text for entry in entries])
            made = dict(zip(texts, await rows_of(texts, self._embedding.aembed_documents), strict=True))
            entries = [replace(entry, vector=made.get(entry.text)) for entry in entries]
        await asyncio.to_thread(self.collection.put, entries, large=True)
        return [entry.id for entry in entries]

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """As `from_texts`, with the embedding awaited and the rest in a thread."""
        store = await asyncio.to_thread(lambda: cls(embedding, **kwargs))
        try:
            await store.aadd_texts(texts, metadatas, ids=ids)
        except BaseException:
            await asyncio.to_thread(store.close)
            raise
        return store

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """End belief in documents by their ids, in one transaction. Unknown ids are ignored; to delete all, `clear`."""
        no_more(kwargs)
        if ids is None:
            raise BadArgument.at("ids", "is None; pass ids, or call clear() to delete every document")
        self.collection.delete(ids)
        return True

    def clear(self) -> int:
        """End belief in every document; return how many there were."""
        return self.collection.clear()

    # ------------------------------------------------------------------ reading
    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents by their ids, in the order of these; what is not there is left out."""
        return [self._document(found, self._witness) for found in self.collection.get(ids)]

    def witness(self, id: str) -> dict[str, JsonValue] | None:
        """Return the provenance of a document; None when it is not there."""
        found = self.collection.get([id])
        return found[0].vif if found else None

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Find the `k` nearest documents; `filter`, `as_of`, `valid_at` and `witness` limit and show them."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """Find the `k` nearest documents with their cosine distances, nearest first."""
        return self.similarity_search_with_score_by_vector(self.collection.embed_query(query), k, **kwargs)  # type: ignore[arg-type]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Find the `k` documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Find the `k` documents nearest to a vector with their cosine distances, nearest first."""
        witness, accept, asked = self._asked(kwargs)
        if is_none(k):
            return []

        def search(wanted: int, **more: Any) -> list[Found]:
            return self.collection.search(vector=embedding, k=wanted, **asked, **more)

        found = search(k) if accept is None else self._accepted(search, accept, k, asked)
        if not found:
            check_lists(asked["where"], self.collection, asked)
        return [(self._document(one, witness), _distance(one)) for one in found]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Find `k` documents near the question and unlike each other, of the `fetch_k` nearest."""
        vector: Any = self.collection.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Find `k` documents near a vector and unlike each other, of the `fetch_k` nearest."""
        witness, accept, asked = self._asked(kwargs)
        if is_none(k):
            return []
        if accept is not None:
            near = self._accepted(
                lambda wanted, **more: self.collection.search(vector=embedding, k=wanted, **asked, **more),
                accept, max(k, fetch_k), asked,
            )  # fmt: skip
            asked["ids"] = [one.id for one in near]
        found = self.collection.diverse(embedding, k=k, fetch_k=fetch_k, share=lambda_mult, **asked)
        return [self._document(one, witness) for one in found]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return _relevance

    # ------------------------------------------------------------------ the same, with the embedding awaited
    async def _avector(self, query: str) -> Any:
        if self._embedding is None:
            return await asyncio.to_thread(self.collection.embed_query, query)
        await tried(self.collection, self._embedding.aembed_documents)
        return await awaited(self._embedding.aembed_query(query))

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """As `similarity_search`, off the event loop."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_with_score`, off the event loop."""
        vector = await self._avector(query)
        return await asyncio.to_thread(self.similarity_search_with_score_by_vector, vector, k, **kwargs)

    async def asimilarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """As `similarity_search_by_vector`, off the event loop."""
        if self._embedding is not None:
            await tried(self.collection, self._embedding.aembed_documents)
        return await asyncio.to_thread(self.similarity_search_by_vector, embedding, k, **kwargs)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        found = await self.asimilarity_search_with_score(query, k, **kwargs)
        return [(document, _relevance(distance)) for document, distance in found]

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, off the event loop."""
        vector = await self._avector(query)
        return await self.amax_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **kwargs)

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """As `max_marginal_relevance_search_by_vector`, off the event loop."""
        if self._embedding is not None:
            await tried(self.collection, self._embedding.aembed_documents)
        search = self.max_marginal_relevance_search_by_vector
        return await asyncio.to_thread(search, embedding, k, fetch_k, lambda_mult, **kwargs)

    # ------------------------------------------------------------------ within
    def _asked(self, kwargs: dict[str, Any]) -> tuple[str, Callable[[Document], bool] | None, dict[str, Any]]:
        """Read the arguments that every search takes."""
        filter, witness = kwargs.pop("filter", None), _checked_witness(kwargs.pop("witness", self._witness))
        asked: dict[str, Any] = {name: kwargs.pop(name) for name in ("as_of", "valid_at") if name in kwargs}
        no_more(kwargs)
        accept = cast(Callable[[Document], bool], filter) if callable(filter) else None
        asked["where"] = None if filter is None or accept is not None else parsed(filter)
        return witness, accept, asked

    def _accepted(
        self, search: Callable[..., list[Found]], accept: Callable[[Document], bool], k: int, asked: dict[str, Any]
    ) -> list[Found]:
        """Search with a function as filter: fetch more until `k` are accepted, and past the bound ask it of every document."""
        wanted = 4 * k
        while True:
            found = search(min(wanted, limits.ENTRIES_K_MAX))
            kept = [one for one in found if accept(self._document(one, "off"))]
            if len(kept) >= k or len(found) < wanted:
                return kept[:k]
            if wanted >= limits.ENTRIES_K_MAX:
                every = self.collection.entries(as_of=asked.get("as_of"), valid_at=asked.get("valid_at"))
                ids = [one.id for one in every if accept(self._document(one, "off"))]
                return search(k, ids=ids) if ids else []
            wanted *= 4

    def _document(self, found: Found, witness: str) -> Document:
        return document_of(found, witness=witness == "metadata")


# ---------------------------------------------------------------------- within
class _Bundled(Embeddings):
    """The model of a memory as an embedding of LangChain."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = self._collection.embed(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        row: list[float] = self._collection.embed_query(text).tolist()
        return row


def _embedder(embedding: Embeddings | None, model_id: str | None) -> ExternalEmbedder | None:
    if embedding is None:
        if model_id is not None:
            raise BadArgument.at("model_id", "names the model of an embedding; pass that embedding too")
        return None
    if not isinstance(embedding, Embeddings):
        raise BadArgument.at("embedding", f"is a {type(embedding).__name__}; pass an Embeddings of LangChain")
    name = model_name(embedding) if model_id is None else checked_model_id(model_id, BadArgument)
    return ExternalEmbedder(name, embedding.embed_documents, embedding.embed_query)


def _documents(texts: Iterable[str], metadatas: Iterable[dict[str, Any]] | None) -> list[Document]:
    if isinstance(texts, str):
        raise BadArgument.at("texts", "is one text; pass a list of them")
    said = list(texts)
    given = [{}] * len(said) if metadatas is None else list(metadatas)
    if len(given) != len(said):
        raise BadArgument.at("metadatas", f"are {len(given):,}; one for each of the {len(said):,} texts")
    return [Document(page_content=text, metadata=dict(known or {})) for text, known in zip(said, given, strict=True)]


def _entries(documents: Iterable[Document], kwargs: dict[str, Any]) -> list[Entry]:
    """Make entries of documents, by the arguments that adding takes."""
    ids = kwargs.pop("ids", None)
    kwargs.pop("batch_size", None)
    facts = {name: kwargs.pop(name) for name in ("valid_from", "valid_to", "confidence") if name in kwargs}
    no_more(kwargs)
    documents = list(documents)
    given = ids if ids is None or isinstance(ids, str) else list(ids)
    if isinstance(given, str) or (given is not None and len(given) != len(documents)):
        raise BadArgument.at("ids", f"are not {len(documents):,}: one for each document")
    named = [
        id if id is not None else document.id if document.id is not None else str(uuid4())
        for document, id in zip(documents, given or [None] * len(documents), strict=True)
    ]
    made = [Entry(id, doc.page_content, own(doc.metadata), **facts) for id, doc in zip(named, documents, strict=True)]
    check_nul(made)
    return made


def _checked_witness(witness: object) -> str:
    if witness not in _WITNESS:
        raise BadArgument.at("witness", f"{witness!r:.40} is neither off nor metadata")
    return str(witness)


def _distance(found: Found) -> float:
    return round(1.0 - (found.score or 0.0), 6)


def _relevance(distance: float) -> float:
    return min(1.0, max(0.0, 1.0 - distance / 2.0))
