"""Turns annotator scores into the pseudo-labels of each row, and measures them with the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from material import IGNORE, Annotation, Material
from tqdm import tqdm

from conformal_plugin import Calibration, Evaluation, calibrate, choose, evaluate, filter
from conformal_plugin.errors import NotWorthUsingError

__all__ = ["LabelSource", "Quality", "calibrate_on_labelled", "label_sources"]

PAPER = 0.05
"""The paper's alpha, with foreground-first."""

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


def calibrate_on_labelled(
    material: Material, form: str, alpha: float | None
) -> tuple[Calibration, str]:
    """Calibrate on the labelled split, the only masks that a user has, and say what for.

    Without an alpha, what the labelled images support, as ``conformal-plugin calibrate`` does.

    Raises:
        NotWorthUsingError: the labelled images speak against the annotator's labels.
    """
    labelled, truth = material.annotations[form].labelled, material.labelled.truth
    if alpha is not None:
        calibration = calibrate(
            _watched(labelled, "calibrating"), truth, alpha, ignore_index=IGNORE
        )
        return calibration, _explained(calibration)
    choice = choose(_watched(labelled, "calibrating"), truth, ignore_index=IGNORE)
    if choice.calibration is None or not choice.worth_using:
        raise NotWorthUsingError(f"{choice.verdict}\nTry --alpha {PAPER:g}")
    return choice.calibration, choice.verdict


def _explained(calibration: Calibration) -> str:
    """A line or two on what a calibration at an alpha means for labels."""
    return (
        f"A class is in a pixel's prediction set when its score is at least "
        f"{1 - calibration.qhat:.4f}.\nThe set then holds the true class at "
        f"{1 - calibration.alpha:.0%} of pixels, on average over draws of {calibration.n_images} "
        f"labelled images; pixels of one image are not independent,\nso expect a spread between "
        f"draws that the {calibration.n_pixels:,} pixels do not show."
    )


def label_sources(
    material: Material, form: str, calibration: Calibration
) -> dict[str, LabelSource]:
    """The pseudo-labels `raw`, `paper` and `calibrated`, which ``calibration`` gives."""
    annotation = material.annotations[form]
    paper, _ = calibrate_on_labelled(material, form, PAPER)
    ways: dict[str, tuple[Calibration | float, str | None]] = {
        "raw": (math.inf, "most-probable"),
        "paper": (paper, "foreground-first"),
        "calibrated": (calibration, None),  # the calibration knows its rule
    }
    maps: dict[str, list[Bytes]] = {name: [] for name in ways}
    for scores in _watched(annotation.unlabelled, "filtering"):
        maps["raw"].append(np.asarray(scores).argmax(0).astype(np.uint8))
        for name in ("paper", "calibrated"):
            qhat, rule = ways[name]
            maps[name].append(filter(scores, qhat, rule=rule, ignore_index=IGNORE))
    return {
        name: LabelSource(maps[name], _quality(material, annotation, name, *way))
        for name, way in ways.items()
    }


def _quality(
    material: Material,
    annotation: Annotation,
    name: str,
    qhat: Calibration | float,
    rule: str | None,
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
