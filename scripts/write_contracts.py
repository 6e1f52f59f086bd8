"""Write the contract of each tool, version 1, as JSON Schema: `python scripts/write_contracts.py`.

The contract is additive: names and meanings stay, and more may come. `tests/tools/test_contracts.py` holds the files to
what the code makes.
"""

from __future__ import annotations

import json
from pathlib import Path

from cmc_mcp.tools import TOOLS
from cmc_mcp.tools.schema import output_schema

FOLDER = Path(__file__).resolve().parent.parent / "cmc_mcp" / "contracts" / "v1"
_WHOLE = 100  # deeper than any result


def contracts() -> dict[str, str]:
    """Make the files' texts by name."""
    out = {}
    for tool in TOOLS:
        contract = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "tool": tool.name,
            "version": 1,
            "arguments": tool.input_schema,
            "result": output_schema(tool.result, _WHOLE),
        }
        out[f"{tool.name}.json"] = json.dumps(contract, indent=2, ensure_ascii=False) + "\n"
    return out


def main() -> None:
    """Write the files."""
    for name, text in contracts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
