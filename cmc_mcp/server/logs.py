"""Logs: to stderr only, since stdout carries the protocol."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, cast

from cmc_mcp.model.shown import flat

if TYPE_CHECKING:
    import structlog


class _Line(logging.Formatter):
    """One line for each record, whatever it quotes."""

    def format(self, record: logging.LogRecord) -> str:
        return flat(super().format(record))


def configure() -> None:
    """Send what libraries log to stderr, one line each; warnings and worse."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Line("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)
        root.setLevel(logging.WARNING)


def log() -> structlog.stdlib.BoundLogger:
    """Return our logger. The logger loads on first use: a server that logs nothing does not pay for it."""
    import structlog

    def flattened(logger: object, method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
        return {name: flat(value) if isinstance(value, str) else value for name, value in event.items()}

    configured = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            flattened,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
    )
    return cast("structlog.stdlib.BoundLogger", configured)
