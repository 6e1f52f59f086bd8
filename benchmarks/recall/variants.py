"""What is switched off to see what it is worth: a name, the settings that leave the thing out, and what it should move.

To add one, add a line. A line whose settings this version does not have is left out of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Final

from cmc_mcp.config import Settings

SHIPPED: Final = "shipped"
FIRST_TEN: Final = "shipped, ten asked for"  # what ablations of the order are compared with
BASELINES: Final = "baselines"
IN_BUDGET: Final = "in 2k"
_EVERY: Final = "*"
_ENDLESS: Final = 10**9

Changes = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Ablation:
    """Settings that leave a stage out (as `changed` takes them), and the metric that shows its worth."""

    changes: Changes
    metric: str = "R@10"


ABLATIONS: Final[Mapping[str, Ablation]] = {
    "names not masked": Ablation({"mask_names": False}),
    "no neighbours' words": Ablation({"*.context": 0.0}),
    "no pooling by source or session": Ablation({"*.pool": 0.0}),
    "no bonus for the speaker named": Ablation({"*.named": 0.0}),
    "no malus for questions": Ablation({"*.question": 0.0}),
    "no bonus for length": Ablation({"*.length": 0.0}),
    "no bonus for speaking of oneself": Ablation({"*.own": 0.0}),
    "a model's turns count in full": Ablation({"*.assistant": 0.0}),
    "no years": Ablation({"*.years": 0.0}),
    "no months": Ablation({"*.month": 0.0}),
    "no phrases": Ablation({"*.phrase": 0.0}),
    "function words searched": Ablation({"function_words": True}),
    "words and meaning half and half": Ablation({"*.lexical": 0.5}),
    "no floor under BM25's scale": Ablation({"lexical_ideal_min": 0.0}),
    "words count in full however little they hold": Ablation({"lexical_sure": 0.0}),
    "no heading column": Ablation({"heading_weight": 0.0}),
    "no dedupe": Ablation({"dedupe": False}),
    "no shortening, in 2k": Ablation({"compress.passage_tokens": _ENDLESS}, IN_BUDGET),
    "no reconcile": Ablation({"reconcile": False}),
    "no possible conflicts": Ablation({"possible_conflicts": False}),
    "no supersession": Ablation({"supersede": False}),
    "nothing from above": Ablation({"node_weight": 0.0}),
    "bare headings count in full": Ablation({"*.heading": 0.0}),
    "BM25 at 1.2 and .75": Ablation({"bm25_k1": 1.2, "bm25_b": 0.75}),
    "with DVNS": Ablation({"dvns": True}),
    "with DVNS, no pooling": Ablation({"dvns": True, "*.pool": 0.0}),
    "with quality, λ .1": Ablation({"rs_weight": 0.1}),
}


def known() -> dict[str, Ablation]:
    """Return the ablations that this version can run."""
    names = _names(Settings())
    return {name: one for name, one in ABLATIONS.items() if set(one.changes) <= names}


def compared_with(one: Ablation) -> str:
    """Return the variant that an ablation is compared with: the product, asked alike."""
    return SHIPPED if one.metric == IN_BUDGET else FIRST_TEN


def _groups(settings: Settings) -> dict[str, object]:
    """Return the settings that are groups of settings."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {name: value for name, value in values.items() if is_dataclass(value)}


def _fields(value: object) -> set[str]:
    return {field.name for field in fields(value)} if is_dataclass(value) else set()


def _names(settings: Settings) -> set[str]:
    """Return every name that `changed` takes."""
    below = {(group, name) for group, value in _groups(settings).items() for name in _fields(value)}
    return _fields(settings) | {f"{group}.{name}" for group, name in below} | {f"{_EVERY}.{name}" for _, name in below}


def changed(base: Settings, changes: Changes) -> Settings:
    """Change settings by name: `name`, `group.name`, or `*.name` in every group that has one.

    Raises:
        ValueError: a setting is unknown.
    """
    if wrong := sorted(set(changes) - _names(base)):
        raise ValueError(f"no setting {', '.join(wrong)}")
    for path, value in changes.items():
        group, _, name = path.rpartition(".")
        if not group:
            base = replace(base, **{name: value})  # type: ignore[arg-type]  # the name was checked
            continue
        for place, inner in _groups(base).items():
            if group in (place, _EVERY) and name in _fields(inner):
                base = replace(base, **{place: replace(inner, **{name: value})})  # type: ignore[arg-type, type-var]
    return base
