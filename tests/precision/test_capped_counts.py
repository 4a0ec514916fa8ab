"""Counting along a path with caps in one reading, against filtering at each place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from conformal_plugin.labelling import Cap, label_maps, least_scores
from conformal_plugin.precision import PrecisionCalibrator, ThresholdPath
from conformal_plugin.scores import grid_of

LOOSE = [0.125, 0.25, 0.5, 0.75, 0.125, 0.25, 0.25]
REST: dict[str, Any] = {
    "starts": (0, 4),
    "shares": (0.5, 0.5),
    "caps": [0.3, 0.5, 0.9, 1.0, 0.2, 0.6, 0.61],
}
APART = ThresholdPath([0.0, 0.1, 0.25, 0.5, 0.1, 0.1, 0.3], LOOSE, **REST)
COMMON = ThresholdPath(LOOSE, LOOSE, **REST)
SETTINGS = [
    ("foreground-first", APART),
    ("foreground-first", COMMON),
    ("most-probable", COMMON),
    ("singleton", COMMON),
]
DTYPES = ["float16", "bfloat16", "float32", "float64", "uint8", "int16"]


def image(seed: int, classes: int, dtype: str) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
    """Scores in eighths, which tie and meet thresholds exactly, and labels with unknown ones."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 2))
    eighths = rng.integers(0, 9, (classes, *shape))
    number = getattr(torch, dtype)
    whole = not number.is_floating_point
    values = eighths * torch.iinfo(number).max // 8 if whole else eighths / 8
    labels = np.where(rng.random(shape) < 0.2, 255, rng.integers(0, classes, shape))
    labels[0, 0] = 0
    return torch.as_tensor(values).to(number), labels


@pytest.mark.parametrize("of", ["all", "foreground"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rule", "path"), SETTINGS, ids=lambda value: getattr(value, "common", ""))
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 5), last=st.booleans())
def test_curves_equal_filtering_at_each_place(
    rule: str, path: ThresholdPath, dtype: str, of: str, seed: int, classes: int, last: bool
) -> None:
    background = classes - 1 if last else 0
    scores, truth = image(seed, classes, dtype)
    calibrator = PrecisionCalibrator(rule=rule, background=background, of=of, path=path)
    calibrator.update(scores, torch.as_tensor(truth))
    counts = calibrator.counts()
    curves = (counts.kept, counts.wrong, counts.kept_foreground, counts.wrong_foreground)
    for place in range(len(path)):
        labels = label_maps(
            scores[None],
            least_scores(path.qhat(place, classes, background), grid_of(scores), classes),
            rule=rule,
            background=background,
            ignore_index=255,
            cap=Cap(float(path.caps[place]), of),
        )[0].numpy()
        kept = (labels != 255) & (truth != 255)
        wrong, foreground = kept & (labels != truth), labels != background
        expected = [kept, wrong, kept & foreground, wrong & foreground]
        assert [int(flags.sum()) for flags in expected] == [
            curve[0, place] for curve in curves if curve is not None
        ]


def test_a_path_that_goes_back_needs_no_cap() -> None:
    scores, truth = image(1, 3, "float32")
    there, back = [0.125, 0.25, 0.5], [0.25, 0.75]
    whole = ThresholdPath([*there, *back], [*there, *back], (0, 3), (0.5, 0.5))
    assert not whole.ascending
    counts = []
    for path in (whole, ThresholdPath.plain(there), ThresholdPath.plain(back)):
        calibrator = PrecisionCalibrator(rule="most-probable", path=path)
        calibrator.update(scores, torch.as_tensor(truth))
        counts.append(calibrator.counts().wrong[0].tolist())
    assert counts[0] == counts[1] + counts[2]
