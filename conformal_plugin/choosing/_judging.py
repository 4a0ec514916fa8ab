"""What every candidate is worth beside the constant and the others, and which is proposed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from conformal_plugin.choosing._choice import CLEARLY, Candidate, Constant, OwnLabels
from conformal_plugin.choosing._label_counts import LabelCounts
from conformal_plugin.choosing._measures import FoldCounts, jackknife
from conformal_plugin.choosing._ways import POOLED, Family, Grid
from conformal_plugin.choosing._wish import Wish

__all__ = ["constant", "judge", "own_labels", "with_constant"]

_Array = np.ndarray[Any, Any]
_MEASURES = ("information", "miou", "precision", "kept", "recall")


def with_constant(
    folds: Sequence[LabelCounts], true: _Array, classes: Sequence[int], background: int | None
) -> FoldCounts:
    """The candidates' counts and, last, those of the most common class for every pixel."""
    most = int(true.sum(axis=0).argmax())
    more = []
    for counts, pixels in zip(folds, true):
        candidates, num_classes, _ = counts.shape
        everywhere = np.zeros((num_classes, num_classes), dtype=np.int64)
        everywhere[:, most] = pixels
        extra = LabelCounts.of(everywhere[None])
        keys = np.concatenate([counts.keys, extra.keys + candidates * num_classes**2])
        shape = (candidates + 1, num_classes, num_classes)
        more.append(LabelCounts(shape, keys, np.concatenate([counts.counts, extra.counts])))
    return FoldCounts(more, true, classes, background)


def constant(counts: FoldCounts) -> Constant:
    """What the last row of ``counts``, the most common class, is worth."""
    label = int(counts.true.sum(axis=0).argmax())
    return Constant(label, **{name: float(getattr(counts, name)[0][-1]) for name in _MEASURES})


def judge(
    counts: FoldCounts, wish: Wish, ways: Grid, qhats: Sequence[float]
) -> tuple[int, bool, list[Candidate]]:
    """The proposal's number, whether it fulfils the wish, and all candidates.

    Args:
        counts: of all candidates and the constant.
        wish: what is asked for.
        ways: the candidates but the raw one.
        qhats: each one's threshold from all images, the largest where there are several.
    """
    raw = Family(POOLED, "most-probable", counts.background)
    settings: list[tuple[Family, float | None, float]] = [
        (family, alpha, float(qhat)) for (family, alpha), qhat in zip(ways, qhats)
    ]
    settings.append((raw, None, math.inf))
    usable = np.array([alpha is None or qhat < 1.0 for _, alpha, qhat in settings])
    useful = usable & _clearly_informed(counts) & counts.more_right_than_wrong[:-1]
    rows = np.flatnonzero(useful if useful.any() else usable)
    proposed, fulfilled = wish.best_of(counts, rows)
    proposed = _with_a_threshold(counts, wish, rows, proposed)
    columns: dict[str, Any] = {"usable": usable, "useful": useful}
    for name in _MEASURES:
        values, without = getattr(counts, name)
        columns |= {name: values, f"{name}_se": jackknife(without)}
    (information, information_without), (recall, recall_without) = counts.information, counts.recall
    columns |= {
        "behind": information[proposed] - information,
        "behind_se": jackknife(information_without[:, [proposed]] - information_without),
        "recall_gain": recall - recall[proposed],
        "recall_gain_se": jackknife(recall_without - recall_without[:, [proposed]]),
    }
    candidates = [
        Candidate(
            rule=family.rule,
            alpha=alpha,
            qhat=qhat,
            thresholds=family.thresholds,
            background=family.background,
            **{name: column[i].item() for name, column in columns.items()},
        )
        for i, (family, alpha, qhat) in enumerate(settings)
    ]
    return proposed, fulfilled, candidates


def own_labels(counts: FoldCounts, own: FoldCounts, proposed: int) -> OwnLabels:
    """What the labels of a model of the user's own are worth beside the proposal's."""
    measured = {name: float(getattr(own, name)[0][0]) for name in _MEASURES}
    (information, without), (mine, mine_without) = counts.information, own.information
    return OwnLabels(
        **{name: measured[name] for name in ("information", "miou", "precision", "recall")},
        gain=float(information[proposed] - mine[0]),
        gain_se=float(jackknife(without[:, proposed] - mine_without[:, 0])),
    )


def _with_a_threshold(counts: FoldCounts, wish: Wish, rows: _Array, proposed: int) -> int:
    """Another proposal than the raw annotator where that is not clearly better.

    It cannot be written as a calibration, and drops nothing.
    """
    raw = counts.candidates - 2  # the constant comes after it
    others = rows[rows != raw]
    if proposed != raw or not len(others) or wish.asked is not None:
        return proposed
    best, _ = wish.best_of(counts, others)
    information, without = counts.information
    lead = information[raw] - information[best]
    clear = lead > CLEARLY * jackknife(without[:, raw] - without[:, best])
    return raw if clear else best


def _clearly_informed(counts: FoldCounts) -> _Array:
    """Which candidates tell something, by more than two standard errors; the constant left out.

    Noise seems to tell a little of a few images, which the jackknife's estimate of bias takes off.
    """
    values, without = counts.information
    folds = len(without)
    unbiased = folds * values - (folds - 1) * without.mean(axis=0)
    clearly: _Array = (unbiased > CLEARLY * jackknife(without))[:-1]
    return clearly
