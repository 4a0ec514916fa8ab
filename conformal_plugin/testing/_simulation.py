"""Correlated scores whose true coverage is known, to test what images do to a guarantee."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from conformal_plugin.errors import OptionError, ShapeError
from conformal_plugin.testing._laws import checked_count

__all__ = ["correlated_scores", "maps_from_scores"]


def correlated_scores(
    n_images: int, n_pixels: int, *, correlation: float = 0.3, seed: Any = 0
) -> np.ndarray[Any, Any]:
    """Nonconformity scores of images whose pixels are correlated and whose coverage is known.

    ``s = Phi(sqrt(r) a_image + sqrt(1 - r) e_pixel)`` with independent standard normal a and e is
    uniform on [0, 1] at each pixel, so a threshold q in [0, 1] has the true coverage q, however
    strong the correlation r within images.

    Args:
        n_images: number of images.
        n_pixels: pixels of each image.
        correlation: r in [0, 1]; 0 gives independent pixels.
        seed: a seed, or a :class:`numpy.random.Generator` to draw from.

    Returns:
        float64 ``(n_images, n_pixels)``.

    Raises:
        OptionError: a correlation outside [0, 1] or a count that is not positive.

    Example:
        >>> scores = correlated_scores(2000, 50, seed=1)
        >>> round(float((scores <= 0.9).mean()), 1)
        0.9
    """
    images, pixels = checked_count("n_images", n_images), checked_count("n_pixels", n_pixels)
    if not 0 <= correlation <= 1:
        raise OptionError(f"correlation must lie in [0, 1], got {correlation!r}")
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((images, 1))
    own = rng.standard_normal((images, pixels))
    mixed = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    return np.asarray(scipy.special.ndtr(mixed))


def maps_from_scores(scores: Any, labels: Any, num_classes: int) -> np.ndarray[Any, Any]:
    """Class-score maps in which each pixel's true class has a given nonconformity score.

    The true class gets ``1 - score`` and the others share ``score`` equally.

    Args:
        scores: nonconformity scores in [0, 1], of any shape ``(..., H, W)``.
        labels: integer true classes of the same shape; pixels with a label that is no class (an
            ignore index) give all classes the same score.
        num_classes: K, at least 2.

    Returns:
        float64 ``(..., K, H, W)``.

    Raises:
        ShapeError: the shapes differ or have fewer than two dimensions.
        OptionError: fewer than two classes.

    Example:
        >>> maps_from_scores([[0.25]], [[1]], 2).ravel().tolist()
        [0.25, 0.75]
    """
    score, label = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if score.shape != label.shape or score.ndim < 2:
        raise ShapeError(
            f"scores and labels must have the same shape (..., H, W), got {score.shape} and "
            f"{label.shape}"
        )
    if checked_count("num_classes", num_classes) < 2:
        raise OptionError("num_classes must be at least 2, got 1")
    classes = np.arange(num_classes)[:, None, None]
    true = label[..., None, :, :] == classes
    shared = score[..., None, :, :] / (num_classes - 1)
    maps = np.where(true, 1 - score[..., None, :, :], shared)
    known = true.any(axis=-3, keepdims=True)
    return np.where(known, maps, 1 / num_classes)
