"""LlamaIndex: a vector store, a key-value store for documents and indices, and a memory block, in one file.

>>> store = CMCVectorStore("memory.db")                                                    # doctest: +SKIP
>>> index = VectorStoreIndex.from_documents(documents, storage_context(store))             # doctest: +SKIP
>>> index.as_retriever(filters=MetadataFilters(filters=[…])).retrieve("kettle")            # doctest: +SKIP

All fourteen operators are there, as `SimpleVectorStore` understands them: `_OPERATORS` says what each says of a missing
key, a null and a value of another type. Conditions nest. Keys are whole: a dot in one is a dot, but below `vif.` are the
virtual columns of the witness, and `ref_doc_id` (or `doc_id`, `document_id`) is the source document's id.
"""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field as ModelField
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.memory.memory import BaseMemoryBlock
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    TextNode,
)
from llama_index.core.storage import StorageContext
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.index_store.keyval_index_store import KVIndexStore
from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from cmc_mcp import limits
from cmc_mcp.adapters._opening import Opening
from cmc_mcp.collection import Collection
from cmc_mcp.embed.external import ExternalEmbedder, model_name
from cmc_mcp.errors import InvalidInput, LimitExceeded, Problem, brief
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry, Found, coerced
from cmc_mcp.model.filters import MISSING, VIF, Compare, Either, Every, Field, Negation, Operator, Where, frozen

COLLECTION: Final = "llamaindex"
SOURCE: Final = "source"
_ATOM: Final = "atom://"
_HANDED_OVER: Final = "llamaindex"  # the model of vectors that come with nodes and say not whose they are
_REF_DOC: Final = "_ref_doc_id"
"""The reserved metadata key that holds the id of a node's source document."""
_REF_DOC_NAMES: Final = ("ref_doc_id", "doc_id", "document_id")
_EXCLUDED: Final = ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")
_NODES: Final[Mapping[str, type[BaseNode]]] = MappingProxyType(
    {kind.class_name(): kind for kind in (Node, TextNode, ImageNode, IndexNode, Document, ImageDocument)}
)
_CHARS_A_TOKEN: Final = 4


class BadArgument(InvalidInput, ValueError):
    """Raised when an argument, a filter or a mode is wrong or unknown."""


# ---------------------------------------------------------------------- the filter language
def _in(field: Any, value: Any) -> bool:
    return field in value


def _nin(field: Any, value: Any) -> bool:
    return field not in value


def _any(field: Any, values: Any) -> bool:
    return any(value in field for value in values)


def _all(field: Any, values: Any) -> bool:
    return all(value in field for value in values)


def _text_match(field: Any, value: Any) -> bool:
    return isinstance(field, str) and value in field


def _text_match_insensitive(field: Any, value: Any) -> bool:
    return isinstance(field, str) and value.lower() in field.lower()


def _present(test: Callable[[Any, Any], bool]) -> Operator:
    """Make an operator that says no of a missing key, a null, and a value it cannot be asked of."""

    def asked(field: Field, value: object) -> bool:
        if field is MISSING or field is None:
            return False
        try:
            return test(field, list(value) if isinstance(value, tuple) else value)
        except TypeError:
            return False

    return asked


def _absent(test: Callable[[Any, Any], bool]) -> Operator:
    """Make an operator that says yes of a missing key and a null, and no of a value it cannot be asked of."""
    present = _present(test)
    return lambda field, value: field is MISSING or field is None or present(field, value)


def _is_empty(field: Field, _: object) -> bool:
    return field is MISSING or field is None or field in ("", [])


def _is_there(field: Field, _: object) -> bool:
    return field is not MISSING


