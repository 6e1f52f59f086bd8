"""LangChain: a vector store, a retriever and a record manager over one collection of a memory.

>>> store = CMCVectorStore(embeddings, path="memory.db")              # doctest: +SKIP
>>> store.add_documents([Document("The kettle is in the cellar")])    # doctest: +SKIP
>>> store.similarity_search("kettle", k=1, filter={"room": {"$gt": 0}}, as_of="2026-01-01")   # doctest: +SKIP

Filters are maps in the manner of MongoDB: `{"page": 3}`, `{"page": {"$gt": 1, "$lte": 9}}`, `{"$or": [{…}, {…}]}`,
`{"author.name": {"$ilike": "m%"}}`; below `vif.` are the virtual columns of the witness. `_OPERATORS` says what each
operator says of a missing key, a null and a value of another type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self, cast
from uuid import uuid4

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import RecordManager
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables.config import run_in_executor
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, JsonValue

from cmc_mcp import limits
from cmc_mcp.adapters._opening import Opening
from cmc_mcp.collection import Collection
from cmc_mcp.embed.external import ExternalEmbedder, model_name
from cmc_mcp.errors import InvalidInput, Problem, brief
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry, Found, coerced
from cmc_mcp.model.filters import MISSING, VIF, Compare, Either, Every, Field, Negation, Operator, Where, frozen

COLLECTION: Final = "langchain"
SOURCE: Final = "source"
_ATOM: Final = "atom://"
_WITNESS: Final = ("off", "metadata")
DocumentFilter = Mapping[str, Any] | Callable[[Document], bool]


class BadFilter(InvalidInput, ValueError):
    """Raised when a filter says something that no filter can."""


class BadArgument(InvalidInput, ValueError):
    """Raised when an argument is wrong or unknown."""


# ---------------------------------------------------------------------- the filter language
def _same(field: object, value: object) -> bool:
    """Return whether two JSON values are equal: true is not 1; 1 is 1.0; a list equals a list of equal values."""
    if isinstance(field, list | tuple) and isinstance(value, list | tuple):
        return len(field) == len(value) and all(map(_same, field, value))
    if isinstance(field, bool) or isinstance(value, bool):
        return field is value
    return field == value


def _ordered(field: object, value: object) -> bool:
    """Return whether two values have an order: both numbers, or both text. A boolean does not count as a number."""
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (field, value))
    return numbers or (isinstance(field, str) and isinstance(value, str))


def _eq(field: Field, value: object) -> bool:
    return _same(None if field is MISSING else field, value)


def _ne(field: Field, value: object) -> bool:
    return not _eq(field, value)


def _gt(field: Any, value: Any) -> bool:
    return _ordered(field, value) and field > value


def _gte(field: Any, value: Any) -> bool:
    return _ordered(field, value) and field >= value


def _lt(field: Any, value: Any) -> bool:
    return _ordered(field, value) and field < value


def _lte(field: Any, value: Any) -> bool:
    return _ordered(field, value) and field <= value


def _in(field: Field, values: Any) -> bool:
    return any(_eq(field, value) for value in values)


def _nin(field: Field, values: Any) -> bool:
    return not _in(field, values)


def _between(field: Any, ends: Any) -> bool:
    return _gte(field, ends[0]) and _lte(field, ends[1])


def _exists(field: Field, wanted: object) -> bool:
    return (field is not MISSING) is wanted


def _contains(field: Field, value: object) -> bool:
    if isinstance(field, list):
        return any(_same(item, value) for item in field)
    return isinstance(field, str) and isinstance(value, str) and value in field


def _any(field: Field, values: Any) -> bool:
    return any(_contains(field, value) for value in values)


def _all(field: Field, values: Any) -> bool:
    return all(_contains(field, value) for value in values)


def _like(field: Field, pattern: Any) -> bool:
    return isinstance(field, str) and _fits(field, _segments(pattern, False))


def _ilike(field: Field, pattern: Any) -> bool:
    return isinstance(field, str) and _fits(field, _segments(pattern, True))


@lru_cache(maxsize=256)
def _segments(like: str, ignore_case: bool) -> tuple[re.Pattern[str], ...]:
    """Split an SQL pattern at its %, which are any text; _ is any character, `\\%` and `\\_` are themselves.

    A segment has no repetition in it, so that no pattern takes longer than its length times that of the text.
    """
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    parts = [""]
    for token in re.findall(r"\\[%_\\]|.", like, re.DOTALL):
        if token == "%":
            parts.append("")
        else:
            parts[-1] += "." if token == "_" else re.escape(token[-1])
    return tuple(re.compile(part, flags) for part in parts)


def _fits(text: str, segments: Sequence[re.Pattern[str]]) -> bool:
    """Match the first segment at the start, the last at the end, and those between one after the other, each leftmost."""
    first, *rest = segments
    if not rest:
        return first.fullmatch(text) is not None
    start = first.match(text)
    if start is None:
        return False
    at = start.end()
    for segment in rest[:-1]:
        found = segment.search(text, at)
        if found is None:
            return False
        at = found.end()
    return any(rest[-1].fullmatch(text, place) for place in range(len(text), at - 1, -1))


_OPERATORS: Final[Mapping[str, Operator]] = {
    # a missing key equals null; lists equal lists; true is not 1
    "$eq": _eq,
    "$ne": _ne,  # so it holds of a missing key, as $nin does
    "$in": _in,
    "$nin": _nin,
    # between numbers, or between texts; all else, a missing key and null included, is no match
    "$gt": _gt,
    "$gte": _gte,
    "$lt": _lt,
    "$lte": _lte,
    "$between": _between,  # both ends included
    "$exists": _exists,  # a null is there
    "$contains": _contains,  # an element of a list, or a part of a text
    "$any": _any,
    "$all": _all,
    "$like": _like,
    "$ilike": _ilike,
}
_LISTS: Final = frozenset({"$in", "$nin", "$any", "$all", "$between"})
_TEXTS: Final = frozenset({"$like", "$ilike"})
_SCALARS: Final = frozenset({"$gt", "$gte", "$lt", "$lte", "$contains"})
_JOINS: Final = ("$and", "$or", "$nor")


def parsed(filter: object, path: str = "filter", depth: int = 1) -> Where:
    """Read a filter.

    Raises:
        BadFilter: an operator or a value is invalid; the error names its place.
        LimitExceeded: the filter is too large or too deep.
    """
    if not isinstance(filter, Mapping):
        raise BadFilter.at(
            path, f"is a {type(filter).__name__}; pass a map such as {{'page': {{'$gt': 1}}}}, or a function"
        )
    if depth > limits.FILTER_DEPTH_MAX:
        raise BadFilter.at(path, f"is nested more than {limits.FILTER_DEPTH_MAX} levels deep")
    parts: list[Where] = []
    for key, value in filter.items():
        here = f"{path}.{key!s:.80}"
        if not isinstance(key, str) or not key:
            raise BadFilter.at(here, "is not a key; use text for keys")
        if key in _JOINS:
            parts.append(_joined(key, value, here, depth))
        elif key == "$not":
            parts.append(Negation(parsed(value, here, depth + 1)))
        elif key.startswith("$"):
            raise BadFilter.at(here, f"is not a valid operator here; use one of {', '.join((*_JOINS, '$not'))}")
        else:
            parts.append(_field(_path(key), value, here, depth))
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _joined(key: str, value: object, path: str, depth: int) -> Where:
    if not isinstance(value, list | tuple) or not value:
        raise BadFilter.at(path, "takes a list of filters, not an empty one")
    inner = tuple(parsed(part, f"{path}[{place}]", depth + 1) for place, part in enumerate(value))
    if key == "$and":
        return Every(inner)
    return Either(inner) if key == "$or" else Negation(Either(inner))


def _field(path: tuple[str, ...], value: object, here: str, depth: int) -> Where:
    if not isinstance(value, Mapping):
        return Compare(path, _eq, _value("$eq", value, here))
    if not value:
        raise BadFilter.at(here, "is empty; pass an operator such as {'$gt': 1}")
    parts: list[Where] = []
    for name, operand in value.items():
        place = f"{here}.{name!s:.40}"
        if name == "$not":
            if depth > limits.FILTER_DEPTH_MAX:
                raise BadFilter.at(place, f"is nested more than {limits.FILTER_DEPTH_MAX} levels deep")
            parts.append(Negation(_field(path, operand, place, depth + 1)))
            continue
        operator = _OPERATORS.get(name) if isinstance(name, str) else None
        if operator is None:
            raise BadFilter.at(
                place,
                f"is an unknown operator; use one of {', '.join((*_OPERATORS, '$not'))}. Nested keys are joined by dots: 'a.b'",
            )
        parts.append(Compare(path, operator, _value(name, operand, place)))
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _path(key: str) -> tuple[str, ...]:
    r"""Split a key at its dots; `\.` is a dot of the key itself."""
    return tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", key))


def _value(name: str, value: object, path: str) -> Any:
    """Check the operand of an operator, and coerce it as metadata is coerced, so that a filter equals what is given back."""
    if isinstance(value, float) and value != value:
        raise BadFilter.at(path, "is NaN, which nothing equals")
    if name in _LISTS and (isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)):
        raise BadFilter.at(path, "takes a list")
    try:
        made = frozen(coerced(list(value) if name in _LISTS else value, path), path)  # type: ignore[call-overload]
    except InvalidInput as error:
        raise BadFilter.of(error.problems) from error
    if name == "$between" and (not isinstance(made, tuple) or len(made) != 2 or not _ordered(*made)):
        raise BadFilter.at(path, "takes two ends, both numbers or both text")
    if name in _TEXTS and not isinstance(made, str):
        raise BadFilter.at(path, "takes text, in which % is any text and _ any character")
    if name in _SCALARS and (made is None or isinstance(made, tuple)):
        raise BadFilter.at(path, "takes text or a number; for nothing and for lists there are $exists, $any and $all")
    if name in ("$gt", "$gte", "$lt", "$lte") and isinstance(made, bool):
        raise BadFilter.at(path, "takes text or a number; true and false have no order")
    if name == "$exists" and not isinstance(made, bool):
        raise BadFilter.at(path, "is true or false")
    return made


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
    ) -> None:
        """Open a collection, in a new or existing file or of an open memory.

        `embedding` None means the model of the memory, which for a path is the bundled one. With `witness="metadata"`
        documents come with their provenance under the metadata key `vif`; see also `witness()`.

        Raises:
            BadArgument: both or neither of path and memory are given.
            StoreError: the file cannot be opened.
        """
        opening = Opening(path, memory, workspace, principal, key).checked(BadArgument)
        self._witness = _checked_witness(witness)
        given = None if embedding is None else _embedder(embedding)
        self._embedding, self._owned = embedding, opening.owned
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def embeddings(self) -> Embeddings:
        """The embedding; the memory's own model where none was given."""
        return self._embedding or _Bundled(self.collection)

    # ------------------------------------------------------------------ writing
    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add documents, a transaction for each thousand; return their ids.

        An id is the argument `ids`, or else the document's, or else new. Of an id given twice the last one counts.
        `valid_from`, `valid_to` and `confidence` hold for all; `batch_size` is for `index()`, and changes nothing.

        Raises:
            BadArgument: the number of ids differs, or an argument is unknown.
            InvalidInput: a text or its metadata is invalid.
        """
        ids = kwargs.pop("ids", None)
        kwargs.pop("batch_size", None)
        facts = {name: kwargs.pop(name) for name in ("valid_from", "valid_to", "confidence") if name in kwargs}
        _no_more(kwargs)
        documents = list(documents)
        if isinstance(ids, str) or (ids is not None and len(ids) != len(documents)):
            raise BadArgument.at("ids", f"are not {len(documents):,}: one for each document")
        named = [
            given if given is not None else document.id if document.id is not None else str(uuid4())
            for document, given in zip(documents, ids or [None] * len(documents), strict=True)
        ]
        self.collection.put(
            [Entry(id, doc.page_content, _own(doc.metadata), **facts) for id, doc in zip(named, documents, strict=True)]
        )
        return named

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """End belief in documents by their ids, in one transaction. Unknown ids are ignored; to delete all, `clear`."""
        _no_more(kwargs)
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

        def search(wanted: int, **more: Any) -> list[Found]:
            return self.collection.search(vector=embedding, k=wanted, **asked, **more)

        found = search(k) if accept is None else self._accepted(search, accept, k, asked)
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

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Find as `max_marginal_relevance_search_by_vector` does, off the event loop."""
        search = self.max_marginal_relevance_search_by_vector
        return await run_in_executor(None, search, embedding, k, fetch_k, lambda_mult, **kwargs)

    # ------------------------------------------------------------------ within
    def _asked(self, kwargs: dict[str, Any]) -> tuple[str, Callable[[Document], bool] | None, dict[str, Any]]:
        """Read the arguments that every search takes."""
        filter, witness = kwargs.pop("filter", None), _checked_witness(kwargs.pop("witness", self._witness))
        asked: dict[str, Any] = {name: kwargs.pop(name) for name in ("as_of", "valid_at") if name in kwargs}
        _no_more(kwargs)
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


