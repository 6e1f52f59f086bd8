"""Checks: what `verify` has its products look at, beside the rows of their indexes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cmc_mcp.ids import ModelNumber
from cmc_mcp.store.tables import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.store.audit import Audit, Report
    from cmc_mcp.store.ports import AuditView

    Embed = Callable[[Sequence[str]], Iterable[npt.NDArray[np.float32]]]
    """What makes vectors (fp32, unit length) of texts, in order."""
    Reader = Callable[[], AbstractContextManager[AuditView]]
    """What opens a view of the workspace."""


class Check(NamedTuple):
    """A check of what follows from tables of a role, made once they were; `table`: where it is said to be impossible."""

    role: Role
    table: str
    run: Callable[[Audit, Report], None]


class Prepared(Protocol):
    """A deep check that knows what to embed: it reads a few texts at a time, and embeds while nothing is open."""

    def __call__(self, reader: Reader, embed: Embed, report: Report, /) -> int:
        """Return how many vectors were compared."""
        ...


class DeepCheck(NamedTuple):
    """A check that needs the model: of the vectors under a model number, prepared while the audit's view is open."""

    name: str
    prepared: Callable[[Audit, ModelNumber], Prepared]
