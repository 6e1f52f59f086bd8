"""Text to vectors, and text to token counts.

* `Embedder` is the port for vectors; `EmbeddingIdentity` is stored with every vector.
* `QueryEmbedder` is what an embedder has beside, whose model embeds questions otherwise; `query_vector` asks it.
* `MiniLM` is the bundled model: local, offline, one thread.
* `MultilingualE5` is the model of the extra `multilingual`: local too, of about a hundred languages.
* `embedder_named` makes the one that a setting names.
* `HttpEmbedder` is any endpoint that speaks the OpenAI ``/embeddings`` protocol.
* `TokenCounter` measures text for a budget; `load_token_counter` loads the best one without a network.

Importing this package loads no runtime, no tokenizer, no model and no numpy; the first use does.
"""

from __future__ import annotations

from cmc_mcp.embed.http import HttpEmbedder
from cmc_mcp.embed.minilm import MiniLM
from cmc_mcp.embed.multilingual import MultilingualE5
from cmc_mcp.embed.names import embedder_named
from cmc_mcp.embed.protocol import Embedder, EmbeddingIdentity, QueryEmbedder, query_vector
from cmc_mcp.embed.tokens import TokenCounter, UpperBound, cl100k, load_token_counter

__all__ = [
    "Embedder",
    "EmbeddingIdentity",
    "HttpEmbedder",
    "MiniLM",
    "MultilingualE5",
    "QueryEmbedder",
    "TokenCounter",
    "UpperBound",
    "cl100k",
    "embedder_named",
    "load_token_counter",
    "query_vector",
]
