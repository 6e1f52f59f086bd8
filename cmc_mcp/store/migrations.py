"""A migration as data: one step between two versions of the tables, its SQL literal for ever."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Migration:
    """One step between two versions of the tables; `down` is empty where going back would lose something."""

    number: int
    title: str
    up: tuple[str, ...]
    down: tuple[str, ...] = field(default=())

    @property
    def checksum(self) -> str:
        """A hash over the statements, so that an applied migration cannot be edited unnoticed."""
        return hashlib.sha256("\n;\n".join((*self.up, "--", *self.down)).encode()).hexdigest()
