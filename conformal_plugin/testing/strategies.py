"""Hypothesis strategies for what annotators and label files hold, awkward cases included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.errors import MissingExtraError
from conformal_plugin.testing._simulation import correlated_scores, maps_from_scores

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as npst
except ImportError as error:
    raise MissingExtraError(
        f"conformal_plugin.testing.strategies needs the package hypothesis, which is not installed "
        f'({error}); install it with: pip install "conformal-plugin[test]"'
    ) from error

__all__ = [
    "CorrelatedImages",
    "LabelledImages",
    "correlated_images",
    "label_maps",
    "labelled_images",
    "probability_maps",
]

DTYPES = (np.float16, np.float32, np.float64, np.uint8)


@dataclass(frozen=True)
class LabelledImages:
    """Images of several sizes with their labels, as :func:`conformal_plugin.calibrate` takes them.

    Attributes:
        scores: one array ``(K, H_i, W_i)`` per image, of one dtype.
        labels: one array ``(H_i, W_i)`` per image, int64; at least one pixel is not ignored.
        num_classes: K.
        ignore_index: label of ignored pixels.
    """

    scores: list[np.ndarray[Any, Any]]
    labels: list[np.ndarray[Any, Any]]
    num_classes: int
    ignore_index: int


@dataclass(frozen=True)
class CorrelatedImages:
    """Images whose pixels are correlated and whose true coverage is known.

    Attributes:
        scores: float64 ``(N, K, H, W)``, class scores.
        labels: int64 ``(N, H, W)``, true classes.
        nonconformity: float64 ``(N, H, W)``, ``1 - P(true class)``, uniform on [0, 1].
        correlation: r, between the pixels of an image.
    """

    scores: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    nonconformity: np.ndarray[Any, Any]
    correlation: float

    def true_coverage(self, qhat: float) -> float:
        """The probability that a new pixel's true class is in its prediction set at ``qhat``."""
        return min(max(float(qhat), 0.0), 1.0)


def probability_maps(
    shape: tuple[int, int, int],
    *,
    dtype: Any = np.float32,
    ties: bool | None = None,
) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Class-score maps ``(K, H, W)`` in [0, 1], which need not sum to 1, as annotators give them.

    Args:
        shape: ``(K, H, W)``.
        dtype: a float dtype, or uint8 with 255 for 1.
        ties: True for few distinct values, so that many scores are equal; False for any values;
            None for either.

    Example:
        >>> maps = probability_maps((2, 3, 4))
    """
    kind = np.dtype(dtype)
    if kind == np.uint8:
        few: st.SearchStrategy[Any] = st.sampled_from([0, 51, 128, 204, 255])
        many: st.SearchStrategy[Any] = st.integers(0, 255)
    else:
        few = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
        many = st.floats(0.0, 1.0, width=8 * kind.itemsize)
    tied, free = npst.arrays(kind, shape, elements=few), npst.arrays(kind, shape, elements=many)
    if ties is None:
        return st.one_of(tied, free)
    return tied if ties else free


@st.composite
def label_maps(
    draw: st.DrawFn,
    shape: tuple[int, int],
    num_classes: int,
    *,
    ignore_index: int = 255,
) -> np.ndarray[Any, Any]:
    """Label maps ``(H, W)``: int64, of few or many classes, with ignored pixels or all ignored.

    Args:
        shape: ``(H, W)``.
        num_classes: K.
        ignore_index: label of ignored pixels.
    """
    if draw(st.integers(0, 7)) == 7:
        return np.full(shape, ignore_index, dtype=np.int64)
    classes = draw(st.sets(st.integers(0, num_classes - 1), min_size=1))
    values = sorted(classes) + ([ignore_index] if draw(st.booleans()) else [])
    labels = draw(npst.arrays(np.int64, shape, elements=st.sampled_from(values)))
    if draw(st.booleans()):
        # A rare class: a single pixel of it.
        row, column = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
        labels[row, column] = draw(st.integers(0, num_classes - 1))
    return labels


@st.composite
def labelled_images(
    draw: st.DrawFn,
    *,
    max_images: int = 4,
    max_side: int = 6,
    max_classes: int = 5,
    ignore_index: int = 255,
) -> LabelledImages:
    """Images of several sizes with ties, ignored pixels or images, rare and absent classes.

    Args:
        max_images: most images.
        max_side: largest height and width.
        max_classes: most classes, at least 2.
        ignore_index: label of ignored pixels.
    """
    num_classes = draw(st.integers(2, max_classes))
    dtype = draw(st.sampled_from(DTYPES))
    side = st.integers(1, max_side)
    sizes = draw(st.lists(st.tuples(side, side), min_size=1, max_size=max_images))
    scores = [draw(probability_maps((num_classes, *size), dtype=dtype)) for size in sizes]
    labels = [draw(label_maps(size, num_classes, ignore_index=ignore_index)) for size in sizes]
    if all((label == ignore_index).all() for label in labels):
        labels[0][0, 0] = draw(st.integers(0, num_classes - 1))
    return LabelledImages(scores, labels, num_classes, ignore_index)


@st.composite
def correlated_images(
    draw: st.DrawFn,
    n_images: int,
    shape: tuple[int, int],
    *,
    num_classes: int = 2,
    correlation: float = 0.3,
) -> CorrelatedImages:
    """Images with correlated pixels and known true coverage; see :func:`correlated_scores`.

    Hypothesis draws the seed alone: the values must keep their law for the coverage to be known.

    Args:
        n_images: N.
        shape: ``(H, W)``.
        num_classes: K, at least 2.
        correlation: r in [0, 1].
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width = shape
    flat = correlated_scores(n_images, height * width, correlation=correlation, seed=rng)
    nonconformity = flat.reshape(n_images, height, width)
    labels = rng.integers(0, num_classes, (n_images, height, width))
    return CorrelatedImages(
        scores=maps_from_scores(nonconformity, labels, num_classes),
        labels=labels,
        nonconformity=nonconformity,
        correlation=correlation,
    )
