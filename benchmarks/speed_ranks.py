"""What all_reduce costs on gloo ranks of one machine, beside torch's sum of as many integers.

Run (half a minute)::

    python benchmarks/speed_ranks.py [--ranks 2] [--rounds 5]

Each rank has counted a few images. "ids" is the number of image ids that each rank keeps.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from conformal_plugin import Calibrator, ClassConditionalCalibrator

# Kind, dtype, classes, ids.
CASES: list[tuple[str, Callable[[], Any], type, int, int]] = [
    ("Calibrator, float16", Calibrator, np.float16, 21, 0),
    ("Calibrator, float32", Calibrator, np.float32, 21, 0),
    ("Calibrator, float32", Calibrator, np.float32, 21, 50_000),
    ("ClassConditionalCalibrator, float16", ClassConditionalCalibrator, np.float16, 21, 0),
    ("ClassConditionalCalibrator, float32", ClassConditionalCalibrator, np.float32, 150, 0),
]


def counted(make: Callable[[], Any], dtype: type, classes: int, ids: int, rank: int) -> Any:
    rng = np.random.default_rng(rank)
    calibrator = make()
    if ids:
        points = rng.random((ids, classes)).astype(dtype)
        calibrator.update(
            points, rng.integers(0, classes, ids), [f"{rank}-{i}" for i in range(ids)]
        )
    else:
        maps = rng.random((4, classes, 32, 32)).astype(dtype)
        calibrator.update(maps, rng.integers(0, classes, (4, 32, 32)))
    return calibrator


def work(rank: int, world: int, folder: str, rounds: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    rows = []
    for name, make, dtype, classes, ids in CASES:
        calibrator = counted(make, dtype, classes, ids, rank)
        arrays = [a for a in calibrator.state().values() if a.dtype == np.int64 and a.ndim]
        integers = torch.zeros(sum(a.size for a in arrays), dtype=torch.int64)
        ours, theirs = [], []
        for _ in range(rounds + 1):
            mine = copy.deepcopy(calibrator)
            dist.barrier()
            began = time.perf_counter()
            mine.all_reduce()
            ours.append(time.perf_counter() - began)
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(integers)
            theirs.append(time.perf_counter() - began)
        size = integers.nbytes / 2**20
        times = [1e3 * statistics.median(t[1:]) for t in (ours, theirs)]
        rows.append(
            f"| {name}, {classes} classes | {ids} | {size:.2f} | {times[0]:.2f} | {times[1]:.2f} |"
        )
    if rank == 0:
        Path(folder, "rows").write_text("\n".join(rows), encoding="utf-8")
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(options.ranks, folder, options.rounds), nprocs=options.ranks)
        rows = Path(folder, "rows").read_text(encoding="utf-8")
    print(f"{options.ranks} gloo ranks, medians of {options.rounds}\n")
    print(
        "| counted with | ids a rank | counts MiB | all_reduce ms | torch's sum of the counts ms |"
    )
    print(f"| --- | ---: | ---: | ---: | ---: |\n{rows}")


if __name__ == "__main__":
    main()
