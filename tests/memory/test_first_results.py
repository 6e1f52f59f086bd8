"""Results are built when first used, so the first may be asked for by many threads at once."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import threading
from concurrent.futures import ThreadPoolExecutor
from cmc_mcp.model.results import Receipt, SnapshotPair
gate = threading.Barrier(8)
def first(number):
    gate.wait()
    return Receipt(transaction=number, snapshot=SnapshotPair(before="a", after="b")).lean()
with ThreadPoolExecutor(8) as pool:
    print(sorted(made["transaction"] for made in pool.map(first, range(8))))
"""


def test_eight_threads_may_make_the_first_results_of_a_process_at_once() -> None:
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("[0, 1, 2, 3, 4, 5, 6, 7]\n", "")
