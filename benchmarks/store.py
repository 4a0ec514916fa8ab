"""The map store beside compressed float16: size, speed, q-hat and kept labels, on real photos.

One command, about five minutes on one core::

    python benchmarks/store.py --data ../shared/data/voc-animals

The maps are those of the data (``normalised``: most scores are zero), their SEEM-like form
(independent scores in float32, an over-confident background), and ``dense``: the data's maps with
low smooth scores of every class added everywhere, generated, as a model has them that never says
zero. Each is kept as ``.npz`` (float16, deflated), and in the store at every precision. q-hat is
calibrated on the 92 labelled photos and the 345 unlabelled ones are filtered, foreground first, at
alpha .05, .1 and .2; differences are against the scores as they were before they were kept.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin import Calibrator, filter
from conformal_plugin.errors import UninformativeThresholdError
from conformal_plugin.files import read_ids, read_label
from conformal_plugin.files._store_codec import FLOAT16, PRECISIONS, decode, encode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from score_forms import seem_like

ALPHAS = (0.05, 0.1, 0.2)
Map = np.ndarray[Any, Any]


def normalised(probs: Map, rng: np.random.Generator) -> Map:
    return probs


def dense(probs: Map, rng: np.random.Generator) -> Map:
    classes, height, width = probs.shape
    coarse = np.exp(rng.normal(-6, 1.5, (classes, height // 8 + 2, width // 8 + 2)))
    fine = coarse
    for axis, size in ((1, height), (2, width)):  # linear between the coarse values
        place = np.arange(size) / 8
        low = place.astype(int)
        share = (place - low).reshape([-1 if i == axis else 1 for i in range(3)])
        fine = fine.take(low, axis) * (1 - share) + fine.take(low + 1, axis) * share
    return np.clip(0.97 * probs.astype(np.float32) + fine, 0, 1).astype(np.float32)


FORMS: dict[str, Callable[[Map, np.random.Generator], Map]] = {
    "normalised": normalised,
    "SEEM-like": lambda probs, rng: seem_like(probs),
    "dense": dense,
}


def npz(scores: Map) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, probs=scores.astype(np.float16))
    return buffer.getvalue()


def from_npz(content: bytes) -> Map:
    with np.load(io.BytesIO(content)) as archive:
        scores: Map = archive["probs"]
    return scores


@dataclass
class Keeping:
    """One way to keep maps, and what it came to."""

    name: str
    keep: Callable[[Map], bytes]
    back: Callable[[bytes], Map]
    size: int = 0
    writing: float = 0.0
    reading: float = 0.0
    photos: int = 0
    calibrator: Calibrator = field(default_factory=Calibrator)
    kept: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, scores: Map, truth: Map | None) -> None:
        start = time.perf_counter()
        content = self.keep(scores)
        middle = time.perf_counter()
        again = self.back(content)
        self.reading += time.perf_counter() - middle
        self.writing += middle - start
        self.size += len(content)
        self.photos += 1
        self.kept[name] = content
        if truth is not None:
            self.calibrator.update(again, truth)


def ways() -> list[Keeping]:
    rows = [Keeping("npz, float16", npz, from_npz)]
    for precision in sorted(PRECISIONS, reverse=True):
        name = "store, float16" if precision == FLOAT16 else f"store, {precision} bits"
        rows.append(
            Keeping(
                name,
                lambda scores, bits=precision: encode(scores, precision=bits),
                lambda content: decode(content, "map")[0],
            )
        )
    return rows


def labels(scores: Map, qhat: float) -> Map:
    try:
        return np.asarray(filter(scores, qhat))
    except UninformativeThresholdError:
        return np.full(scores.shape[1:], 255, np.uint8)


def measure(data: Path, form: str, limit: int | None) -> None:
    splits = {
        name: read_ids(data / "splits" / f"{name}.txt").ids
        for name in ("labeled_92", "unlabeled_345", "test_245")
    }
    labelled = splits["labeled_92"][:limit]
    unlabelled = splits["unlabeled_345"][:limit]
    everything = [*labelled, *unlabelled, *([] if limit else splits["test_245"])]
    made = FORMS[form]

    def scores_of(name: str) -> Map:
        with np.load(data / "probs" / f"{name}.npz") as archive:
            return made(archive["probs"], np.random.default_rng(list(name.encode())))

    rows, raw = ways(), 0
    for name in everything:
        scores = scores_of(name)
        raw += 2 * scores.size
        truth = read_label(data / "labels" / f"{name}.png") if name in set(labelled) else None
        for row in rows:
            row.add(name, scores, truth)
    originals = [scores_of(name) for name in labelled]
    truths = [read_label(data / "labels" / f"{name}.png") for name in labelled]
    exact = Calibrator()
    for scores, truth in zip(originals, truths):
        exact.update(scores, truth)
    wanted = [exact.exact_result(originals, truths, alpha).qhat for alpha in ALPHAS]

    print(
        f"\n{form}: {len(everything)} photos, float16 without compression {raw / 1e6:.0f} MB, ",
        end="",
    )
    print(f"q-hat {', '.join(f'{q:.5f}' for q in wanted)} at alpha {', '.join(map(str, ALPHAS))}\n")
    print("| kept as | MB | of npz | write, ms | read, ms | q-hat off by | labels that differ |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        qhats = [row.calibrator.result(alpha).qhat for alpha in ALPHAS]
        off = max(abs(got - want) for got, want in zip(qhats, wanted))
        different = np.zeros(len(ALPHAS), np.int64)
        pixels = 0
        for name in unlabelled:
            scores, again = scores_of(name), row.back(row.kept[name])
            pixels += scores[0].size
            for i, (want, got) in enumerate(zip(wanted, qhats)):
                different[i] += (labels(scores, want) != labels(again, got)).sum()
        shares = ", ".join(f"{1e6 * n / pixels:.0f}" for n in different)
        print(
            f"| {row.name} | {row.size / 1e6:.1f} | {100 * row.size / rows[0].size:.0f} % | "
            f"{1e3 * row.writing / row.photos:.1f} | {1e3 * row.reading / row.photos:.1f} | "
            f"{off:.1e} | {shares} per million |",
            flush=True,
        )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder laid out as voc-animals")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument(
        "--dense-photos", type=int, default=30, help="of each split, for the dense form"
    )
    options = parser.parse_args(argv)
    for form in options.forms:
        measure(options.data, form, options.dense_photos if form == "dense" else None)


if __name__ == "__main__":
    main()
