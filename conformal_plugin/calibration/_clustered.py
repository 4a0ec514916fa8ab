"""Classes whose scores are distributed alike share a threshold: for many classes with few images.

Clustered conformal prediction (Ding et al., arXiv 2306.09335) in two steps on two sets of images:
:func:`cluster_classes` groups the classes, :func:`calibrate_clustered` finds a threshold per group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from conformal_plugin.calibration._class_conditional import ClassConditionalCalibrator
from conformal_plugin.calibration._counting import ScoreCounter
from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.calibration._in_one_call import calibrate_with
from conformal_plugin.calibration._quantile import images_needed
from conformal_plugin.calibration._result import Calibration
from conformal_plugin.calibration._units import ImageShare
from conformal_plugin.calibration._wording import class_list, coverage_share, of_new_images
from conformal_plugin.errors import OptionError, ShapeError

__all__ = ["ClassClusters", "ClusteredCalibrator", "calibrate_clustered", "cluster_classes"]

_LEVELS = (0.5, 0.4, 0.3, 0.2, 0.1)  # miscoverage levels: the quantiles .5 to .9
_STARTS = 10
_ROUNDS = 100


@dataclass(frozen=True)
class ClassClusters:
    """Which classes share a threshold.

    Attributes:
        of_class: for each class the number of its cluster, 0 upwards; -1 for classes in none, which
            share the threshold of all classes.
        ids: ids of the images that the clusters were found on; empty where none were given.
    """

    of_class: tuple[int, ...]
    ids: frozenset[str] = frozenset()


def cluster_classes(
    scores: Any,
    labels: Any,
    n_clusters: int,
    *,
    alpha: float = 0.05,
    min_images: int = 5,
    seed: int = 0,
    ignore_index: int = 255,
    ids: Iterable[Any] | None = None,
) -> ClassClusters:
    """Group classes by the quantiles of their scores.

    A class is embedded as its nonconformity scores' quantiles at .5, .6, .7, .8, .9 and
    ``1 - alpha``; K-means with weights ``sqrt(number of images)`` groups the embeddings (arXiv
    2306.09335, section 2.3, with images where the paper counts points).

    Args:
        scores, labels, ignore_index, ids: as in :func:`conformal_plugin.calibrate`; images that
            :func:`calibrate_clustered` will not see.
        n_clusters: number of clusters, at most the number of classes with enough images.
        alpha: the level that :func:`calibrate_clustered` will be asked for.
        min_images: classes held by fewer images than this are in no cluster; nor are those with
            fewer than ``1 / alpha - 1`` pixels, whose highest quantile is infinite.
        seed: of the K-means starts.

    Raises:
        OptionError: ``n_clusters`` below 1 or above the number of classes with enough images.
        AlphaError, EmptyCalibrationError: as :func:`conformal_plugin.calibrate`.
        InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: bad input.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 3, (8, 9, 9))
        >>> scores = rng.random((8, 3, 9, 9)) * np.array([0.2, 0.2, 1.0]).reshape(3, 1, 1)
        >>> cluster_classes(scores, labels, 2).of_class
        (0, 0, 1)
    """
    counter = ClassConditionalCalibrator(min_images=min_images, ignore_index=ignore_index)
    names = None if ids is None or isinstance(ids, (str, bytes)) else [str(name) for name in ids]
    counter.update(scores, labels, ids if names is None else names)
    results = [counter.result(level) for level in (*_LEVELS, alpha)]
    embeddings = np.stack([result.qhat for result in results], axis=1)
    images = results[0].images_per_class
    # Pooled are those with too few images, or too few pixels for the highest quantile.
    enough = np.setdiff1d(np.arange(len(images)), [c for r in results for c in r.pooled_classes])
    integer = isinstance(n_clusters, (int, np.integer)) and not isinstance(n_clusters, bool)
    if not integer or not 1 <= n_clusters <= len(enough):
        raise OptionError(
            f"n_clusters must be an integer from 1 to the number of classes with at "
            f"least {min_images} images, {len(enough)} here, got {n_clusters!r}; cluster on more "
            f"images or lower min_images"
        )
    of_class = np.full(len(images), -1)
    of_class[enough] = _weighted_kmeans(
        embeddings[enough], np.sqrt(images[enough]), int(n_clusters), seed
    )
    return ClassClusters(tuple(of_class.tolist()), frozenset(names or ()))


def calibrate_clustered(
    scores: Any,
    labels: Any,
    alpha: float = 0.05,
    *,
    clusters: ClassClusters | Sequence[int],
    ignore_index: int = 255,
    ids: Iterable[Any] | None = None,
    groups: Any = None,
) -> Calibration:
    """One q-hat per cluster of classes, from the images that hold one of them; exact.

    Within a cluster this is :func:`conformal_plugin.calibration.calibrate_image_level`
    on the pixels whose true class is in the cluster. The promise is the cluster's, and each class's
    own as far as the classes of a cluster are alike.

    Args:
        scores, labels, alpha, ignore_index, ids, groups: as in :func:`conformal_plugin.calibrate`;
            other images, of other groups, than those the clusters were found on.
        clusters: what :func:`cluster_classes` returned, or the cluster of each class (-1: none)
            from prior knowledge.

    Returns:
        The calibration, ``qhat`` of shape ``(K,)``. Classes in no cluster, and those of clusters
        that fewer than ``1 / alpha - 1`` images hold, are in ``pooled_classes``: they share the
        image-level threshold of all classes.

    Raises:
        OptionError: an image that the clusters were found on, or clusters that are none.
        ShapeError: clusters of another number of classes.
        AlphaError, EmptyCalibrationError: as :func:`conformal_plugin.calibrate`.
        InputTypeError, DeviceMismatchError, ScoreError, LabelError: bad input.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> scores, labels = rng.random((30, 3, 8, 8)), rng.integers(0, 3, (30, 8, 8))
        >>> calibration = calibrate_clustered(scores, labels, 0.1, clusters=[0, 1, 0])
        >>> bool(calibration.qhat[0] == calibration.qhat[2])
        True
    """
    found = clusters if isinstance(clusters, ClassClusters) else ClassClusters(tuple(clusters))
    calibrator = ClusteredCalibrator(found.of_class, ignore_index=ignore_index)
    if ids is not None and not isinstance(ids, (str, bytes)):
        ids = [str(name) for name in ids]
        both = found.ids.intersection(ids)
        if both:
            raise OptionError(
                f"{len(both)} images, {min(both)!r} among them, were used to find the clusters: "
                f"calibrate on other images, or the promise is lost"
            )
    return calibrate_with(calibrator, scores, labels, alpha, ids, groups)


class ClusteredCalibrator(ScoreCounter):
    """:func:`calibrate_clustered` for images that stream by, in constant memory.

    Args:
        of_class: the cluster of each class, -1 for none.
        ignore_index: label of pixels to leave out.

    Raises:
        OptionError: clusters that are none.

    Example:
        >>> import numpy as np
        >>> rng, calibrator = np.random.default_rng(0), ClusteredCalibrator([0, 0, -1])
        >>> for _ in range(9):
        ...     calibrator.update(rng.random((3, 4, 4)), rng.integers(0, 3, (4, 4)))
        >>> calibrator.result(0.1).pooled_classes
        (2,)
    """

    _options: ClassVar[tuple[str, ...]] = ("of_class", "ignore_index")

    def __init__(self, of_class: Sequence[int], *, ignore_index: int = 255) -> None:
        groups = np.asarray(of_class)
        integers = groups.ndim == 1 and groups.dtype.kind in "iu"
        if not integers or not ((groups >= -1) & (groups < len(groups))).all():
            raise OptionError(
                f"clusters must be one integer per class, from -1 (in none) to the number of "
                f"classes - 1, got {of_class!r}"
            )
        super().__init__(ImageShare(), ignore_index=ignore_index)
        self.of_class = tuple(groups.tolist())

    def _group_of_class(self, num_classes: int) -> np.ndarray[Any, Any]:
        if num_classes != len(self.of_class):
            raise ShapeError(
                f"the clusters are of {len(self.of_class)} classes and the scores have "
                f"{num_classes}; cluster and calibrate with maps of one annotator"
            )
        return np.array(self.of_class)

    def _calibration(
        self, alpha: float, qhats: np.ndarray[Any, Any], resolution: float
    ) -> Calibration:
        groups = np.array(self.of_class)
        # The row of all classes is the last, where -1 points too.
        alone = (groups >= 0) & np.isfinite(qhats[groups])
        pooled = tuple(np.flatnonzero(~alone).tolist())
        statement = (
            f"On average over calibration sets and "
            f"{of_new_images(self._unit_name, ' that hold a class of a cluster')}, at least "
            f"{coverage_share(alpha)} of the image's pixels of these classes have them in their "
            f"prediction set."
        )
        if pooled:
            statement += (
                f" {class_list(pooled)}, in no cluster that at least {images_needed(alpha)} "
                f"{self._unit_name}s hold, share the threshold of all classes together, which "
                f"promises nothing about one class."
            )
        qhat = np.where(alone, qhats[groups], qhats[-1])
        guarantee = Guarantee("clustered", self._unit_name, bool(alone.any()), statement)
        return self._result(alpha, qhat, guarantee, resolution, pooled_classes=pooled)


def _weighted_kmeans(
    points: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], k: int, seed: int
) -> np.ndarray[Any, Any]:
    """The best of several runs of Lloyd's algorithm from k-means++ starts.

    Clusters are numbered by their first point; one that loses all its points is dropped.
    """
    rng = np.random.default_rng(seed)
    best, least = np.zeros(len(points), dtype=np.int64), np.inf
    for _ in range(_STARTS):
        centres = _spread_out(points, weights, k, rng)
        for _ in range(_ROUNDS):
            nearest = _squared_distances(points, centres).argmin(axis=1)
            moved = centres.copy()
            for j in np.unique(nearest):
                members = nearest == j
                moved[j] = np.average(points[members], axis=0, weights=weights[members])
            if np.array_equal(moved, centres):
                break
            centres = moved
        distances = _squared_distances(points, centres)
        cost = float(weights @ distances.min(axis=1))
        if cost < least:
            best, least = distances.argmin(axis=1), cost
    _, first, inverse = np.unique(best, return_index=True, return_inverse=True)
    numbers: np.ndarray[Any, Any] = np.argsort(np.argsort(first))[inverse]
    return numbers


def _spread_out(
    points: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], k: int, rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    """k-means++ starts: each point drawn in proportion to its distance from those before."""
    chance = weights.copy()
    centres: list[np.ndarray[Any, Any]] = []
    while len(centres) < k:
        # Where all points coincide with centres any one does.
        total = chance.sum()
        centres.append(points[rng.choice(len(points), p=chance / total if total else None)])
        chance = weights * _squared_distances(points, np.array(centres)).min(axis=1)
    return np.array(centres)


def _squared_distances(
    points: np.ndarray[Any, Any], centres: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """``(points, centres)``."""
    differences = points[:, None] - centres[None]
    squares: np.ndarray[Any, Any] = (differences * differences).sum(axis=2)
    return squares
