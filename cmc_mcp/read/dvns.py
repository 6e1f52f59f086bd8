"""DVNS: candidates settle around the query under forces; the nearer one rests, the higher it ranks (`docs/dvns.md`).

Each candidate has one coordinate, its distance from the query. `docs/dvns.md` derives the energy, the forces, why the
minimum is unique, and why it is solved for instead of following the motion to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from cmc_mcp.config import Physics
from cmc_mcp.errors import InvalidInput, LimitExceeded
from cmc_mcp.ids import Rid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CANDIDATES_MAX: Final = 256
_ERROR_MAX: Final = 1e-9  # of a distance, in units of the wall's radius; answers are rounded to 1e-6
_SUFFICIENT: Final = 1e-4  # share of the promised fall that a step must keep
_ROUNDING: Final = 1e-14  # of an energy of 1 or less; of more, the share
_HALVINGS_MAX: Final = 40


class Springs(NamedTuple):
    """Links between candidates: the places of both ends, and a weight in [0, 1]. Weights of one pair add up."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    weight: NDArray[np.float64]


class Settled(NamedTuple):
    """Where the candidates rest."""

    order: list[int]  # places in what was given, nearest first
    distance: NDArray[np.float64]  # of each from the query, rounded to 1e-6
    energy: list[float]  # at the start and after each step; it falls
    steps: int
    rest: bool  # whether every distance is within 1e-9 of the minimum's


