"""The κ-gate: which memories are sure enough for what is at stake. It marks; it withholds only where the caller says so."""

from __future__ import annotations

from cmc_mcp.config import Kappa
from cmc_mcp.errors import InvalidInput
from cmc_mcp.model.results import Gate
from cmc_mcp.read.fit import Page
from cmc_mcp.read.query import Question


def kappa_of(question: Question, kappa: Kappa) -> float | None:
    """Return the confidence that the stakes of a question ask for; None where it does not say what is at stake.

    Raises:
        InvalidInput: something is to be withheld, and nothing says what is at stake.
    """
    criticality = question.further.get("criticality")
    if criticality is None:
        if question.further.get("withhold"):
            raise InvalidInput.at("withhold", "needs criticality; say what is at stake, or use min_confidence")
        return None
    return kappa.of(str(criticality))


def gated(confidence: float | None, kappa: float | None) -> Gate | None:
    """Return where a confidence stands; one that is unknown is a class of its own, not a low one.

    >>> gated(0.96, 0.95), gated(0.9, 0.95), gated(None, 0.95), gated(0.9, None)
    ('passes', 'below', 'unknown', None)
    """
    if kappa is None:
        return None
    return "unknown" if confidence is None else "passes" if confidence >= kappa else "below"


def abstention(page: Page, kappa: float | None, *, withheld: bool) -> str | None:
    """Return why an answer abstains: it holds nothing that is sure enough, and left nothing out for want of room.

    >>> abstention(Page(0, 0), 0.95, withheld=True)
    'nothing that was found is known to be sure to 0.95; what is less sure, or not known to be, is withheld'
    """
    if kappa is None or any(item.gate == "passes" for item in page.items) or (page.left_out and not page.items):
        return None
    rest = "; what is less sure, or not known to be, is withheld" if withheld else ""
    return f"nothing that was found is known to be sure to {kappa:g}{rest}"