_OPERATORS: Final[Mapping[FilterOperator, Operator]] = MappingProxyType(
    {
        # Python's own comparison, as in SimpleVectorStore: 1 is 1.0 and true; texts and lists have an order; numbers and
        # texts have none, and then it is no match where SimpleVectorStore fails
        FilterOperator.EQ: _present(operator.eq),
        FilterOperator.GT: _present(operator.gt),
        FilterOperator.GTE: _present(operator.ge),
        FilterOperator.LT: _present(operator.lt),
        FilterOperator.LTE: _present(operator.le),
        FilterOperator.IN: _present(_in),  # in a list; in a text it is a part of it
        FilterOperator.CONTAINS: _present(
            operator.contains
        ),  # an element of a list, a part of a text, a key of an object
        FilterOperator.ANY: _present(_any),
        FilterOperator.ALL: _present(_all),
        FilterOperator.TEXT_MATCH: _present(_text_match),
        FilterOperator.TEXT_MATCH_INSENSITIVE: _present(_text_match_insensitive),
        # the only ones that hold of a missing key and of null
        FilterOperator.NE: _absent(operator.ne),
        FilterOperator.NIN: _absent(_nin),
        FilterOperator.IS_EMPTY: _is_empty,
    }
)
_SEQUENCES: Final = frozenset({FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL})
_TEXTS: Final = frozenset({FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE})
_ORDERS: Final = frozenset({FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE})


def parsed(filters: MetadataFilters | None) -> Where | None:
    """Read filters; None where they say nothing.

    Raises:
        BadArgument: a key, an operator or a value is invalid; the error names its place.
        LimitExceeded: the filters are nested too deep.
    """
    if filters is None:
        return None
    if not isinstance(filters, MetadataFilters):
        raise BadArgument.at("filters", f"is a {type(filters).__name__}; pass MetadataFilters")
    return _joined(filters, "filters", 1) if filters.filters else None


def _joined(filters: MetadataFilters, path: str, depth: int) -> Where:
    if depth > limits.FILTER_DEPTH_MAX:
        raise LimitExceeded.over("filters", "FILTER_DEPTH_MAX", depth, limits.FILTER_DEPTH_MAX)
    parts = tuple(
        _joined(part, f"{path}[{place}]", depth + 1)
        if isinstance(part, MetadataFilters)
        else _compared(part, f"{path}[{place}]")
        for place, part in enumerate(filters.filters)
    )
    condition = filters.condition or FilterCondition.AND
    if condition == FilterCondition.AND or not parts:
        return Every(parts)
    return Either(parts) if condition == FilterCondition.OR else Negation(Either(parts))


def _compared(given: MetadataFilter, path: str) -> Where:
    if not given.key:
        raise BadArgument.at(f"{path}.key", "is empty; pass the name of a metadata field")
    test = _OPERATORS.get(given.operator)
    if test is None:
        raise BadArgument.at(f"{path}.operator", f"{given.operator!s:.40} is an unknown operator here")
    value = _value(given, f"{path}.value")
    if given.key == VIF or given.key.startswith(f"{VIF}."):
        return Compare(tuple(given.key.split(".")), test, value)
    own = Compare((given.key,), test, value)
    if given.key not in _REF_DOC_NAMES:
        return own
    theirs = Compare((given.key,), _is_there, None)  # a caller's own field of that name comes first
    return Either((Every((theirs, own)), Every((Negation(theirs), Compare((_REF_DOC,), test, value)))))


def _value(given: MetadataFilter, path: str) -> Any:
    """Check that a value can be right for its operator, of whatever field."""
    value = given.value
    if given.operator in _SEQUENCES and not isinstance(value, str | list):
        raise BadArgument.at(path, f"of {given.operator.name} is a {type(value).__name__}; pass a list")
    if given.operator in _TEXTS and not isinstance(value, str):
        raise BadArgument.at(path, f"of {given.operator.name} is a {type(value).__name__}; pass text")
    if given.operator in _ORDERS and value is None:
        raise BadArgument.at(path, f"of {given.operator.name} is None; pass a number or text")
    return frozen(value, path)


