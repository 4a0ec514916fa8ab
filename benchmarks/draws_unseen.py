"""What the caps are worth on annotators that their paths were not chosen on: many draws.

    python benchmarks/draws_unseen.py --data ../shared/data [--draws 1000] [--forms NAME ...]

The default paths of precision were chosen on the training photos of VOC and colonoscopy and on the
street frames' first 312, with scores as they are, SEEM-like, squared, to the fourth power, and with
a tenth of the background's odds. Here the photos are those that were held back, and the annotators
are others: the background's odds cut to a tenth (over-calls objects), or ten times as high (shy of
objects); the fourth power of the scores or their square root, normalised; three pairs of classes in
each other's place in three photos of ten. The first and the third took part in the choice on other
photos, the others took none.
The columns are those of `draws.py`; "broken" is on all held-back images. "Looked at": before any
draw, a hundred unlabelled maps of the annotator, of the photos that were not held back, have chosen
the path (`path_for`). Where they choose the default the row is the one above it, and is left out.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.stats
from draws import BEDS, DELTA, POPULATION, TRAINING, Bed, count, precision, read

from conformal_plugin.precision import ThresholdPath, is_surer, sure_share

ASKED = ((92, 0.05), (50, 0.10), (92, 0.10))
LOOKED_AT = 100
PAIRS = ((8, 10), (12, 13), (15, 17))

Transform = Callable[[np.ndarray], np.ndarray]


def background_odds(factor: float) -> Transform:
    def transform(probs: np.ndarray) -> np.ndarray:
        scores = probs.astype(np.float32)
        scores[0] *= factor
        return normalised(scores)

    return transform


def power(exponent: float) -> Transform:
    return lambda probs: normalised(probs.astype(np.float32) ** exponent)


def normalised(scores: np.ndarray) -> np.ndarray:
    return np.minimum(scores / np.maximum(scores.sum(axis=0, keepdims=True), 1e-6), 1.0)


def sometimes_swapped(probs: np.ndarray) -> np.ndarray:
    """By a hash of the map, so that it is the same photos each time."""
    scores = probs.copy()
    if hashlib.sha256(probs.tobytes()).digest()[0] < 0.3 * 256:
        for one, other in PAIRS:
            scores[[one, other]] = scores[[other, one]]
    return scores


FORMS: dict[str, Transform] = {
    "over-calls objects": background_odds(0.1),
    "shy of objects": background_odds(10.0),
    "fourth power": power(4.0),
    "square root": power(0.5),
    "classes swapped": sometimes_swapped,
}


@dataclass(frozen=True)
class Held:
    """Photos that were held back, with the forms that make sense there."""

    name: str
    bed: str
    forms: tuple[str, ...]


HELD = (
    Held("VOC test", "voc-animals, test", tuple(FORMS)),
    Held("colonoscopy test", "polyps, test", tuple(FORMS)[:4]),
)


def annotators(forms: Sequence[str], only: str = "") -> Iterator[tuple[str, Bed]]:
    """Photos and form, as two cells of a table, and their bed; ``only`` is in the photos' name."""
    for held in (held for held in HELD if only in held.name):
        bed = next(bed for bed in BEDS if bed.name == held.bed)
        for form in (form for form in held.forms if form in forms):
            yield f"{held.name} | {form}", replace(bed, transform=FORMS[form])


def paths(data: Path, bed: Bed) -> Iterator[tuple[str, ThresholdPath]]:
    """The default, and that for surer annotators where unlabelled maps choose it."""
    yield "", ThresholdPath.capped_foreground_first()
    ids, one = read(data, replace(bed, splits=TRAINING))
    some = np.random.default_rng(0).permutation(ids)[:LOOKED_AT]
    if is_surer(sure_share(one(name)[0]) for name in some):
        yield ", looked at", ThresholdPath.capped_foreground_first(surer=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    options = parser.parse_args()
    print(
        "| photos | annotator | n | epsilon | nothing | kept | wrong | foreground wrong | p90 | "
        f"broken | new 50 |\n{'| --- ' * 11}|"
    )
    for name, bed in annotators(options.forms):
        for how, path in paths(options.data, bed):
            photos = count(options.data, bed, path)
            for n, epsilon in ASKED:
                figures = precision(photos, n, epsilon, options.draws, options.seed, POPULATION)
                print(f"| {name}{how} | {n} | {epsilon:g} | {figures} |", flush=True)
    most = int(scipy.stats.binom.isf(1e-3, options.draws, DELTA))
    print(f"\na promise broken with probability {DELTA} breaks in at most {most} of them")


if __name__ == "__main__":
    main()
