"""Modelled: which model the vectors of a collection are of, and whether an embedding from outside is that model.

A collection has a model of its own. A name does not tell a model: two may bear one name, and one may come under two. So
an embedding is tried on texts whose vectors are stored, before its vectors stand beside them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from cmc_mcp.embed.external import ExternalEmbedder
from cmc_mcp.errors import CmcError, DimensionMismatch
from cmc_mcp.ids import NO_PAYLOAD, Pid
from cmc_mcp.kernel.identity import text_of
from cmc_mcp.store.ports import Objects, ReadView
from cmc_mcp.store.rows import ModelRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SAMPLES: Final = 3
_PROBE: Final = "a text that nobody wrote"
_AGREE: Final = 0.999
"""The cosine from which two vectors of a text are of one model: precision and hardware differ less, models more."""


Made = Mapping[str, "npt.NDArray[np.float32]"]
"""What an embedding made of the texts of a trial, of unit length."""
Trying = Generator[list[str], "npt.NDArray[np.float32] | None", None]
"""A trial in progress: yields texts to be embedded, and is sent their vectors."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that a collection may be of, with some texts and their vectors (fp32 bytes)."""

    name: str
    dimension: int
    samples: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Trial:
    """What an embedding is tried on: the models it may be, the best first, and whether the collection is of them."""

    candidates: tuple[Candidate, ...]
    settled: bool  # entries of the collection have vectors of these models
    fresh: str  # a name that no model has yet

    @property
    def texts(self) -> list[str]:
        """The texts that are to be embedded."""
        return list(dict.fromkeys(text for candidate in self.candidates for text in candidate.samples))

    @property
    def names(self) -> str:
        """The models, to be named in errors."""
        return " or ".join(f"{each.name} ({each.dimension} dimensions)" for each in self.candidates)


def trial(view: ReadView, objects: Objects, origin: Pid, embedder: ExternalEmbedder) -> Trial:
    """Return what an embedding is tried on before it is used for a collection."""
    rows = {row[0]: row for row in view.models() if (row[2], row[3]) == ("", embedder.identity.precision)}
    found = view.models_of(origin)
    mine = [rows[model] for model in found if model in rows]
    if found:
        mine.sort(key=lambda row: row[1] != embedder.given)  # stable: the most of the entries first
        return Trial(tuple(_candidate(view, objects, row, origin) for row in mine), True, "")
    named = {row[1]: row for row in rows.values()}
    names = (embedder.given if n == 1 else f"{embedder.given}#{n}" for n in count(1))
    candidates: list[Candidate] = []
    for name in names:
        if name not in named:
            return Trial(tuple(candidates), False, name)
        candidates.append(_candidate(view, objects, named[name], NO_PAYLOAD))
    raise AssertionError("there are more names than models")


def _candidate(view: ReadView, objects: Objects, row: ModelRow, origin: Pid) -> Candidate:
    samples = {}
    for content, vector in view.samples(row[0], origin, _SAMPLES):
        text = _text(view, objects, content)
        if text:
            samples[text] = bytes(vector)
    return Candidate(row[1], row[4], samples)


def _text(view: ReadView, objects: Objects, content: Pid) -> str:
    row = view.payload_row(content)
    try:
        body = objects.get(view.ws, row.hash) if row.object and row.body is None else row.body
        return text_of(body or b"").decode()
    except (CmcError, UnicodeDecodeError):
        return ""  # `verify` names what is missing or damaged


def tried_on(
    trial: Trial, embedder: ExternalEmbedder, size: int
) -> Generator[list[str], npt.NDArray[np.float32] | None, tuple[Candidate, bool]]:
    """Find out which model an embedding is, and whether it could be tried: yields texts, and is sent their vectors.

    Vectors tell nothing of an embedding that gives a text another vector each time, or every text the same one; then
    its name tells.

    Raises:
        DimensionMismatch: the collection is of another model.
    """
    texts = trial.texts
    if not texts or not embedder.makes:
        return _chosen(trial, embedder, None, size), True
    made = _by_text(texts, (yield texts))
    if made is None:
        return _chosen(trial, embedder, None, size), False
    found = _best(trial, embedder, made, size)
    if found is not None and found.name == embedder.given:
        return found, True
    again, probe = _by_text(texts, (yield texts)), (yield [_PROBE])
    tells = again is not None and all(_agree(row.tobytes(), again[text]) for text, row in made.items() if row.any())
    if tells and probe is not None:
        tells = not all(_agree(row.tobytes(), probe[0]) for row in made.values())
    return _chosen(trial, embedder, made if tells else None, size), True


def _by_text(texts: Sequence[str], rows: npt.NDArray[np.float32] | None) -> Made | None:
    return None if rows is None else dict(zip(texts, rows, strict=True))


def _best(trial: Trial, embedder: ExternalEmbedder, made: Made | None, size: int) -> Candidate | None:
    return next((each for each in trial.candidates if _fits(each, embedder, made, size)), None)


def _chosen(trial: Trial, embedder: ExternalEmbedder, made: Made | None, size: int) -> Candidate:
    """Return the model that an embedding is, by the vectors it made of the texts of a trial; without them, by its name.

    `size` is the length of a vector that was handed over; 0 for none.

    Raises:
        DimensionMismatch: the collection is of another model.
    """
    found = _best(trial, embedder, made, size)
    if found is not None:
        return found
    if not trial.settled:
        return Candidate(trial.fresh, size, {})
    known = next((each for each in trial.candidates if each.name == embedder.given), None)
    if known is not None and made is not None and (size or embedder.identity.dimension) in (0, known.dimension):
        raise DimensionMismatch(
            f"the entries of this collection were embedded by another model that was named {known.name} too: it gives"
            " their texts other vectors; open the collection with that model, pass model_id= to tell the two apart and"
            " put the entries into another collection, or clear this one and put them again"
        )
    raise DimensionMismatch(
        f"the entries of this collection were embedded by {trial.names or 'another model'}, not by {embedder.given}; open"
        " it with that model, put them in another collection, or run `cmc embed` to embed them again"
    )


def _fits(candidate: Candidate, embedder: ExternalEmbedder, made: Made | None, size: int) -> bool:
    known = size or embedder.identity.dimension
    if known and candidate.dimension != known:
        return False
    if made is None or not candidate.samples:
        return not embedder.named or candidate.name.split("#")[0] == embedder.given.split("#")[0]
    return all(_agree(vector, made.get(text)) for text, vector in candidate.samples.items())


def _agree(held: bytes, made: npt.NDArray[np.float32] | None) -> bool:
    import numpy as np

    a = np.frombuffer(held, np.float32)
    return made is not None and a.shape == made.shape and float(a.astype(np.float64) @ made) >= _AGREE
