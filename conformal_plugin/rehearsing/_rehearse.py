"""Do pseudo-labels help? Students with and without them, on labelled photos they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from conformal_plugin.choosing import MIN_IMAGES, jackknife
from conformal_plugin.errors import EmptyCalibrationError, LabelError, OptionError
from conformal_plugin.processes import in_parallel
from conformal_plugin.rehearsing._points import Directions
from conformal_plugin.rehearsing._probe import (
    Unlabelled,
    confusion,
    loss_of_labels,
    new_probe,
    train_probe,
)
from conformal_plugin.rehearsing._rehearsal import Rehearsal
from conformal_plugin.rehearsing._sampling import Items, PhotoPoints, points_of

__all__ = ["Training", "rehearse"]

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


class Training(NamedTuple):
    """One of the trainings of a rehearsal.

    Attributes:
        deal: how photos are dealt to folds.
        fold: whose photos it does not see.
        with_them: whether it has the pseudo-labels.
    """

    deal: int
    fold: int
    with_them: bool


def rehearse(
    features: Items,
    labels: Items,
    unlabelled: Items,
    pseudo_labels: Items,
    *,
    classes: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    folds: int = 5,
    deals: int = 3,
    ignore_index: int = 255,
    seed: int = 0,
    follow: Callable[[Sequence[Training]], Iterable[Training]] = iter,
) -> Rehearsal:
    """Train small students with pseudo-labels and without, and compare them on photos left out.

    The labelled photos are dealt to ``folds`` at random. For each, a student learns from the
    others, and one from the others and from the pseudo-labels of the unlabelled photos; both label
    the photos of the fold. That is done ``deals`` times, since the luck of one training is of the
    size of a small gain. What is right of the labels themselves is no matter here: labels can be
    right and tell nothing that the labelled photos do not. Heuristic; what it foretells of other
    students is in docs/beds.md.

    Args:
        features: of each labelled photo ``(C, h, w)``, floating-point, what any encoder says of its
            points; C is that of all, h and w may differ. Each is asked for once.
        labels: their true classes ``(H, W)``, integers, of any size: points are the centres of
            h x w cells.
        unlabelled: features of the unlabelled photos. Of many photos or large ones some points are
            drawn: at most 1024 of a photo, and 262,144 in all, of which a training sees 102,400.
        pseudo_labels: what :func:`conformal_plugin.filter` has made of their scores, or any labels.
        classes: the mIoU's; by default those that five labelled photos hold, or else all.
        groups: of each labelled photo, video or patient say: a group is in one fold.
        folds: at least 2, at most as many as photos or groups.
        deals: how often photos are dealt.
        ignore_index: the label of pixels without a class.
        seed: of the students and of all that is drawn.
        follow: goes through the trainings, to show a progress bar say.

    Raises:
        OptionError: too few photos or groups, folds below 2, deals below 1, classes that nothing is
            labelled with, or sequences of different lengths.
        EmptyCalibrationError: no labelled pixel.
        LabelError: no pseudo-label at all, or labels that are no classes.
        ShapeError: features that are no ``(C, h, w)``, or labels that are no ``(H, W)``.
        InputTypeError: neither arrays nor tensors.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def photo():
        ...     truth = rng.integers(0, 2, (8, 8))
        ...     return truth + rng.normal(0, 0.5, (4, 8, 8)), truth
        >>> features, labels = zip(*(photo() for _ in range(10)))
        >>> more, right = zip(*(photo() for _ in range(20)))
        >>> rehearsal = rehearse(features, labels, more, [1 - one for one in right])
        >>> rehearsal.worth_using, rehearsal.gain < -0.2
        (False, True)
    """
    units = [str(i) for i in range(len(labels))] if groups is None else list(groups)
    _require_as_many(features, labels, "features of labelled photos", "label maps")
    _require_as_many(unlabelled, pseudo_labels, "features of unlabelled photos", "pseudo-labels")
    _require_as_many(units, labels, "groups", "label maps")
    unit_of = _numbered(units)
    drawn = np.random.default_rng(seed)
    folds_of = _dealt(unit_of, folds, deals, drawn)
    labelled = points_of(features, labels, "labelled photo", ignore_index, drawn)
    others = points_of(unlabelled, pseudo_labels, "unlabelled photo", ignore_index, drawn)
    _require_one_width(labelled, others)
    kept = np.concatenate([photo.labels for photo in others]) != ignore_index
    if not kept.any():
        raise LabelError(
            "no point of the unlabelled photos has a pseudo-label, so there is nothing to "
            "rehearse; look at how they were made, `conformal-plugin filter` says what it kept"
        )
    found = _trained(labelled, others, folds_of, ignore_index, seed, follow)
    chosen = _chosen(classes, found[0].sum(axis=2) > 0)

    def means(photos: npt.NDArray[np.bool_]) -> tuple[float, ...]:
        return tuple(_mean(_iou(counts[photos].sum(axis=0))[list(chosen)]) for counts in found)

    without = [means(unit_of != unit) for unit in range(unit_of.max() + 1)]
    miou_alone, miou = means(unit_of >= 0)
    iou_alone, iou = (tuple(_iou(counts.sum(axis=0)).tolist()) for counts in found)
    return Rehearsal(
        miou=miou,
        miou_alone=miou_alone,
        gain=miou - miou_alone,
        gain_se=float(jackknife(np.array([mine - other for other, mine in without]))),
        iou=iou,
        iou_alone=iou_alone,
        classes=chosen,
        kept=float(kept.mean()),
        n_labelled=len(labelled),
        n_unlabelled=len(others),
        n_groups=None if groups is None else len(without),
        folds=folds,
        deals=deals,
        seed=seed,
    )


def _require_as_many(some: Sized, others: Sized, what: str, of: str) -> None:
    if len(some) != len(others):
        raise OptionError(
            f"there are {len(some)} {what} and {len(others)} {of}; pass one of each, in step"
        )


def _numbered(units: Sequence[str]) -> npt.NDArray[np.int64]:
    """Units by number, in the order in which they first occur."""
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    return np.array([numbers[unit] for unit in units], dtype=np.int64)


def _dealt(
    unit_of: npt.NDArray[np.int64], folds: int, deals: int, drawn: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The fold of each photo in each deal, ``(deals, photos)``; folds are as large as one another.

    Raises:
        OptionError: no deal, or no photo for a fold.
    """
    count = int(unit_of.max(initial=-1)) + 1
    if not 2 <= folds <= count:
        raise OptionError(
            f"folds must be at least 2 and at most the number of labelled photos, or of their "
            f"groups, which is {count}; got {folds}"
        )
    if deals < 1:
        raise OptionError(f"deals must be at least 1, got {deals}")
    return np.stack([(drawn.permutation(count) % folds)[unit_of] for _ in range(deals)])


