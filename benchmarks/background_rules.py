"""What the background rule does to the labels of real photos.

Run (half a minute)::

    python benchmarks/background_rules.py --data ../shared/data/voc-animals

The maps have a background channel of their own, as an annotator's that is asked for background has
("prompt"). "complement" drops it and puts one minus the largest foreground score in its place. 92
labelled photos calibrate, 345 others are measured: q-hat and the labels' mean intersection over
union on the classes that are not rare, dropped pixels as misses.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conformal_plugin import calibrate, evaluate
from conformal_plugin.annotators import with_background
from conformal_plugin.files import label_files, map_files, read_ids

CORE = (0, 8, 10, 12, 13, 15, 17)
ALPHA = 0.05

Form = Callable[[np.ndarray], np.ndarray]


def prompt(probs: np.ndarray) -> np.ndarray:
    return probs


def complement(probs: np.ndarray) -> np.ndarray:
    return with_background(torch.from_numpy(probs[1:]), "complement").numpy()


class Maps:
    """The maps of a list, each in one form; they can be read again."""

    def __init__(self, data: Path, ids: Any, form: Form) -> None:
        self._maps, self._form = map_files(data / "probs", ids), form

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self._form(np.asarray(scores)) for scores in self._maps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/voc-animals"))
    data = parser.parse_args().data
    lists = [read_ids(data / "splits" / f"{n}.txt").ids for n in ("labeled_92", "unlabeled_345")]
    labels = [label_files(data / "labels", ids) for ids in lists]
    print(f"| rule | raw: mIoU | q-hat at {ALPHA:g} | calibrated: mIoU | precision |")
    print("| --- | --- | --- | --- | --- |")
    for form in (prompt, complement):
        labelled, others = (Maps(data, ids, form) for ids in lists)
        calibration = calibrate(labelled, labels[0], ALPHA)
        raw = evaluate(others, labels[1], math.inf, rule="most-probable")
        kept = evaluate(others, labels[1], calibration)
        print(
            f"| `{form.__name__}` | {raw.miou(CORE):.3f} | {calibration.qhat:.4f} | "
            f"{kept.miou(CORE):.3f} | {kept.precision:.3f} |"
        )


if __name__ == "__main__":
    main()
