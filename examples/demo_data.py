"""Writes generated scenes to try the command on: photos, masks, score maps and id lists."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from annotator import annotate, train_annotator
from PIL import Image
from scenes import CLASSES, PHOTO, draw_many
from tqdm import tqdm

from conformal_plugin._atomic import atomic_open, atomic_write_text
from conformal_plugin.files import write_label

__all__ = ["main", "write_scenes"]

EXAMPLES = """\
example:
  python examples/demo_data.py demo
  cd demo
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt -o calibration.json
"""
# Shares of the scenes in each id list.
LISTS = {"labelled.txt": 0.4, "unlabelled.txt": 0.4, "held_out.txt": 0.2}


def write_scenes(folder: Path, count: int, steps: int = 600) -> None:
    """Write ``count`` scenes as the embedded default's annotator, trained in ``steps``, sees them.

    ``photos/ID.png``, true masks ``labels/ID.png``, ``probs/ID.npz`` with the class scores float16
    ``(K, H, W)``, ``names.txt`` with the classes, and the ids of ``LISTS``.
    """
    photos, truth = draw_many(PHOTO, count, seed=3)
    scores = annotate(train_annotator(steps), photos)
    names = [f"scene{i:03d}" for i in range(count)]
    for i, name in enumerate(tqdm(names, desc="writing scenes", unit="scene", leave=False)):
        with atomic_open(folder / "photos" / f"{name}.png") as handle:
            Image.fromarray(photos[i].transpose(1, 2, 0)).save(handle, "PNG")
        write_label(folder / "labels" / f"{name}.png", truth[i])
        with atomic_open(folder / "probs" / f"{name}.npz") as handle:
            np.savez(handle, probs=scores[i].astype(np.float16))
    atomic_write_text(folder / "names.txt", "\n".join(CLASSES) + "\n")
    ends = np.cumsum([round(share * count) for share in LISTS.values()])
    for listed, ids in zip(LISTS, np.split(np.array(names), ends[:-1])):
        atomic_write_text(folder / listed, "\n".join(ids) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the folder that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="demo_data.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the files go; must not exist yet")
    parser.add_argument(
        "--scenes", type=int, default=200, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=600,
        metavar="N",
        help="training steps of the annotator (default: %(default)s, some 20 seconds)",
    )
    options = parser.parse_args(argv)
    if options.folder.exists():
        parser.error(f"{options.folder} exists; name a folder that does not")
    if options.scenes < 10:
        parser.error(f"--scenes must be at least 10, got {options.scenes}")
    if options.steps < 2:
        parser.error(f"--steps must be at least 2, got {options.steps}")
    torch.set_num_threads(1)  # a network this small is slower on more
    write_scenes(options.folder, options.scenes, options.steps)
    print(f"{options.scenes} scenes in {options.folder}: photos, labels, probs, {', '.join(LISTS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
