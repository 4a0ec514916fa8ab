"""The two forms of annotator scores: normalised, and SEEM-like with an over-confident background.

SEEM scores every foreground class on its own and has no background channel, so the background is
what is left over. Formed as ``1 - 0.2 max_c o_c`` it is never below 0.8 and beats most objects: raw
labels lose them, while the set ``{background, object}`` still holds them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["FORMS", "seem_like", "with_background"]

FORMS = ("normalised", "seem-like")

Scores = npt.NDArray[np.float32]


def with_background(foreground: npt.NDArray[np.floating]) -> Scores:
    """Put an over-confident background before independent foreground scores.

    ``foreground``: (K-1, H, W) or (N, K-1, H, W) in [0, 1]; returns float32 with K classes.
    """
    objects = np.asarray(foreground, np.float32)
    background = np.float32(1) - np.float32(0.2) * objects.max(axis=-3, keepdims=True)
    return np.concatenate([background, objects], axis=-3)


def seem_like(probs: npt.NDArray[np.floating]) -> Scores:
    """Turn class probabilities ``(K, H, W)`` with background first into SEEM-like scores.

    Foreground class c competes with the background alone: ``o_c = p_c / max(p_c + p_0, 1e-6)``.
    """
    p = np.asarray(probs, np.float32)
    return with_background(p[1:] / np.maximum(p[1:] + p[:1], np.float32(1e-6)))
