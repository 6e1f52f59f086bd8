"""Notes: what an answer says beside one memory, of others that disagree with it, follow it or let it down."""

from __future__ import annotations

from dataclasses import dataclass, field

from cmc_mcp.ids import Rid
from cmc_mcp.model.results import ConflictNote


@dataclass(slots=True)
class Notes:
    """The notes to show beside one memory."""

    conflicts: list[ConflictNote] = field(default_factory=list)
    superseded_by: list[Rid] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there are no notes to show."""
        return not (self.conflicts or self.superseded_by or self.stale)
