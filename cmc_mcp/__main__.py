"""`python -m cmc_mcp` is `cmc`."""

from cmc_mcp.cli import main

if __name__ == "__main__":
    main()
