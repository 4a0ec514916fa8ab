"""Classes whose share of the labels is far from their share of the labelled images."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["classes_far_off"]

_FAR, _RARE = 3.0, 5e-3


def classes_far_off(labels: Sequence[float], labelled: Sequence[float]) -> list[int]:
    """Those with more than three times, or less than a third, of the share that they should have.

    A class that is rare in both, below half a percent, is passed over: its share is chance.

    Args:
        labels: share of the kept labels, by class.
        labelled: share of the labelled images' pixels, as many.

    Example:
        >>> classes_far_off([0.9, 0.04, 0.06, 0.0], [0.7, 0.2, 0.097, 0.003])
        [1]
    """
    return [
        c
        for c, (mine, theirs) in enumerate(zip(labels, labelled))
        if max(mine, theirs) >= _RARE and not theirs / _FAR <= mine <= theirs * _FAR
    ]
