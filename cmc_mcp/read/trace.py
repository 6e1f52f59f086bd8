"""The trace: what each stage did, and what it cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from pydantic import JsonValue

from cmc_mcp.model.results import StageTrace


@dataclass(slots=True)
class Trace:
    """Times and counts by stage, in the order in which the stages first ran; `explained` if the answer shows them."""

    explained: bool = False
    _stages: dict[str, tuple[int, float, dict[str, JsonValue]]] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str, candidates: int, **notes: JsonValue) -> None:
        """Add the time since the last lap to a stage; counts and notes are the latest given."""
        now = time.perf_counter()
        _, spent, _ = self._stages.get(stage, (0, 0.0, {}))
        self._stages[stage] = (candidates, spent + now - self._last, notes)
        self._last = now

    def stages(self) -> list[StageTrace]:
        """Return the stages as an answer shows them."""
        return [
            StageTrace(stage=stage, candidates=count, ms=round(spent * 1000, 3), notes=notes)
            for stage, (count, spent, notes) in self._stages.items()
        ]
