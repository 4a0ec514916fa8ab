"""Calibrating in one call: which of the ways to q-hat the data allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conformal_plugin.calibration._counting import ScoreCounter
from conformal_plugin.calibration._quantile import exact_alpha
from conformal_plugin.calibration._result import Calibration
from conformal_plugin.scores import RecentReadings, rereadable

__all__ = ["calibrate_with", "listed"]


def calibrate_with(
    calibrator: ScoreCounter,
    scores: Any,
    labels: Any,
    alpha: float,
    ids: Iterable[Any] | None,
    groups: Any = None,
) -> Calibration:
    """Count everything with a fresh calibrator; exact where the data can be read again.

    Args:
        calibrator: one that has counted nothing.
        scores, labels, alpha, ids, groups: as in :func:`conformal_plugin.calibrate`.
    """
    exact_alpha(alpha)
    ids, groups = listed(ids), listed(groups)
    if not rereadable(scores, labels):
        calibrator.update(scores, labels, ids, groups)
        return calibrator.result(alpha)
    recent = RecentReadings()
    calibrator._update(scores, labels, ids, groups, recent)
    if recent.complete:
        return calibrator._exactly(alpha, lambda: recent.readings)
    return calibrator.exact_result(scores, labels, alpha, ids=ids, groups=groups)


def listed(names: Any) -> Any:
    """Ids or groups that can be gone through again; what are none is left to be refused."""
    whole = isinstance(names, (str, bytes, Mapping)) or not isinstance(names, Iterable)
    return names if whole else list(names)
