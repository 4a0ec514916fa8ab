"""The reference numbers on real photos, from NumPy, from torch and from streams in any order."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import conformal_plugin as cp

pytestmark = pytest.mark.real
CORE = [0, 8, 10, 12, 13, 15, 17]


class Split:
    """Maps and labels of an id list, read anew at each iteration."""

    def __init__(self, folder: Path, ids: list[str]) -> None:
        self.folder, self.ids = folder, ids

    def maps(self) -> list[np.ndarray]:
        return [np.load(self.folder / "probs" / f"{i}.npz")["probs"] for i in self.ids]

    def labels(self) -> list[np.ndarray]:
        return [np.array(Image.open(self.folder / "labels" / f"{i}.png")) for i in self.ids]


@pytest.fixture(scope="module")
def published(voc: Path) -> tuple[Split, Split]:
    """The labelled 92 and the unlabelled 345 as their lists name them."""
    names = ("labeled_92", "unlabeled_345")
    labelled, unlabelled = ((voc / "splits" / f"{n}.txt").read_text().split() for n in names)
    return Split(voc, labelled), Split(voc, unlabelled)


@pytest.fixture(scope="module")
def redrawn(published: tuple[Split, Split]) -> tuple[Split, Split]:
    """Another 92 of the same 437 photos: the draw for which the reference table was computed.

    The table of thresholds for normalised maps (q-hat 0.27978516 at alpha .2 and so on) is that of
    the first 92 of NumPy's permutation with seed 0 of the sorted ids, not of the published list.
    """
    labelled, unlabelled = published
    ids = sorted(labelled.ids + unlabelled.ids)
    order = np.random.default_rng(0).permutation(len(ids))
    pick = [ids[i] for i in order]
    return Split(labelled.folder, pick[:92]), Split(labelled.folder, pick[92:])


def seem_like(maps: list[np.ndarray]) -> list[np.ndarray]:
    """Independent scores with an over-confident background, in float32."""
    result = []
    for scores in maps:
        p = scores.astype(np.float32)
        foreground = p[1:] / np.maximum(p[1:] + p[:1], np.float32(1e-6))
        background = 1 - np.float32(0.2) * foreground.max(axis=0)
        result.append(np.concatenate([background[None], foreground]))
    return result


def test_reference_table_of_normalised_maps(redrawn: tuple[Split, Split]) -> None:
    labelled, unlabelled = redrawn
    maps, labels = labelled.maps(), labelled.labels()
    calibrator = cp.Calibrator()
    calibrator.update(maps, labels)
    qhats = {alpha: calibrator.result(alpha).qhat for alpha in (0.2, 0.1, 0.05, 0.01)}
    assert {a: round(q, 8) for a, q in qhats.items()} == {
        0.2: 0.27978516,
        0.1: 0.55151367,
        0.05: 0.92846680,
        0.01: 1.0,
    }
    test_maps, test_labels = unlabelled.maps(), unlabelled.labels()
    rows = {
        0.2: (0.830, 0.863, 0.962),
        0.1: (0.918, 0.996, 0.917),
        0.05: (0.959, 1.000, 0.864),
        0.01: (1.000, 1.000, 0.249),
    }
    for alpha, (coverage, kept, precision) in rows.items():
        result = cp.evaluate(test_maps, test_labels, qhats[alpha])
        measured = (result.coverage, result.kept, result.precision)
        assert tuple(round(x, 3) for x in measured) == (coverage, kept, precision)
    raw = cp.evaluate(test_maps, test_labels, math.inf, rule="most-probable")
    assert round(raw.precision, 3) == 0.914
    with pytest.raises(cp.errors.UninformativeThresholdError, match="annotator scores 0"):
        cp.filter(test_maps[0], calibrator.result(0.01))


def test_published_split(published: tuple[Split, Split]) -> None:
    labelled, _ = published
    maps, labels = labelled.maps(), labelled.labels()
    expected = {0.2: 0.1943359375, 0.1: 0.43798828125, 0.05: 0.8900146484375}
    for alpha, qhat in expected.items():
        result = cp.calibrate(maps, labels, alpha)
        assert (result.qhat, result.n_images, result.n_pixels) == (qhat, 92, 3987839)
        tensors = [torch.from_numpy(m) for m in maps]
        assert cp.calibrate(tensors, [torch.from_numpy(t) for t in labels], alpha) == result
    order = np.random.default_rng(1).permutation(92)
    streamed = [cp.Calibrator(), cp.Calibrator()]
    for i in order:
        streamed[i % 2].update(maps[i], labels[i])
    assert streamed[1].merge(streamed[0]).result(0.2).qhat == expected[0.2]


def test_seem_like_scores(published: tuple[Split, Split]) -> None:
    labelled, unlabelled = published
    maps, labels = seem_like(labelled.maps()), labelled.labels()
    exact = cp.calibrate(maps, labels, 0.05)
    assert round(exact.qhat, 4) == 0.7874
    order = np.random.default_rng(2).permutation(92)
    stream = cp.calibrate((maps[i] for i in order), (labels[i] for i in order), 0.05)
    assert exact.qhat <= stream.qhat <= exact.qhat + 1.6e-5
    test_maps, test_labels = seem_like(unlabelled.maps()), unlabelled.labels()
    raw = cp.evaluate(test_maps, test_labels, math.inf, rule="most-probable")
    kept = cp.evaluate(test_maps, test_labels, exact)
    sets = cp.evaluate(test_maps, test_labels, exact, rule="most-probable")
    assert [round(r.miou(CORE), 3) for r in (raw, sets, kept)] == [0.405, 0.405, 0.779]
    assert [round(r.precision, 3) for r in (raw, sets, kept)] == [0.783, 0.783, 0.903]
