"""Time and peak memory of large maps: a tile and a volume.

    python benchmarks/large_maps.py

Each line is a process of its own. Of functions, which read maps whole or part by part, the peak is
what the system says less what the process had once everything was imported; of commands, which read
part by part, it is all that the process had.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from conformal_plugin import Calibrator, evaluate, filter as filter_masks
from conformal_plugin.cli import main as command
from conformal_plugin.files import open_map, read_map, write_label

ALPHA, QHAT = 0.05, 0.6
IMAGES = 2
"""As many links to one map a command reads: some are read ahead, and `choose` needs several."""
COMMANDS = {
    "filter": "filter --maps maps --qhat 0.6 --out labels_out",
    "evaluate": "evaluate --maps maps --labels labels --qhat 0.6",
    "choose": "choose --maps maps --labels labels",
    "calibrate, deciding": "calibrate --maps maps --labels labels -o decided.json",
    "calibrate at an alpha": "calibrate --maps maps --labels labels --alpha 0.05 -o alpha.json",
    "report": "report --maps maps --labels labels --calibration alpha.json --out page",
    "combine, mean": "combine --maps maps others --ids one.txt --out mean",
    "combine, stack": "combine --maps maps others --ids one.txt --rule stack --fit-ids other.txt "
    "--labels labels --out stack",
}


def write(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Scores that favour one class of each row, the true one less where it is another."""
    classes, rows, *row = shape
    rng = np.random.default_rng(0)
    scores = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
    labels = np.lib.format.open_memmap(path.with_suffix(".label.npy"), "w+", np.uint8, shape[1:])
    noise = rng.random((classes, *row), dtype=np.float32)
    for y in range(rows):
        wrong = y % 7 == 0
        labels[y] = (y + wrong) % classes
        row_scores = np.roll(noise, y, axis=-1)
        row_scores[y % classes] += 0.5 if wrong else 2.0
        scores[:, y] = row_scores / row_scores.sum(0)
    scores.flush()
    labels.flush()


def measure(path: Path, way: str, what: str) -> None:
    """Print the seconds and MiB of one piece of work."""
    labels = np.load(path.with_suffix(".label.npy"))
    before = peak()
    start = time.perf_counter()
    scores = open_map(path) if way == "parts" else read_map(path, max_bytes=2**33)
    if way == "whole" and scores.ndim == 4:
        scores, labels = scores[None], labels[None]
    if what == "filter":
        filter_masks(scores, QHAT)
    elif what == "calibrate":
        counting = Calibrator()
        counting.update(scores, labels)
        counting.result(ALPHA)
    else:
        evaluate(scores, labels, QHAT)
    print(f"{time.perf_counter() - start:8.2f} s {peak() - before:9.2f} MiB")


def link(path: Path) -> None:
    """Folders of maps and labels as a command takes them, in the folder of the map."""
    labels = np.load(path.with_suffix(".label.npy"))
    for number in range(IMAGES):
        for annotator in ("maps", "others"):
            folder = path.parent / annotator
            folder.mkdir(exist_ok=True)
            os.link(path, folder / f"{number}.npy")
        name = f"{number}.png" if labels.ndim == 2 else f"{number}.npz"
        write_label(path.parent / "labels" / name, labels)

    for number, name in enumerate(("one", "other")):
        (path.parent / f"{name}.txt").write_text(f"{number}\n")


def run(path: Path, argv: list[str]) -> None:
    """Print the seconds and MiB of one command, which prints nothing itself."""
    os.chdir(path.parent)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = command([*argv, "--quiet"])
    assert code == 0, f"{argv} failed"
    print(f"{time.perf_counter() - start:8.2f} s {peak():9.2f} MiB")


def peak() -> float:
    """The most memory that this process had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if MAC else 2**10)


MAC = sys.platform == "darwin"


def one(path: Path, way: str, what: str, *more: str) -> str:
    """What a process of its own prints."""
    command = [sys.executable, __file__, "--one", str(path), way, what, *more]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description="time and memory of large maps")
    parser.add_argument("--tile", type=int, nargs=3, default=(20, 5000, 5000))
    parser.add_argument("--volume", type=int, nargs=4, default=(14, 160, 512, 512))
    parser.add_argument("--folder", type=Path, help="where the maps are written, some GB")
    parser.add_argument("--one", nargs=3, metavar=("FILE", "WAY", "WORK"), help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="*", choices=COMMANDS, help="of the commands these alone")
    parser.add_argument("--shape", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        path, way, what = options.one
        if way == "write":
            write(Path(path), tuple(options.shape), what)
        elif way == "link":
            link(Path(path))
        elif way == "run":
            run(Path(path), COMMANDS[what].split())
        else:
            measure(Path(path), way, what)
        return
    cases = (("tile", options.tile, "float32"), ("volume", options.volume, "float16"))
    for name, shape, dtype in cases:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / f"{name}.npy"
            # In a process of its own: on Linux a child's peak begins with its parent's.
            one(path, "write", dtype, "--shape", *map(str, shape))
            size = path.stat().st_size / 2**20
            print(f"{name} {'x'.join(map(str, shape))} {dtype}, {size:.2f} MiB")
            for what in ("filter", "calibrate", "evaluate") if options.only is None else ():
                for way in ("parts", "whole"):
                    print(f"  {what:<10} {way:<6} {one(path, way, what)}", flush=True)
            one(path, "link", "")
            print(f"  commands, {IMAGES} such maps")
            for what in COMMANDS if options.only is None else options.only:
                print(f"  {what:<21} {one(path, 'run', what)}", flush=True)


if __name__ == "__main__":
    main()