# ---------------------------------------------------------------------- nodes as entries
def _entry(node: BaseNode, place: int) -> Entry:
    """Make an entry of a node: its text as it is embedded, its metadata, and all of it as JSON beside.

    A node without words stands under its id, so that two pictures are not one content. JSON is kept as text, since the
    order of metadata is the order in what is embedded and prompted.
    """
    path = f"nodes[{place}]"
    if not isinstance(node, BaseNode):
        raise BadArgument.at(path, f"is a {type(node).__name__}; pass nodes of LlamaIndex")
    node = _own(node)
    try:
        data = node.model_dump(mode="json", exclude={"embedding"})
        extra = json.dumps(data, ensure_ascii=False)
    except ValueError as error:  # pydantic's serialization errors among them
        raise BadArgument.at(f"{path}.metadata", f"cannot be written as JSON: {error}") from error
    text = node.get_content(MetadataMode.EMBED)
    source = node.ref_doc_id
    metadata = data["metadata"] if source is None else {**data["metadata"], _REF_DOC: source}
    return Entry(node.node_id, text if text.strip() else node.node_id, metadata, node.embedding, extra)


def _own(node: BaseNode) -> BaseNode:
    """Return a node without a witness: one that was read here, or forged; the caller's is left as it is."""
    if VIF not in node.metadata:
        return node
    source = node.metadata.get(SOURCE)
    ours = {VIF, SOURCE} if isinstance(source, str) and source.startswith(_ATOM) else {VIF}
    clean: dict[str, Any] = {name: [k for k in getattr(node, name) if k not in ours] for name in _EXCLUDED}
    clean["metadata"] = {key: value for key, value in node.metadata.items() if key not in ours}
    return node.model_copy(update=clean)


def node_of(found: Found, *, witness: bool) -> BaseNode:
    """Make the node of an entry: as it was added, or of what another wrote, a TextNode of its text and metadata.

    With the witness, its metadata have `vif`, and `source` where the caller gave none; neither is embedded or prompted.
    """
    data = _node_json(found)
    if witness:
        metadata = data["metadata"]
        ours = [VIF] if SOURCE in metadata else [VIF, SOURCE]
        metadata[VIF] = found.vif
        metadata.setdefault(SOURCE, f"{_ATOM}{found.vif['atom_id']}")
        for name in _EXCLUDED:
            data[name] = [*data.get(name, ()), *ours]
    return _NODES.get(str(data.get("class_name")), TextNode).from_dict(data)


def _node_json(found: Found) -> dict[str, Any]:
    if isinstance(found.extra, str):
        try:
            data = json.loads(found.extra)
        except ValueError:
            data = None
        if isinstance(data, dict) and isinstance(data.get("metadata"), dict) and data.get("id_") == found.id:
            return cast("dict[str, Any]", data)
    metadata = {key: value for key, value in found.metadata.items() if key != _REF_DOC}
    return {"class_name": TextNode.class_name(), "id_": found.id, "text": found.text, "metadata": metadata}


