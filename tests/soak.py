"""The long runs: `python -m tests.soak kills|power|writers`. Each prints its seed, and can be gone on from.

What continuous integration runs in seconds runs here for as long as one likes: `--count 10000`, `--images 100000`.
With `--folder` the state is kept there, and the same command with `--resume` goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
from pathlib import Path

from tests.crash.kills import Kills, run_kills
from tests.crash.power import PowerLosses, run_images
from tests.crash.writers import run_writers


def main(arguments: list[str] | None = None) -> int:
    """Run one of them; 0 when nothing was lost and nothing broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("kills", "power", "writers"))
    parser.add_argument("--count", type=int, default=1000, help="kills, or writes of each writer")
    parser.add_argument("--images", type=int, default=1000, help="power losses")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="keep the state here")
    parser.add_argument("--resume", action="store_true", help="go on from the state in the folder")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        told = json.loads((folder / "progress.json").read_text()) if asked.resume else None
        seed = told["seed"] if told else secrets.randbelow(1 << 31) if asked.seed is None else asked.seed
        print(f"seed {seed}", file=sys.stderr, flush=True)
        if asked.what == "kills":
            kills = run_kills(asked.count, seed, folder, Kills(**told) if told else None)
            print(kills.as_json())
            return int(bool(kills.failures))
        if asked.what == "power":
            images = run_images(asked.images, seed, folder, resumed=PowerLosses(**told) if told else None)
            print(images.as_json())
            return int(bool(images.failures))
        outcome = run_writers(folder, writers=asked.writers, each=asked.count, readers=asked.readers)
        print(outcome.as_json())
        return int(bool(outcome.errors or outcome.violations))


if __name__ == "__main__":
    sys.exit(main())