class CMCRetriever(BaseRetriever):
    """The full read pipeline over a collection: meaning and words, what contradicts and what superseded, both clocks.

    Every field can be given at a call too, as in `retriever.invoke(question, k=3, as_of="2026-01-01")`; what is no
    field is refused. With the witness, a document without a `source` gets `atom://…`, so that it can be cited.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    store: CMCVectorStore
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
        own = CMCRetriever.model_fields.keys() - BaseRetriever.model_fields.keys() - {"store"}
        asked = {name: kwargs.pop(name, getattr(self, name)) for name in own}
        _no_more(kwargs)
        filter, witness = asked.pop("filter"), asked.pop("witness")
        where = None if filter is None else parsed(filter)
        found = self.store.collection.recall(query, where=where, **asked)
        return [document_of(one, witness=witness) for one in found]

    def _get_ls_params(self, **_: Any) -> LangSmithRetrieverParams:
        return LangSmithRetrieverParams(ls_retriever_name="cmc", ls_vector_store_provider="cmc")


class CMCRecordManager(RecordManager):
    """What `index()` has indexed, kept in the file of the store itself, so that the two cannot drift apart.

    A key exists when it is recorded and its document is there: whatever a crash, a rollback or a delete took away is
    indexed again by the next run. Without a store, over a memory alone, it is a record manager and nothing more.
    """

    def __init__(self, namespace: str, *, store: CMCVectorStore | None = None, memory: Memory | None = None) -> None:
        """Open the records of a namespace beside a store, or in a memory.

        Raises:
            BadArgument: both or neither of store and memory are given.
        """
        super().__init__(namespace)
        if (store is None) == (memory is None):
            raise BadArgument.at("store", "pass the vector store that is indexed into, or a memory")
        self._memory = memory if store is None else store.memory
        assert self._memory is not None
        self._documents = None if store is None else store.collection
        self._records = self._memory.collection(f"records:{namespace}")

    def create_schema(self) -> None:
        """Do nothing: the store makes its own tables."""

    async def acreate_schema(self) -> None:
        """Do nothing: the store makes its own tables."""

    def get_time(self) -> float:
        """Return the store's time in seconds: it never steps back behind what was recorded."""
        assert self._memory is not None
        return self._memory.now_us() / 1_000_000

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Record keys as indexed now, in one transaction.

        Raises:
            BadArgument: groups of another number, or `time_at_least` is in the future.
        """
        if group_ids is not None and len(keys) != len(group_ids):
            raise BadArgument.at("group_ids", f"are {len(group_ids)}; one for each of the {len(keys)} keys")
        now = self.get_time()
        if time_at_least is not None and time_at_least > now:
            raise BadArgument.at("time_at_least", "is in the future of the store; one of the clocks is wrong")
        groups = group_ids or [None] * len(keys)
        self._records.put(
            [
                Entry(key, "", {"group": group, "at": now}, searchable=False)
                for key, group in zip(keys, groups, strict=True)
            ]
        )

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Return, for each key, whether it is recorded."""
        recorded = {found.id for found in self._records.get(keys)}
        if self._documents is not None:
            recorded &= {found.id for found in self._documents.get(keys)}
        return [key in recorded for key in keys]

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Return keys recorded before and after some times, of some groups, in order of first recording."""
        parts: list[Where] = []
        if before is not None:
            parts.append(Compare(("at",), _lt, before))
        if after is not None:
            parts.append(Compare(("at",), _gt, after))
        if group_ids is not None:
            parts.append(Compare(("group",), _in, tuple(group_ids)))
        found = self._records.entries(where=Every(tuple(parts)) if parts else None, limit=limit)
        return [record.id for record in found]

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Delete keys in one transaction."""
        self._records.delete(keys)

    async def aget_time(self) -> float:
        """As `get_time`, off the event loop."""
        return await run_in_executor(None, self.get_time)

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """As `update`, off the event loop."""
        await run_in_executor(None, self.update, keys, group_ids=group_ids, time_at_least=time_at_least)

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """As `exists`, off the event loop."""
        return await run_in_executor(None, self.exists, keys)

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As `list_keys`, off the event loop."""
        return await run_in_executor(
            None, self.list_keys, before=before, after=after, group_ids=group_ids, limit=limit
        )  # fmt: skip

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """As `delete_keys`, off the event loop."""
        await run_in_executor(None, self.delete_keys, keys)


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


def document_of(found: Found, *, witness: bool) -> Document:
    """Make a document of an entry: exactly the metadata that was given, and with the witness `vif` and a `source`."""
    metadata: dict[str, Any] = found.metadata
    if witness:
        metadata[VIF] = found.vif
        metadata.setdefault(SOURCE, f"{_ATOM}{found.vif['atom_id']}")
    return Document(id=found.id, page_content=found.text, metadata=metadata)


def _own(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the caller's own metadata, without the witness that we may have added."""
    if VIF not in metadata:
        return metadata
    source = metadata.get(SOURCE)
    ours = isinstance(source, str) and source.startswith(_ATOM)
    return {key: value for key, value in metadata.items() if key != VIF and not (ours and key == SOURCE)}


def _embedder(embedding: Embeddings) -> ExternalEmbedder:
    if not isinstance(embedding, Embeddings):
        raise BadArgument.at("embedding", f"is a {type(embedding).__name__}; pass an Embeddings of LangChain")
    return ExternalEmbedder(model_name(embedding), embedding.embed_documents, embedding.embed_query)


def _checked_witness(witness: object) -> str:
    if witness not in _WITNESS:
        raise BadArgument.at("witness", f"{brief(witness)} is neither off nor metadata")
    return str(witness)


def _no_more(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise BadArgument.of([Problem(name, "is an unknown argument") for name in kwargs])


def _distance(found: Found) -> float:
    return round(1.0 - (found.score or 0.0), 6)


def _relevance(distance: float) -> float:
    return min(1.0, max(0.0, 1.0 - distance / 2.0))
