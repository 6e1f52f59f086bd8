"""`python -m cmc_mcp.server`: serve the configured store on stdio."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it serves there is nothing to end in good order
    from cmc_mcp.environment import configuration
    from cmc_mcp.server import serve_stdio

    serve_stdio(configuration())
