"""Labels and sizes of prediction sets in one reading of the maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conformal_plugin.scores.compiled._machine_code import Array, compiled, flat

__all__ = ["label_part"]

# Pixels at a time: their best scores so far and their labels stay in the first-level cache.
_BLOCK = 2048
# Where neighbours in memory are classes, all classes' scores of the block have to stay there.
_COPIED_BLOCK = 512


def label_part(
    scores: Array,
    bounds: Sequence[int | None],
    out: Array,
    sizes: Array | None,
    *,
    rule: str,
    background: int,
    ignore_index: int,
) -> int:
    """As :func:`conformal_plugin.labelling.label_part`."""
    foreground_first = rule == "foreground-first"
    # From the last class to the first, so that of equals the lowest has the last word.
    order = [c for c in reversed(range(len(scores))) if not (foreground_first and c == background)]
    number = out.dtype.type
    line, (by_class, by_row, by_pixel) = flat(scores)
    _, height, width = scores.shape
    if by_row == width * by_pixel:  # rows follow each other
        height, width = 1, height * width
    highest: int = _label(
        line,
        (by_class, by_row, by_pixel),
        (height, width),
        min(width, _BLOCK if by_pixel == 1 else _COPIED_BLOCK),
        rule == "singleton",
        np.array(order, dtype=np.int64),
        np.array(order, dtype=out.dtype),
        np.array([0 if bound is None else bound for bound in bounds], dtype=scores.dtype),
        np.array([bound is not None for bound in bounds]),
        background if foreground_first else -1,
        number(background),
        number(ignore_index),
        out.reshape(-1),
        np.empty(0, dtype=out.dtype) if sizes is None else sizes.reshape(-1),
    )
    return int(highest)


@compiled
def _label(
    line, strides, shape, block, singleton,
    order, names, least, known, background, background_name, ignore, out, sizes,
):  # fmt: skip
    """Label block by block; returns the largest score.

    Args:
        line: the scores.
        strides: of class, row and pixel.
        shape: height and width.
        block: pixels at a time.
        singleton: whether that is the rule.
        order: the classes to choose from, of which the last wins among equals.
        names: their labels.
        least: per class, the smallest score in the set.
        known: per class, whether there is one.
        background: the class for pixels that get no other, -1 for none.
        background_name: its label.
        ignore: the label of dropped pixels.
        out: the labels.
        sizes: of the prediction sets; empty where they are not wanted.
    """
    by_class, by_row, by_pixel = strides
    height, width = shape
    best = np.empty(block, line.dtype)
    copy = np.empty(block, line.dtype)
    highest = np.zeros(block, line.dtype)
    members = np.empty(block, out.dtype)
    for y in range(height):
        for left in range(0, width, block):
            pixels = min(block, width - left)
            first = y * width + left
            start = y * by_row + left * by_pixel
            label, top, score = out[first : first + pixels], highest[:pixels], best[:pixels]
            count = sizes[first : first + pixels] if len(sizes) else members[:pixels]
            if len(sizes) or singleton:
                count[:] = 0
                for c in range(len(least)):
                    if known[c]:
                        values = _scores_of(line, start + c * by_class, by_pixel, pixels, copy)
                        _count(values, least[c], count)
            label[:] = ignore
            score[:] = 0
            for i in range(len(order)):
                c = order[i]
                values = _scores_of(line, start + c * by_class, by_pixel, pixels, copy)
                if known[c]:
                    _prefer(values, least[c], names[i], score, label)
                else:
                    _raise_to(top, values)
            _raise_to(top, score)
            if singleton:
                for x in range(pixels):
                    label[x] = label[x] if count[x] == 1 else ignore
            if background >= 0:
                c = background
                values = _scores_of(line, start + c * by_class, by_pixel, pixels, copy)
                _raise_to(top, values)
                if known[c]:
                    _fill(values, least[c], background_name, ignore, label)
    return highest.max()


@compiled
def _scores_of(line, start, by_pixel, pixels, copy):
    """The scores of one class for a block of pixels, next to each other."""
    if by_pixel == 1:
        return line[start : start + pixels]
    for x in range(pixels):
        copy[x] = line[start + x * by_pixel]
    return copy[:pixels]


@compiled
def _count(values, bound, count):
    for x in range(len(values)):
        count[x] += values[x] >= bound


@compiled
def _prefer(values, bound, name, score, label):
    """Give a class to the pixels where it is in the set and no score has been higher."""
    for x in range(len(values)):
        wins = (values[x] >= score[x]) & (values[x] >= bound)
        score[x] = values[x] if wins else score[x]
        label[x] = name if wins else label[x]


@compiled
def _fill(values, bound, name, ignore, label):
    """Give a class to the pixels that have none and where it is in the set."""
    for x in range(len(values)):
        fills = (label[x] == ignore) & (values[x] >= bound)
        label[x] = name if fills else label[x]


@compiled
def _raise_to(top, values):
    for x in range(len(values)):
        top[x] = max(top[x], values[x])
