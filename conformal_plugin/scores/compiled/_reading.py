"""The true classes' scores of an image, and counts of its labelled pixels."""

from __future__ import annotations

import numpy as np

from conformal_plugin.scores._grid import ScoreGrid
from conformal_plugin.scores.compiled._machine_code import Array, compiled, flat

__all__ = ["read_true_scores", "tally"]

_BLOCK = 512


def read_true_scores(
    scores: Array, labels: Array, ignore_index: int, grid: ScoreGrid
) -> tuple[Array, Array, Array] | None:
    """Patterns of the true classes' scores, true classes, and pixels by true class.

    Args:
        scores: patterns ``(K, ...)``, K below 255.
        labels: integers ``(...)``.
        ignore_index: label of pixels to leave out.
        grid: of the scores.

    Returns:
        What :class:`conformal_plugin.scores.TrueScores` holds; None where a label is neither
        a class nor ignored, or a score that is not ignored is no score or is -0.0.
    """
    num_classes = len(scores)
    if scores.ndim == 2:  # separate points
        scores = scores[:, None]
    line, strides = flat(scores)
    given = np.ascontiguousarray(labels).reshape(scores.shape[1:])
    if strides[1] == scores.shape[2] * strides[2]:  # rows follow each other
        given = given.reshape(1, -1)
    # Integer maps have no pattern left for "ignored" in their own bytes.
    dtype = np.dtype(np.uint32) if grid.is_integer else line.dtype
    patterns = np.empty(given.size, dtype=dtype)
    classes = np.empty(given.size, dtype=np.uint8)
    pixels = np.zeros(num_classes + 1, dtype=np.int64)
    beyond = dtype.type(grid.beyond)
    known, highest = _read(
        line, *strides, given, num_classes, ignore_index, beyond, patterns, classes, pixels
    )
    if not known or highest > grid.top:
        return None
    return patterns, classes, pixels[:num_classes]


@compiled
def _read(
    line, by_class, by_row, by_pixel, labels, num_classes, ignore, beyond, patterns, classes, pixels
):
    highest = np.int64(0)
    height, width = labels.shape
    place = np.empty(_BLOCK, np.uint64)  # an unsigned index is never counted from the end
    for y in range(height):
        for left in range(0, width, _BLOCK):
            first = y * width + left
            some = min(_BLOCK, width - left)
            true, found = classes[first : first + some], patterns[first : first + some]
            unknown = False
            for x in range(some):
                label = np.int64(labels[y, left + x])
                ignored = label == ignore
                unknown |= (not ignored) & ((label < 0) | (label >= num_classes))
                true[x] = num_classes if ignored else label
                at = y * by_row + (left + x) * by_pixel
                place[x] = at + (0 if ignored else label * by_class)
            if unknown:
                return False, highest
            # A loop that only looks up keeps many looks in flight.
            for x in range(some):
                found[x] = line[place[x]]
            for x in range(some):
                ignored = true[x] == num_classes
                highest = max(highest, 0 if ignored else np.int64(found[x]))
                found[x] = beyond if ignored else found[x]
            for x in range(some):
                pixels[true[x]] += 1
    return True, highest


def tally(
    classes: Array, patterns: Array, below: Array, labels: Array, sizes: Array
) -> tuple[Array, Array, int]:
    """What the labelled pixels of an image come to.

    Args:
        classes: true classes ``(pixels,)``, K where ignored.
        patterns: of the true classes' scores ``(pixels,)``.
        below: int64 ``(K + 1,)``, what a pattern has to exceed to be in the set.
        labels: ``(pixels,)``, K where dropped.
        sizes: of the prediction sets ``(pixels,)``.

    Returns:
        Pixels by true class and label, int64 ``(K, K + 1)``, by size of their set, int64
        ``(K + 1,)``, and those whose true class is in the set.
    """
    num_classes = len(below) - 1
    confusion = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    by_size = np.zeros(num_classes + 1, dtype=np.int64)
    covered: int = _tally(classes, patterns, below, labels, sizes, confusion, by_size)
    return confusion, by_size, covered


@compiled
def _tally(classes, patterns, below, labels, sizes, confusion, by_size):
    num_classes = len(by_size) - 1
    covered = 0
    for i in range(len(classes)):
        true = np.uint64(classes[i])
        if true == num_classes:
            continue
        confusion[true, np.uint64(labels[i])] += 1
        by_size[np.uint64(sizes[i])] += 1
        covered += np.int64(patterns[i]) > below[true]
    return covered