class System(NamedTuple):
    """The energy of n candidates and p pairs as data.

    E(r) = ½ Σ well·(r − centre)² + ½ Σ stiffness·strain², where strain is how far the gap r[second] − r[first] is past
    `low` or `high`.
    """

    well: NDArray[np.float64]
    centre: NDArray[np.float64]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    stiffness: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def energy(self, r: NDArray[np.float64]) -> float:
        """Return E(r), in units of the wall's stiffness times its radius squared."""
        return 0.5 * float(self.well @ (r - self.centre) ** 2 + self.stiffness @ self._strain(r) ** 2)

    def force(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return −∇E(r): one force for each candidate, positive away from the query."""
        import numpy as np

        pull = self.stiffness * self._strain(r)
        between = np.bincount(self.first, pull, len(r)) - np.bincount(self.second, pull, len(r))
        return np.asarray(between, np.float64) - self.well * (r - self.centre)

    def curvature(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ∇²E on the quadratic piece that holds r (n × n): the wells plus the Laplacian of the strained pairs."""
        import numpy as np

        size, strained = len(r), np.flatnonzero(self._strain(r))
        cells = self.first[strained] * size + self.second[strained]
        between = np.asarray(np.bincount(cells, self.stiffness[strained], size * size), np.float64).reshape(size, size)
        between += between.T  # a link to itself cancels, here and in the sum below
        return np.diag(self.well + between.sum(axis=1)) - between

    def _strain(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        gap = r[self.second] - r[self.first]
        return np.minimum(gap - self.low, 0.0) + np.maximum(gap - self.high, 0.0)


def links(given: Iterable[tuple[Rid, Rid, float]]) -> Springs:
    """Return links from triples (place, place, weight)."""
    import numpy as np

    rows = np.array(list(given), np.float64).reshape(-1, 3)
    return Springs(rows[:, 0].astype(np.intp), rows[:, 1].astype(np.intp), rows[:, 2])


def siblings(group: NDArray[np.int64], weight: float) -> Springs:
    """Link all candidates of the same group (n,); a negative group number means no group.

    The m members of a group share the weight, weight/m a pair. It is what a star does that ties each member by a spring
    of that weight to a centre without mass (the star–mesh transform of networks), so a large group pulls no more than
    a small one.

    >>> import numpy as np
    >>> [part.tolist() for part in siblings(np.array([7, 7, -1, 7]), 0.5)][:2]
    [[0, 0, 1], [1, 3, 3]]
    """
    import numpy as np

    first, second = np.nonzero(np.triu((group[:, None] == group) & (group >= 0), 1))
    members = (group[:, None] == group).sum(axis=1)
    return Springs(first, second, weight / members[first])


def joined(*springs: Springs) -> Springs:
    """Return several sets of links as one."""
    import numpy as np

    return Springs(*(np.concatenate(parts) for parts in zip(*springs, strict=True)))


def settle(match: NDArray[np.float64], cosine: NDArray[np.floating], springs: Springs, physics: Physics) -> Settled:
    """Integrate the candidates to rest and return them in order of distance from the query.

    `match` (n,) are the match scores, finite and not negative, n ≤ 256; `cosine` (n, n) those between candidates,
    symmetric. Ties in distance go to the better match, then to the earlier place.

    The method is the semismooth Newton method with backtracking (Qi and Sun, 1993; Armijo, 1966).

    Raises:
        LimitExceeded: more than 256 candidates.
        InvalidInput: a shape, place, sign or weight is wrong.

    >>> import numpy as np
    >>> match = np.array([0.9, 0.5, 0.6])
    >>> settle(match, np.eye(3), links([]), Physics()).order
    [0, 2, 1]
    >>> settle(match, np.eye(3), links([(0, 1, 1.0)]), Physics()).order
    [0, 1, 2]
    """
    import numpy as np

    system = system_of(match, cosine, springs, physics)
    r, energy, rest = minimum(system, system.centre, physics.steps_max)
    distance = np.round(r, 6)
    order = np.lexsort((np.arange(len(match)), -match, distance)).tolist()
    return Settled(order, distance, energy, len(energy) - 1, rest)


def system_of(match: NDArray[np.float64], cosine: NDArray[np.floating], springs: Springs, physics: Physics) -> System:
    """Turn candidates into an energy. Arguments and errors are those of `settle`.

    The pull of the query and the spring to the wall are one well: ½·g·m·r² + ½·(1 − r)² is ½·well·(r − centre)² and a
    constant, with well = 1 + g·m and centre = 1/well.
    """
    import numpy as np

    _check(match, cosine, springs)
    near = _near_duplicates(match, cosine, physics.duplicate_line)
    linked, close = np.ones(len(springs.weight)), np.ones(len(near.weight))
    well = 1.0 + physics.gravity * match
    return System(
        well=well,
        centre=1.0 / well,
        first=np.concatenate((springs.first, near.first)),
        second=np.concatenate((springs.second, near.second)),
        stiffness=np.concatenate((physics.spring * springs.weight, physics.repulsion * near.weight)),
        low=np.concatenate((-physics.rest_length * linked, physics.reach * close)),
        high=np.concatenate((physics.rest_length * linked, np.inf * close)),
    )


def _near_duplicates(match: NDArray[np.float64], cosine: NDArray[np.floating], line: float) -> Springs:
    """Pair near-duplicates, the better match first; the weight is 0 at the line and 1 at cosine 1.

    A crowd shares its weight: nobody is pushed by more than one identical candidate would push it.
    """
    import numpy as np

    size = len(match)
    i, j = np.nonzero(np.triu(cosine > line, 1))
    weight = np.clip((cosine[i, j].astype(np.float64) - line) / (1.0 - line), 0.0, 1.0)
    crowd = np.maximum(np.bincount(i, weight, size) + np.bincount(j, weight, size), 1.0)
    worse_first = match[j] > match[i]  # of equals, the earlier place counts as better
    return Springs(np.where(worse_first, j, i), np.where(worse_first, i, j), weight / np.maximum(crowd[i], crowd[j]))


def minimum(
    system: System, start: NDArray[np.float64], steps_max: int
) -> tuple[NDArray[np.float64], list[float], bool]:
    """Find where the energy is least: the place (n,), the energies on the way, and whether it is at rest there.

    A force of `error · well` on every candidate bounds the error of every distance by `error` (`docs/dvns.md`).
    """
    import numpy as np

    r, energy = start, [system.energy(start)]
    while True:
        force = system.force(r)
        if (np.abs(force) <= _ERROR_MAX * system.well).all():
            return r, energy, True
        step = np.asarray(np.linalg.solve(system.curvature(r), force), np.float64)
        length = _backtrack(system, r, step, energy[-1], float(force @ step))
        if length == 0.0 or len(energy) > steps_max:
            return r, energy, False
        r = r + length * step
        energy.append(system.energy(r))


def _backtrack(
    system: System, r: NDArray[np.float64], step: NDArray[np.float64], energy: float, promised: float
) -> float:
    """Return the longest of 1, ½, ¼ … of a step that keeps its promise to lower the energy; 0 if none does."""
    length, rounding = 1.0, _ROUNDING * max(1.0, energy)
    for _ in range(_HALVINGS_MAX):
        if system.energy(r + length * step) <= energy - _SUFFICIENT * length * promised + rounding:
            return length
        length /= 2
    return 0.0


def _check(match: NDArray[np.float64], cosine: NDArray[np.floating], springs: Springs) -> None:
    import numpy as np

    size = len(match)
    if size > CANDIDATES_MAX:
        raise LimitExceeded.over("match", "CANDIDATES_MAX", size, CANDIDATES_MAX)
    if match.shape != (size,) or not np.isfinite(match).all() or (match < 0).any():
        raise InvalidInput.at("match", "must be one finite score ≥ 0 for each candidate")
    if cosine.shape != (size, size) or not np.isfinite(cosine).all():
        raise InvalidInput.at("cosine", f"must be {size} × {size} finite cosines, one for each pair of candidates")
    ends = np.concatenate((springs.first, springs.second))
    if ends.size and not 0 <= ends.min() <= ends.max() < size:
        raise InvalidInput.at("springs", f"must join places 0 to {size - 1}")
    if not ((springs.weight >= 0) & (springs.weight <= 1)).all():
        raise InvalidInput.at("springs", "must weigh 0 to 1 each; give a pair several links if it is to be stiffer")