# ---------------------------------------------------------------------- the vector store
class CMCVectorStore(BasePydanticVectorStore):
    """A collection of a memory as a LlamaIndex vector store. Safe to call from several threads.

    Adding a node under an id that is there supersedes it, deleting ends belief in it; `as_of` and `valid_at` (keyword
    arguments of `query` and `get_nodes`) read an earlier state, and `cmc history` sees it all. Similarities are cosines
    of vectors, BM25 scores of TEXT_SEARCH and SPARSE, and from 0 to 1 in HYBRID. With `witness`, nodes come with their
    provenance under the metadata key `vif`, which is neither embedded nor prompted.

    A text has one vector for each model, the first that is given: an embedded text that is the same is the same point.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    path: str | None = None
    collection: str = COLLECTION
    workspace: str = "default"
    principal: str | None = None
    model_id: str | None = None
    witness: bool = True
    embed_model: BaseEmbedding | None = ModelField(default=None, exclude=True)
    _memory: Memory = PrivateAttr()
    _entries: Collection = PrivateAttr()
    _owned: bool = PrivateAttr()
    _reopens: bool = PrivateAttr()

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        memory: Memory | None = None,
        collection: str = COLLECTION,
        embed_model: BaseEmbedding | None = None,
        model_id: str | None = None,
        workspace: str = "default",
        principal: str | None = None,
        key: bytes | None = None,
        witness: bool = True,
        **fields: Any,
    ) -> None:
        """Open a collection, in a new or existing file or of an open memory.

        Vectors come with the nodes. They are recorded as of `model_id`, by default the name of `embed_model`; where
        neither is given, of a memory's own model, or of a file's "llamaindex". With `embed_model`, nodes and questions
        that come without a vector are embedded.

        Raises:
            BadArgument: both or neither of path and memory are given.
            StoreError: the file cannot be opened.
        """
        _no_more({name: value for name, value in fields.items() if name not in ("stores_text", "is_embedding_query")})
        opening = Opening(path, memory, workspace, principal, key).checked(BadArgument)
        given = _embedder(embed_model, model_id)
        fields = {"path": None if path is None else str(path), "collection": collection, "workspace": workspace}
        fields |= {"principal": principal, "model_id": model_id, "witness": witness, "embed_model": embed_model}
        try:
            super().__init__(stores_text=True, **fields)
        except ValueError as error:
            raise BadArgument.at("store", f"cannot be made of this: {error}") from error
        self._owned, self._reopens = opening.owned, opening.owned and key is None
        self._memory, self._entries = opening.open(collection, given, ExternalEmbedder(_HANDED_OVER))

    @classmethod
    def from_params(cls, path: str | Path, **kwargs: Any) -> CMCVectorStore:
        """Open a file; arguments as of the constructor."""
        return cls(path, **kwargs)

    @classmethod
    def class_name(cls) -> str:
        """Name the class as LlamaIndex serialises it."""
        return "CMCVectorStore"

    @property
    def client(self) -> Memory:
        """The memory below: history, snapshots, rollback."""
        return self._memory

    def close(self) -> None:
        """Close the file, unless the memory was given. Closing twice is allowed."""
        if self._owned:
            self._memory.close()

    def __enter__(self) -> CMCVectorStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return the arguments that open the same file in another process."""
        if not self._reopens:
            raise BadArgument.at(
                "store", "cannot be pickled: it was given an open memory or a key; open it by its path"
            )
        return {"__dict__": dict(self.__dict__)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # as BaseComponent does it

    # ------------------------------------------------------------------ writing
    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes, all checked first, a transaction for each thousand; return their ids.

        Of an id given twice the last one counts. `valid_from`, `valid_to` and `confidence` hold for all.

        Raises:
            BadArgument: a node or an argument is invalid.
            InvalidInput: a text, its metadata or its vector is invalid.
            DimensionMismatch: the length of a vector differs.
            EmbedderError: a node lacks a vector, and the store lacks an embedding.
        """
        facts = {name: kwargs.pop(name) for name in ("valid_from", "valid_to", "confidence") if name in kwargs}
        _no_more(kwargs)
        given: object = nodes
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise BadArgument.at("nodes", f"is a {type(given).__name__}; pass a list of nodes")
        drafts = [_entry(node, place) for place, node in enumerate(nodes)]
        missing = [place for place, draft in enumerate(drafts) if draft.vector is None]
        vectors = self._entries.embed([drafts[n].text for n in missing]) if missing else ()
        made = dict(zip(missing, vectors, strict=True))
        self._entries.put(
            [
                Entry(d.id, d.text, d.metadata, made.get(n, d.vector), d.extra, **facts)
                for n, d in enumerate(drafts)
            ]
        )  # fmt: skip
        return [draft.id for draft in drafts]

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """End belief in the nodes of a source document. An unknown id is ignored."""
        _no_more(kwargs)
        if not isinstance(ref_doc_id, str):
            raise BadArgument.at("ref_doc_id", f"is a {type(ref_doc_id).__name__}; pass the id of a document")
        self._delete(Compare((_REF_DOC,), _OPERATORS[FilterOperator.EQ], ref_doc_id), None)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> None:
        """End belief in nodes by their ids, by a filter, or by both at once. Without either nothing is deleted."""
        _no_more(kwargs)
        where = parsed(filters)
        if node_ids is not None or where is not None:
            self._delete(where, node_ids)

    def clear(self) -> None:
        """End belief in every node of the collection, in one transaction."""
        self._entries.clear()

    def _delete(self, where: Where | None, ids: Sequence[str] | None) -> None:
        self._entries.delete([found.id for found in self._entries.entries(where=where, ids=ids)])

    # ------------------------------------------------------------------ reading
    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """Return nodes by their ids (in their order), by a filter, or by both; without either all of them."""
        times = _times(kwargs)
        _no_more(kwargs)
        found = self._entries.entries(where=parsed(filters), ids=node_ids, **times)
        return [node_of(one, witness=self.witness) for one in found]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Find the nodes that match best; filtered first and exact, so `similarity_top_k` come whenever as many pass.

        DEFAULT and MMR take an embedding, TEXT_SEARCH and SPARSE a text, HYBRID both; `alpha` (0.5) is the share of the
        vector. `sparse_top_k` is the number in TEXT_SEARCH and SPARSE, and `hybrid_top_k` in HYBRID, where they are
        given; HYBRID weighs every candidate of both kinds, so the number of each cannot be chosen. Keyword arguments:
        `as_of`, `valid_at`, `mmr_threshold` (0.5: nearness against unlikeness) and `mmr_prefetch_k` (the nearest that
        MMR chooses from: four times `similarity_top_k`, at least 20).

        Raises:
            BadArgument: the mode or an argument is unknown, or the text or the embedding is missing.
            InvalidInput: the number or a filter is invalid.
            DimensionMismatch: the length of the embedding differs.
            EmbedderError: the embedding is missing, and the store lacks one.
        """
        times = _times(kwargs)
        search = _SEARCHES.get(query.mode)
        if search is None:
            raise BadArgument.at(
                "mode", f"{query.mode!s:.40} is an unknown mode; use one of {', '.join(m.name for m in _SEARCHES)}"
            )
        if query.output_fields is not None or query.embedding_field is not None:
            raise BadArgument.at(
                "output_fields", "and embedding_field are not here: nodes come whole, under one vector"
            )
        options: dict[str, Any] = {
            name: kwargs.pop(name) for name in ("mmr_threshold", "mmr_prefetch_k") if name in kwargs
        }
        if options and query.mode != VectorStoreQueryMode.MMR:
            raise BadArgument.of([Problem(name, "is for the mode MMR") for name in options])
        _no_more(kwargs)
        # an index over a store that holds text has no list of nodes, and its retriever hands on an empty one
        limited = {"where": _where(query), "ids": query.node_ids or None, **times}
        found = search(self, query, limited, options)
        return VectorStoreQueryResult(
            nodes=[node_of(one, witness=self.witness) for one in found],
            similarities=[one.score or 0.0 for one in found],
            ids=[one.id for one in found],
        )

    def _by_vector(self, query: VectorStoreQuery, limited: Mapping[str, Any], _: Mapping[str, Any]) -> list[Found]:
        return self._entries.search(vector=self._vector(query), k=query.similarity_top_k, **limited)

    def _by_text(self, query: VectorStoreQuery, limited: Mapping[str, Any], _: Mapping[str, Any]) -> list[Found]:
        k = query.similarity_top_k if query.sparse_top_k is None else query.sparse_top_k
        return self._entries.search(text=_text(query), k=k, **limited)

    def _by_both(self, query: VectorStoreQuery, limited: Mapping[str, Any], _: Mapping[str, Any]) -> list[Found]:
        k = query.similarity_top_k if query.hybrid_top_k is None else query.hybrid_top_k
        alpha: object = 0.5 if query.alpha is None else query.alpha
        if not isinstance(alpha, int | float) or not 0 <= alpha <= 1:
            raise BadArgument.at("alpha", f"{brief(alpha)} is not a number from 0 (words) to 1 (vectors)")
        return self._entries.search(vector=self._vector(query), text=_text(query), k=k, alpha=alpha, **limited)

    def _diverse(
        self, query: VectorStoreQuery, limited: Mapping[str, Any], options: Mapping[str, Any]
    ) -> list[Found]:  # fmt: skip
        share, k = options.get("mmr_threshold", query.mmr_threshold), query.similarity_top_k
        fetch = options.get("mmr_prefetch_k")
        return self._entries.diverse(
            self._vector(query),
            k=k,
            fetch_k=max(20, 4 * k) if fetch is None else fetch,
            share=0.5 if share is None else share,
            **limited,
        )

    def _vector(self, query: VectorStoreQuery) -> Any:
        if query.query_embedding is not None:
            return query.query_embedding
        if query.query_str is None:
            raise BadArgument.at("query_embedding", f"is missing, and mode {query.mode.name} needs one")
        return self._entries.embed_query(query.query_str)

    # ------------------------------------------------------------------ the same, off the event loop
    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`, in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """As `delete`, in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> None:
        """As `delete_nodes`, in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **kwargs)

    async def aclear(self) -> None:
        """As `clear`, in a thread."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """As `get_nodes`, in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters, **kwargs)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`, in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)


