"""What the tests of the LangGraph store share: no tests."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

from langchain_core.embeddings import Embeddings

from cmc_mcp.adapters.langgraph import CMCStore

ASYNC = ("put", "get", "search", "delete", "list_namespaces", "batch")
DIMS = 64


class Letters(Embeddings):
    """Texts by how often each letter comes: what has the same letters is near."""

    model = "letters"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def embed_documents(self, texts):
        self.calls.append(list(texts))
        return [self.one(text) for text in texts]

    def embed_query(self, text):
        return self.one(text)

    @staticmethod
    def one(text):
        row = [0.0] * DIMS
        for letter, count in Counter(text).items():
            row[ord(letter) % DIMS] += count
        length = math.hypot(*row) or 1.0
        return [value / length for value in row]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


class Awaited:
    """A store whose methods are their asynchronous twins, each run in an event loop of its own."""

    def __init__(self, store: CMCStore) -> None:
        self.store = store

    def __getattr__(self, name):
        found = getattr(self.store, f"a{name}" if name in ASYNC else name)
        return (lambda *args, **kwargs: asyncio.run(found(*args, **kwargs))) if name in ASYNC else found


def index(*fields, embed=None):
    return {"dims": DIMS, "embed": embed or Letters(), "fields": list(fields) or None}


def keys(items):
    return [item.key for item in items]
