"""Precision control on real photos: what is certified on the published split, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.evaluation import evaluate
from conformal_plugin.precision import PrecisionCalibrator

pytestmark = pytest.mark.real


def seem_like(probs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    p = probs.astype(np.float32)
    foreground = p[1:] / np.maximum(p[1:] + p[:1], 1e-6)
    return np.concatenate([1 - 0.2 * foreground.max(axis=0, keepdims=True), foreground])


def read(voc: Path, split: str, kind: Callable[..., Any], count: int | None = None) -> Any:
    ids = (voc / "splits" / f"{split}.txt").read_text(encoding="utf-8").split()[:count]
    scores = [kind(np.load(voc / "probs" / f"{name}.npz")["probs"]) for name in ids]
    labels = [np.array(Image.open(voc / "labels" / f"{name}.png")) for name in ids]
    return ids, scores, labels


@pytest.mark.parametrize(
    ("kind", "thresholds"),
    [
        (np.asarray, {0.05: (0.014142, 0.325, 0.925), 0.1: (0.394822, 0.56125, None)}),
        (seem_like, {0.05: (0.010905, 0.26875, 0.86875), 0.1: (0.07746, 0.45, None)}),
    ],
    ids=["normalised", "SEEM-like"],
)
def test_published_split(voc: Path, kind: Callable[..., Any], thresholds: dict[float, Any]) -> None:
    ids, scores, labels = read(voc, "labeled_92", kind)
    calibrator = PrecisionCalibrator()
    calibrator.update(scores, labels, ids=ids)
    _, *unseen = read(voc, "test_245", kind, 20)
    for epsilon, (background, foreground, cap) in thresholds.items():
        calibration = calibrator.result(epsilon)
        assert np.asarray(calibration.qhat)[:2] == pytest.approx((background, foreground), abs=1e-5)
        assert calibration.cap == cap
        result = evaluate(*unseen, calibration)
        # The promise is for the average over photos; twenty of them scatter about it.
        assert result.precision >= 1 - epsilon - 0.05
        assert result.kept > (0.6 if epsilon == 0.05 else 0.9)
