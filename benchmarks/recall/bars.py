"""What the figures are held against: the baselines on the open split, and the bars of the sealed one.

What they were measured on: `docs/recall.md`.
"""

from __future__ import annotations

from typing import Final

# R@10 on the open split: BM25 porter, dense, RRF 60, plain sum, best simple way so far
REFERENCE: Final[dict[str, tuple[float, float, float, float, float]]] = {
    "locomo": (0.599, 0.372, 0.523, 0.604, 0.853),
    "realtalk": (0.439, 0.328, 0.457, 0.457, 0.543),
    "beam": (0.404, 0.532, 0.481, 0.527, 0.601),
    "beam_update": (0.854, 0.809, 0.858, 0.879, 0.879),
    "squadshifts": (0.953, 0.924, 0.969, 0.976, 0.976),
    "timeqa": (0.724, 0.722, 0.806, 0.796, 0.857),
    "cosqa": (0.558, 0.822, 0.766, 0.786, 0.826),
}

# set, metric, category (empty: all), target, stretch
BARS: Final[tuple[tuple[str, str, str, float, float], ...]] = (
    ("locomo", "R@10", "", 0.84, 0.87),
    ("locomo", "R@10", "multi_hop", 0.54, 0.60),
    ("locomo", "in 2k", "", 0.94, 0.96),
    ("realtalk", "R@10", "", 0.70, 0.75),
    ("realtalk", "in 2k", "", 0.86, 0.89),
    ("beam", "R@10", "", 0.65, 0.70),
    ("beam", "in 2k", "", 0.72, 0.80),
    ("beam_update", "fresh_first", "", 0.70, 0.85),
    ("beam_update", "both@10", "", 0.80, 0.88),
    ("squadshifts", "MRR@10", "", 0.905, 0.92),
    ("timeqa", "R@10", "", 0.92, 0.94),
    ("timeqa", "R@1", "", 0.33, 0.45),
    ("cosqa", "R@10", "", 0.82, 0.85),
    ("cosqa", "MRR@10", "", 0.54, 0.58),
)
LOSS_MAX: Final = 0.01  # of R@10 that a change may cost any set
