"""Writes: remember one by one and in bulk, with and without the embedding, against bare rows in the same run."""

from __future__ import annotations

import numpy as np

from benchmarks.common import BareRows, Figures, GivenVectors, folder, p50, p95, texts, timed
from cmc_mcp.embed import MiniLM
from cmc_mcp.memory import Memory

TAGS = {"topic": "bench"}


def single(count: int = 400) -> Figures:
    """Remember short texts one at a time: vectors given, and with the model."""
    words = texts(2 * count, words=16)
    model, given = MiniLM(), GivenVectors()
    model.embed(["warm"])
    out: dict[str, list[float]] = {"bare": [], "given": [], "embed": [], "embedded": []}
    with folder() as place:
        bare = BareRows(place / "bare.db")
        with (
            Memory.open(place / "given.db", embedder=given) as with_given,
            Memory.open(place / "model.db", embedder=model) as with_model,
        ):
            for memory in (with_given, with_model):
                memory.remember("warm", tags=TAGS)
            for text, other in zip(words[:count], words[count:], strict=True):
                vector = given.embed([text])[0].tobytes()
                out["bare"].append(timed(lambda: bare.write([(text, vector)])))
                out["given"].append(timed(lambda: with_given.remember(text, tags=TAGS)))
                out["embed"].append(timed(lambda: model.embed([other + " x"])))
                out["embedded"].append(timed(lambda: with_model.remember(other, tags=TAGS)))
        bare.close()
    floor = p50([a + b for a, b in zip(out["embed"], out["bare"], strict=True)])
    return {
        "bare transaction p50 ms": p50(out["bare"]),
        "remember, vector given, p50 ms": p50(out["given"]),
        "remember, vector given, p95 ms": p95(out["given"]),
        "remember, vector given / bare (≤ 2)": p50(out["given"]) / p50(out["bare"]),
        "embed + bare p50 ms": floor,
        "remember with the model p50 ms": p50(out["embedded"]),
        "remember with the model / (embed + bare) (≤ 1.15)": p50(out["embedded"]) / floor,
    }


def bulk(count: int = 20_000) -> Figures:
    """remember_many with vectors given, against bare rows 1,000 to a transaction."""
    words = texts(count)
    given = GivenVectors()
    with folder() as place:
        bare = BareRows(place / "bare.db")
        vectors = given.embed(words)
        rows = [(text, vector.tobytes()) for text, vector in zip(words, vectors, strict=True)]

        def floor() -> None:
            for start in range(0, count, 1_000):
                bare.write(rows[start : start + 1_000])

        bare_ms = timed(floor)
        bare.close()
        with Memory.open(place / "memory.db", embedder=given) as memory:
            items = [{"content": text, "tags": TAGS} for text in words]
            many_ms = timed(lambda: memory.remember_many(items))  # type: ignore[arg-type]
    return {
        "bare rows/s": count / bare_ms * 1000,
        "remember_many, vectors given, atoms/s (≥ 6,000; stretch 15,000)": count / many_ms * 1000,
        "remember_many / bare rows": bare_ms / many_ms,
    }


def bulk_with_model(count: int = 1_500) -> Figures:
    """remember_many with the model, against the model alone."""
    words = texts(2 * count, words=16)
    model = MiniLM()
    model.embed(["warm"])
    with folder() as place, Memory.open(place / "memory.db", embedder=model) as memory:
        alone, many = [], []
        for start in range(0, count, 250):
            part = words[start : start + 250]
            other = [{"content": text} for text in words[count + start : count + start + 250]]
            alone.append(timed(lambda: model.embed(part)))
            many.append(timed(lambda: memory.remember_many(other)))  # type: ignore[arg-type]
    return {
        "model alone, texts/s": count / float(np.sum(alone)) * 1000,
        "remember_many with the model, atoms/s": count / float(np.sum(many)) * 1000,
        "remember_many with the model / model alone (≥ 0.9)": float(np.sum(alone)) / float(np.sum(many)),
    }
