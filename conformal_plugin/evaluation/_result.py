"""What was measured on labelled images: coverage, set size, and what the kept labels are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.errors import OptionError

__all__ = ["PER_IMAGE", "Evaluation"]

# Names of the arrays of an Evaluation that hold one number per image.
PER_IMAGE = (
    "image_pixels",
    "image_covered",
    "image_kept",
    "image_wrong",
    "image_kept_foreground",
    "image_wrong_foreground",
    "image_areas",
)


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What an annotator's maps are worth at a threshold, over all pixels that are not ignored.

    Attributes:
        confusion: int64 ``(K, K + 1)``: pixels by true class (row) and label (column); the last
            column counts dropped pixels.
        set_sizes: int64 ``(K + 1,)``: pixels by size of their prediction set, 0 to K.
        image_pixels: int64, each image's measured pixels; images are in the order in which they
            came, which tests that bet on one image after the other rely on: sorted by what was
            measured, an image's place would depend on it. Equality passes over the order.
        image_covered: int64, those whose true class is in the prediction set.
        image_kept: int64, those that got a label.
        image_wrong: int64, those that got a wrong one.
        rule: how labels were picked.
        image_kept_foreground: int64, pixels that got a label other than the background; None where
            that is not known.
        image_wrong_foreground: int64, those of them that got a wrong one; likewise.
        image_areas: int64, each image's height times width; likewise.
        background: the background class.
        image_fingerprints: int64, a number for each image's pixels by true class, another one for
            other counts; None of separate points, and where that is not known.
    """

    confusion: np.ndarray[Any, Any]
    set_sizes: np.ndarray[Any, Any]
    image_pixels: np.ndarray[Any, Any]
    image_covered: np.ndarray[Any, Any]
    image_kept: np.ndarray[Any, Any]
    image_wrong: np.ndarray[Any, Any]
    rule: str
    image_kept_foreground: np.ndarray[Any, Any] | None = None
    image_wrong_foreground: np.ndarray[Any, Any] | None = None
    image_areas: np.ndarray[Any, Any] | None = None
    background: int = 0
    image_fingerprints: np.ndarray[Any, Any] | None = None

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.confusion)

    @property
    def n_pixels(self) -> int:
        """Number of pixels measured."""
        return int(self.confusion.sum())

    @property
    def n_images(self) -> int:
        """Number of images with at least one measured pixel."""
        return len(self.image_pixels)

    @property
    def covered(self) -> int:
        """Number of pixels whose true class is in the prediction set."""
        return int(self.image_covered.sum())

    @property
    def image_coverage(self) -> np.ndarray[Any, Any]:
        """Each image's share of covered pixels, float64, in the order in which they came."""
        coverage: np.ndarray[Any, Any] = self.image_covered / self.image_pixels
        return coverage

    @property
    def coverage(self) -> float:
        """Share of pixels whose true class is in the prediction set."""
        return self.covered / self.n_pixels

    @property
    def set_size(self) -> float:
        """Mean number of classes in a prediction set."""
        return float(self.set_sizes @ np.arange(self.num_classes + 1)) / self.n_pixels

    @property
    def kept_pixels(self) -> int:
        """Number of pixels that got a label."""
        return int(self.confusion[:, :-1].sum())

    @property
    def kept(self) -> float:
        """Share of pixels that got a label."""
        return self.kept_pixels / self.n_pixels

    @property
    def kept_per_class(self) -> np.ndarray[Any, Any]:
        """Of the pixels of each true class, the share that got a label; NaN for absent classes."""
        return _ratio(self.confusion[:, :-1].sum(axis=1), self.confusion.sum(axis=1))

    @property
    def precision(self) -> float:
        """Share of the kept labels that are right; NaN when none is kept."""
        right = int(np.trace(self.confusion))
        return right / self.kept_pixels if self.kept_pixels else math.nan

    @property
    def foreground_precision(self) -> float:
        """Share of the kept labels other than the background that are right; NaN without any."""
        kept = np.delete(self.confusion[:, :-1].sum(axis=0), self.background).sum()
        right = np.delete(np.diagonal(self.confusion), self.background).sum()
        return float(right / kept) if kept else math.nan

    @property
    def precision_per_class(self) -> np.ndarray[Any, Any]:
        """Share of the kept labels of each class that are right; NaN where none is kept."""
        return _ratio(np.diagonal(self.confusion), self.confusion[:, :-1].sum(axis=0))

    def iou_per_class(self, *, dropped: str = "miss") -> np.ndarray[Any, Any]:
        """Intersection over union of each class, ``(K,)``; NaN where the union is empty.

        Args:
            dropped: ``"miss"`` counts a dropped pixel as a missed pixel of its true class,
                ``"ignore"`` looks at kept pixels alone.

        Raises:
            OptionError: ``dropped`` is neither.
        """
        if dropped not in ("miss", "ignore"):
            raise OptionError(f"dropped must be 'miss' or 'ignore', got {dropped!r}")
        kept = self.confusion[:, :-1]
        rows = self.confusion if dropped == "miss" else kept
        right = np.diagonal(kept)
        return _ratio(right, rows.sum(axis=1) + kept.sum(axis=0) - right)

    def miou(self, classes: Sequence[int] | None = None, *, dropped: str = "miss") -> float:
        """Mean intersection over union.

        Args:
            classes: classes to average over; None for all that occur among the true labels.
            dropped: see :meth:`iou_per_class`.

        Raises:
            OptionError: no class, or one that does not exist.
        """
        if classes is None:
            classes = np.flatnonzero(self.confusion.sum(axis=1)).tolist()
        wrong = [c for c in classes if not 0 <= c < self.num_classes]
        if wrong or not len(classes):
            raise OptionError(
                f"classes must be indices in 0 ... {self.num_classes - 1}, got {list(classes)}"
            )
        per_class = self.iou_per_class(dropped=dropped)[list(classes)]
        present = per_class[~np.isnan(per_class)]
        return float(present.mean()) if len(present) else math.nan

    def to_dict(self) -> dict[str, Any]:
        """All measurements as plain numbers and lists, ready for JSON except for NaN."""
        return {
            "n_pixels": self.n_pixels,
            "n_images": self.n_images,
            "rule": self.rule,
            "coverage": self.coverage,
            "image_coverage": self.image_coverage.tolist(),
            **{name: getattr(self, name).tolist() for name in self._counted()},
            "set_size": self.set_size,
            "set_sizes": self.set_sizes.tolist(),
            "kept": self.kept,
            "kept_per_class": self.kept_per_class.tolist(),
            "precision": self.precision,
            "foreground_precision": self.foreground_precision,
            "precision_per_class": self.precision_per_class.tolist(),
            "miou": self.miou(),
            "miou_kept": self.miou(dropped="ignore"),
            "confusion": self.confusion.tolist(),
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Evaluation):
            return NotImplemented
        return (
            self.rule == other.rule
            and np.array_equal(self.confusion, other.confusion)
            and np.array_equal(self.set_sizes, other.set_sizes)
            and np.array_equal(self._sorted_images(), other._sorted_images())
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def _sorted_images(self) -> np.ndarray[Any, Any]:
        """What was counted in each image, a row each, whatever the order they came in."""
        counts = np.stack([getattr(self, name) for name in self._counted()], axis=1)
        return np.asarray(counts[np.lexsort(counts.T)])

    def _counted(self) -> list[str]:
        """Names of the arrays with a number per image that are there."""
        return [name for name in PER_IMAGE if getattr(self, name) is not None]

    def __repr__(self) -> str:
        return (
            f"Evaluation(coverage={self.coverage:.4f}, "
            f"image_coverage={self.image_coverage.mean():.4f} on average, "
            f"set_size={self.set_size:.3f}, kept={self.kept:.4f}, precision={self.precision:.4f}, "
            f"miou={self.miou():.4f}, miou_kept={self.miou(dropped='ignore'):.4f}, "
            f"rule={self.rule!r}, n_pixels={self.n_pixels}, n_images={self.n_images})"
        )


def _ratio(part: np.ndarray[Any, Any], whole: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``part / whole``, NaN where ``whole`` is 0."""
    ratio = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