_SEARCHES: Final = MappingProxyType(
    {
        VectorStoreQueryMode.DEFAULT: CMCVectorStore._by_vector,
        VectorStoreQueryMode.TEXT_SEARCH: CMCVectorStore._by_text,
        VectorStoreQueryMode.SPARSE: CMCVectorStore._by_text,
        VectorStoreQueryMode.HYBRID: CMCVectorStore._by_both,
        VectorStoreQueryMode.MMR: CMCVectorStore._diverse,
    }
)


# ---------------------------------------------------------------------- documents and indices
class CMCKVStore(BaseKVStore):
    """A key-value store in a memory: each of its collections is one there, with values that are never searched.

    A value that is put again is revised, and a deleted value is no longer believed: the history of both is kept.
    """

    def __init__(self, memory: Memory, name: str = COLLECTION) -> None:
        """Keep values in a memory, under a name that sets them apart from those of other stores."""
        self._memory, self._name = memory, name

    def _of(self, collection: str) -> Collection:
        return self._memory.collection(f"{self._name}/{collection}")

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Put a value under a key.

        Raises:
            InvalidInput: the key, or a value that JSON cannot hold.
        """
        self.put_all([(key, val)], collection)

    def put_all(
        self, kv_pairs: list[tuple[str, dict[str, Any]]], collection: str = DEFAULT_COLLECTION, batch_size: int = 1
    ) -> None:
        """Put values under keys, a transaction for each thousand, whatever the size of a batch."""
        self._of(collection).put([_kept(key, val, place) for place, (key, val) in enumerate(kv_pairs)])

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return the value under a key."""
        return next((_value_of(found) for found in self._of(collection).get([key])), None)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values, in order of first recording."""
        return {found.id: _value_of(found) for found in self._of(collection).entries()}

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value; say whether there was one."""
        return self._of(collection).delete([key]) > 0

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """As `put`, in a thread."""
        await asyncio.to_thread(self.put, key, val, collection)

    async def aput_all(
        self, kv_pairs: list[tuple[str, dict[str, Any]]], collection: str = DEFAULT_COLLECTION, batch_size: int = 1
    ) -> None:
        """As `put_all`, in a thread."""
        await asyncio.to_thread(self.put_all, kv_pairs, collection, batch_size)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """As `get`, in a thread."""
        return await asyncio.to_thread(self.get, key, collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """As `get_all`, in a thread."""
        return await asyncio.to_thread(self.get_all, collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As `delete`, in a thread."""
        return await asyncio.to_thread(self.delete, key, collection)


def _kept(key: str, value: Mapping[str, Any], place: int) -> Entry:
    if not isinstance(value, Mapping):
        raise BadArgument.at(f"kv_pairs[{place}]", f"has a {type(value).__name__} under it; pass a map")
    body = json.dumps(coerced(value, f"kv_pairs[{place}]"), ensure_ascii=False)  # as text: it keeps the order of keys
    return Entry(key, "", extra=body, searchable=False)


def _value_of(found: Found) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(str(found.extra))
    return value


def storage_context(store: CMCVectorStore) -> StorageContext:
    """Make a storage context whose vectors, documents and indices are all in the file of a vector store.

    An index is there again with `load_index_from_storage(storage_context(CMCVectorStore(path)))`; `persist` is not needed.
    """
    values = CMCKVStore(store.client, store.collection)
    return StorageContext.from_defaults(
        vector_store=store,
        docstore=KVDocumentStore(values, batch_size=limits.BATCH_ITEMS_MAX),
        index_store=KVIndexStore(values),
    )


# ---------------------------------------------------------------------- agent memory
class CMCMemoryBlock(BaseMemoryBlock[str]):
    """What an agent remembers beyond its window: messages become turns of a memory, and the best of it comes back.

    Recall is the full pipeline of `Memory.recall`, over all that the memory holds, or with `session_only` over the turns
    of the session that asks.
    """

    name: str = "CMCMemory"
    memory: Memory = ModelField(exclude=True)
    budget_tokens: int = 1_000
    limit: int = 10
    context_messages: int = 3
    session_only: bool = False

    async def aput(
        self, messages: list[ChatMessage], from_short_term_memory: bool = False, session_id: str | None = None
    ) -> None:
        """Remember messages as turns of a session; the messages stay as they are."""
        if messages and (self.accept_short_term_memory or not from_short_term_memory):
            await asyncio.to_thread(self._remember, messages, session_id)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        await self.aput(messages)

    def _remember(self, messages: Sequence[ChatMessage], session: str | None) -> None:
        said = [(message.role.value, message.content or "") for message in messages]
        said = [(role, text) for role, text in said if text.strip()]
        if said:
            self.memory.remember_many([{"content": text, "speaker": role, "session": session} for role, text in said])

    async def _aget(
        self, messages: list[ChatMessage] | None = None, session_id: str | None = None, **block_kwargs: Any
    ) -> str:
        """Recall what the latest messages ask for, one memory a line."""
        said = [message.content or "" for message in messages or ()]
        query = "\n".join(text for text in said[-self.context_messages :] if text.strip())[-limits.QUERY_CHARS_MAX :]
        if not query.strip():
            return ""
        source = f"session:{session_id}" if self.session_only and session_id is not None else None
        return await asyncio.to_thread(self._recalled, query, source, frozenset(said))

    def _recalled(self, query: str, source: str | None, known: frozenset[str]) -> str:
        answer = self.memory.recall(query, budget_tokens=self.budget_tokens, limit=self.limit, source=source)
        return "\n".join(
            f"{item.speaker}: {item.text}" if item.speaker else item.text
            for item in answer.items
            if item.text not in known
        )

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Leave out the lines that matter least, the last ones, until as many tokens are gone (four letters each)."""
        lines, gone = content.split("\n"), 0
        while lines and gone < tokens_to_truncate * _CHARS_A_TOKEN:
            gone += len(lines.pop()) + 1
        return "\n".join(lines) or None


# ---------------------------------------------------------------------- within
def _where(query: VectorStoreQuery) -> Where | None:
    where = parsed(query.filters)
    ids: object = query.doc_ids
    if ids is None:
        return where
    if not isinstance(ids, list | tuple) or not all(isinstance(id, str) for id in ids):
        raise BadArgument.at("doc_ids", "is not a list of ids")
    sources = Compare((_REF_DOC,), _OPERATORS[FilterOperator.IN], tuple(ids))
    return sources if where is None else Every((sources, where))


def _text(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise BadArgument.at("query_str", f"is missing, and mode {query.mode.name} needs one")
    return query.query_str


def _times(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: kwargs.pop(name) for name in ("as_of", "valid_at") if name in kwargs}


def _no_more(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise BadArgument.of([Problem(name, "is an unknown argument") for name in kwargs])


def _embedder(embed_model: BaseEmbedding | None, model_id: str | None) -> ExternalEmbedder | None:
    if embed_model is None:
        return None if model_id is None else ExternalEmbedder(model_id)
    if not isinstance(embed_model, BaseEmbedding):
        raise BadArgument.at("embed_model", f"is a {type(embed_model).__name__}; pass a BaseEmbedding of LlamaIndex")
    name = model_id or model_name(embed_model)
    return ExternalEmbedder(name, embed_model.get_text_embedding_batch, embed_model.get_query_embedding)
