"""Text to vectors, and text to token counts.

* `Embedder` is the port for vectors; `EmbeddingIdentity` is stored with every vector.
* `MiniLM` is the bundled model: local, offline, one thread.
* `HttpEmbedder` is any endpoint that speaks the OpenAI ``/embeddings`` protocol.
* `TokenCounter` measures text for a budget; `load_token_counter` loads the best one without a network.

Importing this package loads no runtime, no tokenizer, no model and no numpy; the first use does.
"""

from __future__ import annotations

from cmc_mcp.embed.http import HttpEmbedder
from cmc_mcp.embed.minilm import MiniLM
from cmc_mcp.embed.protocol import Embedder, EmbeddingIdentity
from cmc_mcp.embed.tokens import TokenCounter, UpperBound, cl100k, load_token_counter

__all__ = [
    "Embedder",
    "EmbeddingIdentity",
    "HttpEmbedder",
    "MiniLM",
    "TokenCounter",
    "UpperBound",
    "cl100k",
    "load_token_counter",
]
