"""LlamaIndex's nodes as entries, and entries as nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, cast

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

from cmc_mcp.adapters._llamaindex_errors import BadArgument
from cmc_mcp.adapters._llamaindex_filters import REF_DOC
from cmc_mcp.adapters._nul import check_nul
from cmc_mcp.errors import Problem
from cmc_mcp.model.entries import Entry, Found, is_witness
from cmc_mcp.model.filters import VIF

SOURCE: Final = "source"
_ATOM: Final = "atom://"
_EXCLUDED: Final = ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")
_NODES: Final[Mapping[str, type[BaseNode]]] = MappingProxyType(
    {kind.class_name(): kind for kind in (Node, TextNode, ImageNode, IndexNode, Document, ImageDocument)}
)


def entry_of(node: BaseNode, place: int) -> Entry:
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
    metadata = data["metadata"] if source is None else {**data["metadata"], REF_DOC: source}
    return Entry(node.node_id, text if text.strip() else node.node_id, metadata, node.embedding, extra)


def _own(node: BaseNode) -> BaseNode:
    """Return a node without a witness: one that was read here, or forged; the caller's is left as it is."""
    if VIF not in node.metadata or not is_witness(node.metadata[VIF]):
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
    metadata = {key: value for key, value in found.metadata.items() if key != REF_DOC}
    return {"class_name": TextNode.class_name(), "id_": found.id, "text": found.text, "metadata": metadata}


def drafts_of(nodes: Sequence[BaseNode], kwargs: dict[str, Any]) -> list[Entry]:
    """Make entries of nodes, by the arguments that adding takes."""
    facts = {name: kwargs.pop(name) for name in ("valid_from", "valid_to", "confidence") if name in kwargs}
    no_more(kwargs)
    given: object = nodes
    if isinstance(given, str) or not isinstance(given, Sequence | Iterator):
        raise BadArgument.at("nodes", f"is a {type(given).__name__}; pass a list of nodes")
    drafts = [entry_of(node, place) for place, node in enumerate(nodes)]
    check_nul(drafts)
    return [replace(draft, **facts) for draft in drafts] if facts else drafts


def no_more(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise BadArgument.of([Problem(name, "is an unknown argument") for name in kwargs])
