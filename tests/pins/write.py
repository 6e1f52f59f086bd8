"""Write the goldens anew, from what the product does now: `python -m tests.pins.write`. Look at the diff before you commit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.pins.golden import WRITE

if __name__ == "__main__":
    for backend, names in (
        ("sqlite", "*"),
        ("postgres", "postgres.txt"),
    ):  # the first writes what both are compared with
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "0", "--backend", backend, str(Path(__file__).parent)],
            check=True,
            env={**os.environ, WRITE: names},
        )
