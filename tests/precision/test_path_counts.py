"""Counting along a path in one reading, against filtering at each place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from conformal_plugin.errors import OptionError, ScoreError, ShapeError
from conformal_plugin.evaluation import evaluate
from conformal_plugin.precision import PrecisionCalibrator, ThresholdPath

APART = ThresholdPath([0.0, 0.0, 0.01, 0.25, 0.5, 0.9], [0.0, 0.125, 0.25, 0.5, 0.75, 0.8])
COMMON = ThresholdPath.plain([0.0, 0.125, 0.3, 0.5, 0.75, 0.999])
SETTINGS = [
    ("foreground-first", APART),
    ("foreground-first", COMMON),
    ("most-probable", COMMON),
    ("singleton", COMMON),
]


def images(seed: int, classes: int, dtype: str) -> tuple[list[Any], list[Any]]:
    """Images of two sizes with many ties; eighths, so that scores meet thresholds exactly."""
    rng = np.random.default_rng(seed)
    scores, labels = [], []
    for shape in ((5, 7), (4, 3)):
        eighths = rng.integers(0, 9, (classes, *shape))
        if "int" in dtype:
            scores.append((eighths * np.iinfo(dtype).max // 8).astype(dtype))
        else:
            scores.append((eighths / 8).astype(dtype))
        labels.append(np.where(rng.random(shape) < 0.2, 255, rng.integers(0, classes, shape)))
    labels[0][0, 0] = labels[1][0, 0] = 0
    return scores, labels


def by_hand(scores: Any, labels: Any, rule: str, path: ThresholdPath, background: int) -> Any:
    """Kept and wrong at each place, and both of foreground labels, by filtering anew."""
    kept, wrong, kept_foreground, wrong_foreground = [], [], [], []
    for j in range(len(path)):
        qhat = path.qhat(j, scores.shape[0], background)
        result = evaluate(scores, labels, qhat, rule=rule, background=background)
        kept.append(result.kept_pixels)
        wrong.append(result.kept_pixels - int(np.trace(result.confusion)))
        foreground = np.delete(result.confusion[:, :-1], background, axis=1)
        kept_foreground.append(int(foreground.sum()))
        right = np.delete(np.diagonal(result.confusion), background)
        wrong_foreground.append(int(foreground.sum() - right.sum()))
    return kept, wrong, kept_foreground, wrong_foreground


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int16"])
@pytest.mark.parametrize(("rule", "path"), SETTINGS, ids=lambda value: getattr(value, "common", ""))
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 5), last=st.booleans())
def test_curves_equal_filtering_at_each_place(
    rule: str, path: ThresholdPath, dtype: str, seed: int, classes: int, last: bool
) -> None:
    background = classes - 1 if last else 0
    scores, labels = images(seed, classes, dtype)
    calibrator = PrecisionCalibrator(rule=rule, background=background, path=path)
    calibrator.update(scores, labels, ids="ab")
    for name, image, truth in zip("ab", scores, labels):
        counts = calibrator.counts().subset([name])
        measured = (counts.kept, counts.wrong, counts.kept_foreground, counts.wrong_foreground)
        by_filtering = by_hand(image, truth, rule, path, background)
        assert [row[0].tolist() for row in measured if row is not None] == list(by_filtering)
        assert counts.pixels[0] == (truth != 255).sum()
        assert counts.areas[0] == truth.size
        assert counts.classes[0].tolist() == [(truth == c).sum() for c in range(classes)]


def test_background_turns_to_foreground_along_the_path() -> None:
    scores = np.array([[[0.95]], [[0.4]]])
    path = ThresholdPath([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    calibrator = PrecisionCalibrator(path=path)
    calibrator.update(scores, np.array([[0]]))
    counts = calibrator.counts()
    assert counts.kept.tolist() == [[1, 1, 1]]
    assert counts.wrong.tolist() == [[0, 1, 1]]  # 1 - 0.4 = 0.6: foreground from the second place


def test_bfloat16_and_batches_of_torch_agree_with_single_images() -> None:
    scores, labels = images(3, 4, "float32")
    batch = torch.from_numpy(np.stack([scores[0], scores[0][:, ::-1]]).copy()).to(torch.bfloat16)
    truth = torch.from_numpy(np.stack([labels[0], labels[0][::-1]]).copy())
    together, apart = PrecisionCalibrator(), PrecisionCalibrator()
    together.update(batch, truth, ids=["a", "b"])
    apart.update(batch[1], truth[1], ids=["b"])
    apart.update(batch[0], truth[0], ids=["a"])
    assert np.array_equal(together.counts().kept, apart.counts().kept)
    assert np.array_equal(together.counts().wrong, apart.counts().wrong)


def test_what_is_refused() -> None:
    calibrator = PrecisionCalibrator()
    with pytest.raises(ShapeError, match=r"controlled per image, and scores of shape \(N, K\)"):
        calibrator.update(np.full((5, 2), 0.5), np.zeros(5, dtype=int))
    for wrong in (np.nan, 1.5):
        with pytest.raises(ScoreError, match=r"scores must lie in \[0, 1\]"):
            calibrator.update(np.full((2, 2, 2), wrong), np.zeros((2, 2), dtype=int))
    calibrator.update(np.full((2, 2, 2), 0.5), np.zeros((2, 2), dtype=int), ids=["a"])
    with pytest.raises(OptionError, match="1 ids were never counted, 'b' for one"):
        calibrator.counts().subset(["a", "b"])
