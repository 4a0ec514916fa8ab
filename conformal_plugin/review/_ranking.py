"""The order in which to look at photos: a heuristic, from what their figures have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from conformal_plugin._choices import REVIEW_ORDERS
from conformal_plugin.errors import OptionError
from conformal_plugin.review._figures import PhotoFigures

__all__ = ["RankedPhoto", "ranked"]

_TOGETHER: Final = ("unsure", "lost", "classes")

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RankedPhoto:
    """A photo's place in the order, and why it has it.

    Attributes:
        name: its id.
        place: 1 is to be looked at first.
        score: what it was ranked by, in [0, 1]: the share of the photos that it is ahead of.
        figures: of the photo.
        excess: share of its labels that are too many, were the classes' shares in all these photos
            together those of the labelled ones; None where it has no label.
        most: the class with most labels in excess; None where none has any.
        why: the figure in which it stands out most, of those that it was ranked by.
    """

    name: str
    place: int
    score: float
    figures: PhotoFigures
    excess: float | None
    most: int | None
    why: str


def ranked(
    figures: Mapping[str, PhotoFigures], pixels_per_class: Sequence[int] | _Array, by: str = "all"
) -> list[RankedPhoto]:
    """The photos in the order in which to look at them.

    A photo's rank in a figure is the share of the photos below it, ties counted half. By ``all`` it
    is the mean of its ranks in *unsure* (one minus a pixel's highest score, on average), *lost*
    (the share of pixels without a label) and *classes* (the share of its labels in excess). Labels
    of class c are in excess by a share ``1 - t / s``, where c has the share s of all labels of
    these photos, and t < s of the labelled pixels. *sets* is the mean size of the prediction sets,
    which says little where thresholds leave many sets empty. These are heuristics: what a photo's
    rank says about its wrong labels was measured on real photos, and is promised nowhere.

    Args:
        figures: of each photo, by its id.
        pixels_per_class: labelled pixels that were calibrated on, by true class.
        by: ``all``, ``unsure``, ``lost``, ``classes`` or ``sets``.

    Raises:
        OptionError: another order, or no photo.

    Example:
        >>> sure = PhotoFigures(10, 1.0, 0.1, 0.0, {0: 8, 1: 2})
        >>> unsure = PhotoFigures(10, 1.5, 0.4, 0.3, {0: 2, 1: 5})
        >>> [one.name for one in ranked({"a": sure, "b": unsure}, [8, 2])]
        ['b', 'a']
    """
    if by not in REVIEW_ORDERS:
        raise OptionError(f"photos are ranked by one of {', '.join(REVIEW_ORDERS)}, got {by!r}")
    if not figures:
        raise OptionError("there is no photo to rank; check the list of ids")
    photos = list(figures.values())
    excess, most = _excess(photos, np.asarray(pixels_per_class, dtype=float))
    measured: dict[str, _Array] = {
        "unsure": np.array([photo.unsure for photo in photos]),
        "lost": np.array([photo.lost for photo in photos]),
        "classes": excess,
        "sets": np.array([photo.set_size for photo in photos]),
    }
    ranks = {what: _ranks(values) for what, values in measured.items()}
    parts = _TOGETHER if by == "all" else (by,)
    score = np.mean([ranks[what] for what in parts], axis=0)
    order = np.argsort(-score, kind="stable")
    names = list(figures)
    return [
        RankedPhoto(
            names[i],
            place,
            float(score[i]),
            photos[i],
            None if np.isnan(excess[i]) else float(excess[i]),
            most[i],
            max(parts, key=_rank_of(ranks, i)),
        )
        for place, i in enumerate(order.tolist(), start=1)
    ]


def _ranks(values: _Array) -> _Array:
    """The share of the photos below each; one half where there is no value."""
    from scipy.stats import rankdata  # which takes a second to import

    there = ~np.isnan(values)
    ranks = np.full(len(values), 0.5)
    ranks[there] = (rankdata(values[there]) - 0.5) / max(1, there.sum())
    return ranks


def _rank_of(ranks: Mapping[str, _Array], photo: int) -> Callable[[str], float]:
    return lambda what: float(ranks[what][photo])


def _excess(photos: Sequence[PhotoFigures], true: _Array) -> tuple[_Array, list[int | None]]:
    """Of each photo the share of its labels in excess, and the class that most of them have."""
    classes = max([len(true), *(1 + c for photo in photos for c in photo.labels)])
    labels = np.zeros((len(photos), classes))
    for row, photo in zip(labels, photos):
        for c, count in photo.labels.items():
            row[c] = count
    pool = _shares(labels.sum(axis=0))
    wanted = np.zeros(classes)
    wanted[: len(true)] = _shares(true)
    # Of classes without a label, whose share of excess would be 0 / 0, there is none too many.
    too_many = np.clip(1 - wanted / np.where(pool > 0, pool, np.inf), 0, 1) * (pool > 0)
    shares = _shares(labels)
    parts = shares * too_many
    most = [int(row.argmax()) if row.any() else None for row in parts]
    # A photo without a label has no shares, and is neither ahead nor behind.
    return np.where(labels.any(axis=-1), parts.sum(axis=-1), np.nan), most


def _shares(counts: _Array) -> _Array:
    found: _Array = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return found
