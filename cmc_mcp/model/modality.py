"""The modalities of content."""

from typing import Final

MODALITIES: Final = ("text", "code", "event", "tool:call", "tool:result", "image", "audio", "data")
"""Every modality; its place here is its number in the tables."""
BINARY: Final = frozenset({"image", "audio", "data"})
"""Kept as bytes and never read as text: neither searched nor embedded."""
TEXTUAL: Final = len(MODALITIES) - len(BINARY)
"""Modalities with a lower number are text."""
