"""What ``filter`` costs to start again: time and memory with all, some or no labels finished.

Small maps, so that what is measured is what each image costs beside its pixels. Every run is a
process of its own; "one image" is what a process costs that has nothing to do. Run again, it goes
on after the last run that ended.

    python benchmarks/resume.py --images 100000 --folder resume
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

KINDS = 64
SHARES = (0.0, 1.0, 0.99, 0.5)
COMMAND = "import sys; from conformal_plugin.cli import main; sys.exit(main())"


def make_maps(folder: Path, images: int) -> None:
    """Maps of three classes and 16 x 16 pixels; as many different ones as ``KINDS``."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = np.random.default_rng(0).dirichlet(np.ones(3), (KINDS, 16, 16))
    files = []
    for one in np.moveaxis(scores, -1, 1).astype(np.float16):
        buffer = io.BytesIO()
        np.save(buffer, one)
        files.append(buffer.getvalue())
    for number in range(images):
        path = folder / f"im{number:07}.npy"
        if not path.exists():
            path.write_bytes(files[number % KINDS])


def measured(arguments: Sequence[object]) -> dict[str, Any]:
    """Run the command in a process of its own; gives its times and the most memory it held."""
    start = time.perf_counter()
    line = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    pid = os.posix_spawn(
        sys.executable,
        line,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"the command ended with status {status}")
    return {
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "seconds": round(time.perf_counter() - start, 2),
        "peak_mib": round(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)),
    }


def prepare(labels: Path, ids: Sequence[str], share: float) -> None:
    """Leave the labels of a share of the ids, spread over all of them."""
    undone = round(len(ids) * (1 - share))
    for place in np.linspace(0, len(ids) - 1, undone, dtype=int):
        (labels / f"{ids[place]}.png").unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path("resume"), help="for maps and labels")
    options = parser.parse_args(argv)
    maps, results = options.folder / "maps", options.folder / "results.json"
    make_maps(maps, options.images)
    ids = [f"im{number:07}" for number in range(options.images)]
    (options.folder / "one.txt").write_text(f"{ids[0]}\n")
    (options.folder / "ids.txt").write_text("".join(f"{name}\n" for name in ids))
    found: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}

    def once(name: str, ids_of: str, out: str, share: float) -> None:
        if name in found:
            return
        prepare(options.folder / out, ids, share)
        found[name] = measured(
            [
                *("filter", "--maps", maps, "--ids", options.folder / ids_of, "--qhat", 0.4),
                *("--out", options.folder / out, "--quiet"),
            ]
        )
        results.write_text(json.dumps(found, indent=2) + "\n")

    once("one image", "one.txt", "one", 0.0)
    for share in SHARES:
        once(f"{share:.0%} of {options.images} finished", "ids.txt", "labels", share)
    print(f"{'':<28} {'processor s':>11} {'s':>8} {'peak MiB':>9}")
    for name, row in found.items():
        columns = row["processor_seconds"], row["seconds"], row["peak_mib"]
        print(f"{name:<28} {columns[0]:>11} {columns[1]:>8} {columns[2]:>9}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
