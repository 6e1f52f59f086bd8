"""Reading vectors from the answer of an OpenAI-compatible endpoint, which is not trusted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cmc_mcp.errors import DimensionMismatch, EmbedderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_ADVICE = "check that the address is that of an OpenAI-compatible /embeddings endpoint and that the model embeds text"


def read_vectors(body: bytes, count: int, dimension: int) -> npt.NDArray[np.float32]:
    """Return the vectors of an answer in the order of the texts, at unit length: float32 of shape (count, dimension).

    Raises:
        EmbedderError: the answer is not JSON, lacks vectors, repeats an index, or holds a number that is not finite or a
            vector of zeros.
        DimensionMismatch: the length of a vector differs from `dimension`.

    >>> read_vectors(b'{"data": [{"index": 0, "embedding": [3, 4]}]}', 1, 2).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    import numpy as np

    rows = np.empty((count, dimension), dtype=np.float32)
    for index, numbers in _in_order(_items(body, count)):
        rows[index] = _unit(numbers, index, dimension)
    return rows


def _items(body: bytes, count: int) -> list[dict[str, object]]:
    try:
        answer: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("is not JSON") from error
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise _bad("has no list of objects called data")
    if len(data) != count:
        raise _bad(f"has {len(data)} vectors for {count} texts")
    return data


def _in_order(items: list[dict[str, object]]) -> list[tuple[int, object]]:
    """Pair every vector with the position of its text. Endpoints without indexes answer in order."""
    if not any("index" in item for item in items):
        return [(place, item.get("embedding")) for place, item in enumerate(items)]
    places: dict[int, object] = {}
    for item in items:
        place = item.get("index")
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < len(items) or place in places:
            raise _bad(f"has the index {place!r} where each of 0 to {len(items) - 1} is due once")
        places[place] = item.get("embedding")
    return sorted(places.items(), key=lambda pair: pair[0])


def _unit(numbers: object, index: int, dimension: int) -> npt.NDArray[np.float64]:
    import numpy as np

    # bool is an int to isinstance, and None or text would be turned into numbers by numpy.
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise _bad(f"has no list of numbers as its embedding {index}")
    if len(numbers) != dimension:
        raise DimensionMismatch(
            f"the endpoint's vectors have {len(numbers)} numbers, not {dimension}; "
            f"set dimension={len(numbers)}, or the model that was meant",
            found=len(numbers),
            expected=dimension,
        )
    try:
        vector = np.array(numbers, dtype=np.float64)
    except OverflowError:  # an integer past the range of a float
        vector = np.array([np.inf])
    largest = float(np.abs(vector).max())
    if not np.isfinite(largest):
        raise _bad(f"has a number that is not finite in its embedding {index}")
    if largest == 0.0:
        raise _bad(f"has only zeros as its embedding {index}, which has no direction")
    scaled = vector / largest  # so that no square can overflow or vanish
    return np.asarray(scaled / np.linalg.norm(scaled), dtype=np.float64)


def _bad(what: str) -> EmbedderError:
    return EmbedderError(f"the embedding endpoint's answer {what}; {_ADVICE}")
