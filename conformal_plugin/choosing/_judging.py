"""What every candidate is worth beside the constant and the others, and which is proposed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from conformal_plugin.choosing._choice import CLEARLY, Candidate, Constant
from conformal_plugin.choosing._measures import FoldCounts, jackknife
from conformal_plugin.choosing._wish import Wish

__all__ = ["constant", "judge", "with_constant"]


def with_constant(
    labelled: np.ndarray[Any, Any],
    right: np.ndarray[Any, Any],
    true: np.ndarray[Any, Any],
    classes: Sequence[int],
    background: int,
) -> FoldCounts:
    """The candidates' counts and, last, those of the most common class for every pixel."""
    most = int(true.sum(axis=0).argmax())
    extra = np.zeros((2, len(true), 1, true.shape[1]), dtype=np.int64)
    extra[0, :, 0, most] = true.sum(axis=1)
    extra[1, :, 0, most] = true[:, most]
    return FoldCounts(
        np.concatenate([labelled, extra[0]], axis=1),
        np.concatenate([right, extra[1]], axis=1),
        true,
        classes,
        background,
    )


def constant(counts: FoldCounts) -> Constant:
    """What the last row of ``counts``, the most common class, is worth."""
    label = int(counts.true.sum(axis=0).argmax())
    measured = (counts.precision, counts.miou, counts.recall)
    return Constant(label, *(float(values[-1]) for values, _ in measured))


def judge(
    counts: FoldCounts,
    wish: Wish,
    rules: Sequence[str],
    alphas: Sequence[float],
    qhats: Sequence[Any],
) -> tuple[int, bool, list[Candidate]]:
    """The proposal's number, whether it fulfils the wish, and all candidates."""
    settings: list[tuple[str, float | None, float]] = [
        (rule, alpha, float(qhat)) for rule in rules for alpha, qhat in zip(alphas, qhats)
    ]
    settings.append(("most-probable", None, math.inf))
    usable = np.array([alpha is None or qhat < 1.0 for _, alpha, qhat in settings])
    beats = usable & _clearly_above_last(*counts.miou) & _clearly_above_last(*counts.precision)
    rows = np.flatnonzero(beats if beats.any() else usable)
    proposed, fulfilled = wish.best_of(counts, rows)
    columns: dict[str, Any] = {"usable": usable, "beats_constant": beats}
    for name in ("miou", "precision", "kept", "recall"):
        values, without = getattr(counts, name)
        columns |= {name: values, f"{name}_se": jackknife(without)}
    (miou, miou_without), (recall, recall_without) = counts.miou, counts.recall
    columns |= {
        "behind": miou[proposed] - miou,
        "behind_se": jackknife(miou_without[:, [proposed]] - miou_without),
        "recall_gain": recall - recall[proposed],
        "recall_gain_se": jackknife(recall_without - recall_without[:, [proposed]]),
    }
    candidates = [
        Candidate(*setting, **{name: column[i].item() for name, column in columns.items()})
        for i, setting in enumerate(settings)
    ]
    return proposed, fulfilled, candidates


def _clearly_above_last(
    values: np.ndarray[Any, Any], without: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Which values, the last left out, exceed the last by more than two standard errors."""
    difference = values[:-1] - values[-1]
    errors = jackknife(without[:, :-1] - without[:, -1:])
    clearly: np.ndarray[Any, Any] = difference > CLEARLY * errors
    return clearly
