"""Maps as annotators make them, generated."""

from __future__ import annotations

import numpy as np
import pytest


def made_map(rng, classes=6, height=19, width=23, dtype=np.float16):
    """Blobs of a few classes on background, with soft edges; most planes are zero."""
    y, x = np.mgrid[0:height, 0:width]
    scores = np.zeros((classes, height, width))
    for c in rng.choice(np.arange(1, classes), 2, replace=False):
        far = np.hypot(y - rng.uniform(0, height), x - rng.uniform(0, width))
        scores[c] = 1 / (1 + np.exp(far - rng.uniform(3, 8)))
    scores[scores < 1 / 256] = 0
    scores /= np.maximum(scores.sum(axis=0), 1)
    scores[0] = 1 - scores.sum(axis=0)
    return scores.clip(0, 1).astype(dtype)


@pytest.fixture
def maps():
    """Eight maps ``(6, H, W)`` of different sizes."""
    rng = np.random.default_rng(5)
    return [made_map(rng, height=int(h), width=int(w)) for h, w in rng.integers(1, 40, (8, 2))]
