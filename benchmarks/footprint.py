"""Memory and disk: what 100,000 atoms add, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.common import Figures, folder

_CHILD = """
import json, sys
from pathlib import Path
from benchmarks.common import GivenVectors, texts
from cmc_mcp.memory import Memory
path, count, build = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "build"
def resident():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
given = GivenVectors()
with Memory.open(path, embedder=given) as memory:
    if build:
        memory.remember_many([{"content": text} for text in texts(count)])
    else:
        memory.recall_by_vector("w100 w200", given.embed(["x"])[0])
        print(json.dumps(resident()))
"""


def footprint(count: int = 100_000) -> Figures:
    """Compare the private memory of a process that recalls from 1,000 atoms and from `count`."""
    sizes = {}
    with folder() as place:
        for number in (1_000, count):
            path = place / f"{number}.db"
            for step in ("build", "read"):
                done = subprocess.run(
                    [sys.executable, "-c", _CHILD, str(path), str(number), step],
                    check=True,
                    capture_output=True,
                    text=True,
                    cwd=Path(__file__).parent.parent,
                )
            sizes[number] = (json.loads(done.stdout), path.stat().st_size / 2**20)
    per = (count - 1_000) / 100_000
    return {
        "private memory per 100,000 atoms beyond the base, MB (≤ 46)": (sizes[count][0] - sizes[1_000][0]) / per,
        "file per 100,000 atoms, MB": (sizes[count][1] - sizes[1_000][1]) / per,
    }
