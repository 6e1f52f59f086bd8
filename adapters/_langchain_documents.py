"""Entries as LangChain's documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, runtime_checkable

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from cmc_mcp.adapters._langchain_errors import BadArgument
from cmc_mcp.collection import Collection
from cmc_mcp.errors import Problem
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Found, is_witness
from cmc_mcp.model.filters import VIF

SOURCE: Final = "source"
_ATOM: Final = "atom://"


@runtime_checkable
class CollectionStore(Protocol):
    """A vector store over a collection: `CMCVectorStore`."""

    memory: Memory
    collection: Collection

    @property
    def own_embedding(self) -> Embeddings | None:
        """The embedding that it was given; None: the model of the memory."""
        ...

    @property
    def has_model(self) -> bool:
        """Whether anything embeds a question."""
        ...


def document_of(found: Found, *, witness: bool) -> Document:
    """Make a document of an entry: exactly the metadata that was given, and with the witness `vif` and a `source`."""
    metadata: dict[str, Any] = found.metadata
    if witness:
        metadata[VIF] = found.vif
        metadata.setdefault(SOURCE, f"{_ATOM}{found.vif['atom_id']}")
    return Document(id=found.id, page_content=found.text, metadata=metadata)


def own(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the caller's own metadata, without the witness that we may have added."""
    if VIF not in metadata or not is_witness(metadata[VIF]):
        return metadata
    source = metadata.get(SOURCE)
    ours = isinstance(source, str) and source.startswith(_ATOM)
    return {key: value for key, value in metadata.items() if key != VIF and not (ours and key == SOURCE)}


def no_more(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise BadArgument.of([Problem(name, "is an unknown argument") for name in kwargs])
