"""Which conversation or document each atom is of, as one number: that of the session for a turn, whatever its source.

Nothing is stored for it. The origin of a turn without a source names its session; of one with a source the discriminator
does, which is read once an atom. A turn of which neither is left is of its origin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Final

from cmc_mcp.canon import payload_hash
from cmc_mcp.ids import Pid, Rid
from cmc_mcp.kernel.kinds import DOMAINS
from cmc_mcp.store.rows import PayloadRow, is_sound

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.store.ports import ReadView

    Numbers = npt.NDArray[np.int64]

_PREFIX: Final = b"session:"
_OF_SOURCE: Final = 0  # known of an origin: it is a source and says nothing of sessions


def session_number(origin: bytes) -> int:
    """Return the number of a session from `session:NAME`: below 0, so that it is never that of a payload.

    >>> session_number(b"session:a") < 0, session_number(b"session:a") == session_number(b"session:b")
    (True, False)
    """
    return -(int.from_bytes(payload_hash(origin)[:8], "big") >> 2) or -1


def groups(
    view: ReadView, rids: Numbers, origins: Numbers, traits: Numbers, known: MutableMapping[Pid, int]
) -> Numbers:
    """Return the number of the conversation or document of each atom, 0 for none. `known` keeps what origins said."""
    import numpy as np

    out = origins.copy()
    turns = np.flatnonzero((traits & 1).astype(np.bool_) & (origins > 0))
    if not len(turns):
        return out
    named = [Pid(int(origin)) for origin in origins[turns]]
    if fresh := sorted(set(named) - known.keys()):
        bodies = _bodies(view.payload_rows(fresh))
        known.update({pid: _of_origin(bodies.get(pid)) for pid in fresh})
    numbers = np.array([known[pid] for pid in named], np.int64)
    out[turns] = np.where(numbers == _OF_SOURCE, out[turns], numbers)
    sourced = turns[numbers == _OF_SOURCE]
    if len(sourced):
        said = _sessions(view, [Rid(int(rid)) for rid in rids[sourced]])
        out[sourced] = [said.get(int(rids[place]), int(origins[place])) for place in sourced]
    return out


def _of_origin(body: bytes | None) -> int:
    return session_number(body) if body is not None and body.startswith(_PREFIX) else _OF_SOURCE


def _sessions(view: ReadView, rids: Sequence[Rid]) -> dict[int, int]:
    atoms = view.atoms(rids)
    bodies = _bodies(view.payload_rows(sorted({row.discriminator for row in atoms.values() if row.discriminator})))
    out: dict[int, int] = {}
    for rid, row in atoms.items():
        said = json.loads(bodies[row.discriminator]) if row.discriminator in bodies else {}
        if "session" in said:
            out[rid] = session_number(_PREFIX + str(said["session"]).encode())
    return out


def _bodies(rows: Mapping[Pid, PayloadRow]) -> dict[Pid, bytes]:
    """Return those payloads that are left and sound; what was altered says nothing, and whoever shows it raises."""
    return {pid: row.body for pid, row in rows.items() if row.body is not None and is_sound(row, DOMAINS)}