def _require_one_width(*sets: Sequence[PhotoPoints]) -> None:
    widths = {photo.features.shape[1] for photos in sets for photo in photos}
    if len(widths) > 1:
        raise OptionError(
            f"features come from one encoder, so that all have as many channels; got "
            f"{' and '.join(map(str, sorted(widths)))}"
        )


def _trained(
    labelled: Sequence[PhotoPoints],
    others: Sequence[PhotoPoints],
    folds_of: npt.NDArray[np.int64],
    ignore_index: int,
    seed: int,
    follow: Callable[[Sequence[Training]], Iterable[Training]],
) -> tuple[Counts, Counts]:
    """Points of the labelled photos by true class and label, ``(photos, K, K)``: alone, and with.

    Raises:
        EmptyCalibrationError: nothing is labelled, or in no photo outside of a fold.
    """
    directions = Directions.of(torch.cat([photo.features for photo in others]).float())
    seen = [directions.along(photo.features.float()) for photo in labelled]
    more = torch.cat([directions.along(photo.features.float()) for photo in others])
    truth = [torch.from_numpy(photo.labels) for photo in labelled]
    given = torch.cat([torch.from_numpy(photo.labels) for photo in others])
    everything = torch.cat([*truth, given])
    classes = int(everything[everything != ignore_index].max()) + 1
    pseudo = Unlabelled(more, loss_of_labels(given, ignore_index))
    tasks = [
        Training(deal, fold, with_them)
        for deal in range(len(folds_of))
        for fold in range(int(folds_of.max()) + 1)
        for with_them in (False, True)
    ]
    # One after the other: first weights come from a source that threads share.
    seeds = np.random.SeedSequence(seed).generate_state(len(folds_of)).tolist()
    students = {task: new_probe(more.shape[1], classes, seeds[task.deal]) for task in tasks}

    def train(task: Training) -> nn.Module:
        mine = np.flatnonzero(folds_of[task.deal] != task.fold)
        features, right = (torch.cat([part[i] for i in mine]) for part in (seen, truth))
        labelled_there = right != ignore_index
        if not labelled_there.any():
            raise EmptyCalibrationError(
                "no labelled photo outside of one fold has a labelled point, so that a student "
                "has nothing to learn from; label more photos"
            )
        return train_probe(
            students[task],
            features[labelled_there],
            right[labelled_there],
            pseudo if task.with_them else None,
            seed=seeds[task.deal],
        )

    found = tuple(np.zeros((len(labelled), classes, classes), np.int64) for _ in range(2))
    results = in_parallel(train, tasks)
    for task, (_, trained) in zip(follow(tasks), results):
        student = trained()
        for i in np.flatnonzero(folds_of[task.deal] == task.fold):
            found[task.with_them][i] += confusion(student, seen[i], truth[i], classes, ignore_index)
    return found[0], found[1]


def _chosen(classes: Sequence[int] | None, holds: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """The classes of the mIoU, of those that labelled photos hold, ``(photos, K)``."""
    if classes is None:
        often = np.flatnonzero(holds.sum(axis=0) >= MIN_IMAGES)
        return tuple((often if len(often) else np.flatnonzero(holds.any(axis=0))).tolist())
    chosen = tuple(sorted(set(classes)))
    missing = [c for c in chosen if not 0 <= c < holds.shape[1] or not holds[:, c].any()]
    if missing or not chosen:
        raise OptionError(
            f"classes must be some that labelled photos hold, which are "
            f"{np.flatnonzero(holds.any(axis=0)).tolist()}; got {list(classes)}"
        )
    return chosen


def _iou(counts: Counts) -> Values:
    """Intersection over union of each class; NaN for one that is not in the truth."""
    hits, true = np.diagonal(counts), counts.sum(axis=1)
    union = true + counts.sum(axis=0) - hits
    iou: Values = np.where(true > 0, hits / np.maximum(union, 1), np.nan)
    return iou


def _mean(values: Values) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")
