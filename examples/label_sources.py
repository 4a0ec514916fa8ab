"""Turns annotator scores into the pseudo-labels of each row, and measures them with the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from material import IGNORE, Annotation, Material
from tqdm import tqdm

from conformal_plugin import Calibration, Evaluation, calibrate, evaluate, filter

__all__ = ["LabelSource", "Quality", "calibrate_on_labelled", "explain", "label_sources"]

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Quality:
    """What the truth says about pseudo-labels; dropped pixels count as misses in an IoU."""

    kept: float
    precision: float
    core_miou: float
    miou: float

    @classmethod
    def of(cls, evaluation: Evaluation, material: Material) -> Quality:
        """Read the four numbers off an evaluation of the unlabelled split."""
        return cls(
            kept=evaluation.kept,
            precision=evaluation.precision,
            core_miou=evaluation.miou(list(material.core)),
            miou=evaluation.miou(),
        )


@dataclass(frozen=True)
class LabelSource:
    """Label maps of the unlabelled photos, and how good they are."""

    maps: list[Bytes]
    quality: Quality


def calibrate_on_labelled(material: Material, form: str, alpha: float) -> Calibration:
    """Calibrate on the labelled split: the only masks that a user has."""
    return calibrate(
        _watched(material.annotations[form].labelled, "calibrating"),
        material.labelled.truth,
        alpha,
        ignore_index=IGNORE,
    )


def explain(calibration: Calibration, form: str) -> str:
    """Say in a line or two what the calibration means for labels."""
    share = 1 - calibration.alpha
    return (
        f"q-hat {calibration.qhat:.4f} on {form} scores: a class is in a pixel's prediction set "
        f"when its score is at least {1 - calibration.qhat:.4f}.\nThe set then holds the true "
        f"class at {share:.0%} of pixels, on average over draws of {calibration.n_images} "
        f"labelled images; pixels of one image are not independent,\nso expect a spread between "
        f"draws that the {calibration.n_pixels:,} pixels do not show."
    )


def label_sources(
    material: Material, form: str, calibration: Calibration
) -> dict[str, LabelSource]:
    """Return the pseudo-labels `raw`, `most-probable` and `foreground-first`."""
    annotation = material.annotations[form]
    maps: dict[str, list[Bytes]] = {"raw": [], "most-probable": [], "foreground-first": []}
    for scores in _watched(annotation.unlabelled, "filtering"):
        maps["raw"].append(np.asarray(scores).argmax(0).astype(np.uint8))
        for rule in ("most-probable", "foreground-first"):
            maps[rule].append(filter(scores, calibration, rule=rule, ignore_index=IGNORE))
    thresholds = {
        "raw": (math.inf, "most-probable"),
        "most-probable": (calibration, "most-probable"),
        "foreground-first": (calibration, "foreground-first"),
    }
    return {
        name: LabelSource(maps[name], _quality(material, annotation, name, *thresholds[name]))
        for name in maps
    }


def _quality(
    material: Material, annotation: Annotation, name: str, qhat: Calibration | float, rule: str
) -> Quality:
    evaluation = evaluate(
        _watched(annotation.unlabelled, f"measuring {name} labels"),
        material.unlabelled.truth,
        qhat,
        rule=rule,
        ignore_index=IGNORE,
    )
    return Quality.of(evaluation, material)


def _watched(scores: Any, what: str) -> Any:
    """The same scores with a progress bar; still readable more than once."""
    return tqdm(scores, desc=what, unit="image", leave=False)
