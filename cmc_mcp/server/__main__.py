"""`python -m cmc_mcp.server`: serve the configured store on stdio."""

from __future__ import annotations

from cmc_mcp.config import configuration
from cmc_mcp.server import serve_stdio

if __name__ == "__main__":
    serve_stdio(configuration())
