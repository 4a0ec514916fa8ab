"""Ways in which an annotator can be worse: over-confident, of objects too, without background.

And a remedy: background formed as the rest where there is none. Each takes class probabilities
``(K, H, W)`` with background first and the photo's id, and returns float32 scores of that shape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from conformal_plugin.annotators import with_background

__all__ = [
    "DEGRADED",
    "complement",
    "is_swapped",
    "no_background",
    "over_called",
    "over_object",
    "sharpened",
    "swapped",
]

Scores = npt.NDArray[np.floating]

POWER = 4
ODDS = 10
SWAPPED_SHARE = 0.3
# Neighbours among the classes of voc-animals that are not rare: cat and cow, dog and horse, person
# and sheep.
PAIRS = ((8, 10), (12, 13), (15, 17))


def sharpened(probs: Scores, name: str) -> npt.NDArray[np.float32]:
    """Over-confidence: ``p_c^4 / sum_k p_k^4``, the argmax unchanged; all zeros stay zeros."""
    powers = np.asarray(probs, np.float32) ** POWER
    total = powers.sum(axis=0, keepdims=True)
    return powers / np.where(total > 0, total, np.float32(1))


def over_object(probs: Scores, name: str) -> npt.NDArray[np.float32]:
    """Over-confidence of the object: background's odds cut to a tenth, normalised."""
    scores = np.array(probs, np.float32)
    scores[0] /= ODDS
    return scores / np.maximum(scores.sum(axis=0, keepdims=True), np.float32(1e-12))


def over_called(probs: Scores, name: str) -> npt.NDArray[np.float32]:
    """Over-confidence of one class where none is a background: the odds of class 1 times ten."""
    scores = np.array(probs, np.float32)
    scores[1] *= ODDS
    return scores / np.maximum(scores.sum(axis=0, keepdims=True), np.float32(1e-12))


def no_background(probs: Scores, name: str) -> npt.NDArray[np.float32]:
    """No evidence for background: ``o_c = p_c / max(p_c + p_0, 1e-6)``, and channel 0 all zero."""
    p = np.asarray(probs, np.float32)
    scores = np.zeros_like(p)
    scores[1:] = p[1:] / np.maximum(p[1:] + p[:1], np.float32(1e-6))
    return scores


def complement(probs: Scores, name: str) -> npt.NDArray[np.float32]:
    """The scores of :func:`no_background`, and background formed by the library as the rest."""
    foreground = torch.from_numpy(no_background(probs, name)[1:])
    return with_background(foreground, "complement").numpy()


def swapped(probs: Scores, name: str) -> npt.NDArray[np.float32]:
    """Each class of ``PAIRS`` has its neighbour's scores in 30 % of the photos."""
    scores = np.array(probs, np.float32)
    if is_swapped(name):
        for one, other in PAIRS:
            scores[[one, other]] = scores[[other, one]]
    return scores


def is_swapped(name: str) -> bool:
    """Whether a photo is one of the 30 %: by a hash of its id, labelled or not, alike."""
    first = hashlib.sha256(name.encode()).digest()[:4]
    return int.from_bytes(first, "big") < SWAPPED_SHARE * 2**32


DEGRADED: dict[str, Callable[[Scores, str], Scores]] = {
    "sharpened": sharpened,
    "no-background": no_background,
    "complement": complement,
    "swapped": swapped,
    "over-object": over_object,
}
