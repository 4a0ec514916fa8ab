"""Pseudo-labels of maps in CPU memory, in little more time than it takes to read them once.

Scores in [0, 1] order as the unsigned integers with the same bits do. NumPy compares these at the
full width of the processor, whatever the dtype, and since NaN, negative scores and scores above 1
all have patterns above that of 1, the maximum that finds the label also finds what is no score.

Maps are shared out among threads in parts, and a part is read in strips small enough to stay in a
core's cache from the search for the best score to the search for the class that has it. Where Numba
is installed, ``scores/compiled`` does a part in one look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from conformal_plugin.processes import in_parallel
from conformal_plugin.scores import Patterns, ScoreGrid, check_range, extremes, patterns_of
from conformal_plugin.scores.compiled import loops_for

__all__ = ["fill_maps", "label_part", "map_parts", "strips"]

Bounds = Sequence["int | None"]
"""Per class, the smallest pattern in the prediction set; None where no score is."""

_STRIP_BYTES = 2**21
# Channels-last maps are copied strip by strip, which has to stay in the second-level cache.
_COPIED_BYTES = 2**19
# Each call of NumPy's waits for Python's lock: parts are large, so that the calls are few.
_PART_PIXELS = 2**18


def map_parts(work: Callable[..., Any], batch: Patterns, *maps: np.ndarray[Any, Any]) -> list[Any]:
    """What ``work`` gives for each part of ``(N, K, H, W)`` patterns and ``(N, H, W)`` maps.

    Parts are views ``(K, h, W)`` and ``(h, W)`` of one image each, worked on by as many threads as
    torch would use.
    """
    n, _, height, width = batch.shape
    rows = max(1, _PART_PIXELS // max(1, width))
    parts = [
        (batch[i, :, top : top + rows], *(m[i, top : top + rows] for m in maps))
        for i in range(n)
        for top in range(0, height, rows)
    ]
    return [result() for _, result in in_parallel(lambda part: work(*part), parts)]


def fill_maps(work: Callable[..., int], batch: Tensor, grid: ScoreGrid, *maps: Tensor) -> None:
    """Have ``work`` fill maps of ``(N, K, H, W)`` scores part by part, and check these scores.

    Args:
        work: as for :func:`map_parts`; returns the largest pattern of its part.
        batch: scores in CPU memory.
        grid: theirs.
        *maps: ``(N, H, W)`` each.

    Raises:
        ScoreError: NaN, or a value outside [0, 1].
    """
    arrays = [each.numpy() for each in maps]
    if max(map_parts(work, patterns_of(batch), *arrays), default=0) > grid.top:
        check_range(extremes(batch), batch, grid)
        # No bad score: only -0.0 has such a pattern.
        map_parts(work, patterns_of(batch + 0.0), *arrays)


def strips(
    part: Patterns, *maps: np.ndarray[Any, Any]
) -> Iterator[tuple[np.ndarray[Any, Any], ...]]:
    """``(K, h, W)`` patterns and ``(h, W)`` maps strip by strip, each channel's pixels together."""
    classes, height, width = part.shape
    near = part.strides[-1] == part.itemsize
    size = _STRIP_BYTES if near else _COPIED_BYTES
    rows = max(1, size // max(1, classes * width * part.itemsize))
    for top in range(0, height, rows):
        strip = part[:, top : top + rows]
        yield strip if near else np.ascontiguousarray(strip), *(m[top : top + rows] for m in maps)


def label_part(
    scores: Patterns,
    bounds: Bounds,
    out: np.ndarray[Any, Any],
    sizes: np.ndarray[Any, Any] | None = None,
    *,
    rule: str,
    background: int,
    ignore_index: int,
) -> int:
    """Write the labels of a part of ``(K, h, W)`` patterns; returns its largest pattern.

    Where that exceeds the pattern of 1 the labels mean nothing.

    Args:
        scores: the patterns.
        bounds: as above.
        out: the labels ``(h, W)``, of a dtype that holds every class and ``ignore_index``.
        sizes: where they are wanted, the sizes of the prediction sets ``(h, W)``, of a dtype that
            holds K.
        rule, background, ignore_index: as in :func:`conformal_plugin.filter`.
    """
    loops = loops_for("labelling", scores.size)
    if loops is not None:
        highest: int = loops.label_part(
            scores, bounds, out, sizes, rule=rule, background=background, ignore_index=ignore_index
        )
        return highest
    if sizes is not None:
        sizes[...] = 0
        for channel, bound in zip(scores, bounds):
            if bound is not None:
                sizes += channel >= channel.dtype.type(bound)
    return _PICK[rule](scores, bounds, out, background, ignore_index)


def _foreground_first(
    scores: Patterns, bounds: Bounds, out: np.ndarray[Any, Any], background: int, ignore_index: int
) -> int:
    foreground = [c for c in range(len(scores)) if c != background]
    found, highest = _most_probable_of(scores, bounds, foreground, out)
    alone = _inside(scores[background], bounds[background])
    np.greater(alone, found, out=alone)
    # By arithmetic: filling in where a mask says so takes many times longer on scattered pixels.
    out *= found.view(np.uint8)  # flags as bytes, which NumPy need not convert
    if background:
        out += alone.view(np.uint8) * out.dtype.type(background)
    neither = np.equal(found, alone, out=found)
    out += neither.view(np.uint8) * out.dtype.type(ignore_index)
    return max(highest, int(scores[background].max()))


def _most_probable(
    scores: Patterns, bounds: Bounds, out: np.ndarray[Any, Any], background: int, ignore_index: int
) -> int:
    found, highest = _most_probable_of(scores, bounds, list(range(len(scores))), out)
    out *= found.view(np.uint8)
    out += np.logical_not(found, out=found).view(np.uint8) * out.dtype.type(ignore_index)
    return highest


def _most_probable_of(
    scores: Patterns, bounds: Bounds, classes: list[int], out: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], int]:
    """Write the most probable of ``classes`` in the set; whether any is, and the largest pattern.

    The label is the lowest of the classes that have the best score: of numbers that descend with
    the class, the largest of those of the classes that are equal to it.
    """
    wanted: Any = slice(1, None) if classes[0] == 1 else classes
    wanted = slice(None) if len(classes) == len(scores) else wanted
    least = [bounds[c] for c in classes]
    common = len(set(least)) == 1  # one threshold: comparing the winner alone is enough
    top = np.iinfo(out.dtype).max
    numbers = (top - np.asarray(classes, dtype=out.dtype))[:, None, None]
    best = np.empty(out.shape, dtype=scores.dtype if common else _members_dtype(scores, least))
    highest = 0
    flags = np.empty(0, dtype=out.dtype)
    for strip, label, score in strips(scores, out, best):
        candidates = strip[wanted]
        if not common:
            highest = max(highest, int(candidates.max()))
            candidates = _members(candidates, least, score.dtype)
        np.maximum.reduce(candidates, axis=0, out=score)
        if flags.shape != candidates.shape:
            flags = np.empty(candidates.shape, dtype=out.dtype)
            # Where labels are bytes, as nearly always, numbers take the place of the flags.
            winners = flags.view(bool) if out.itemsize == 1 else np.empty(flags.shape, dtype=bool)
        np.equal(candidates, score, out=winners)
        np.multiply(winners.view(np.uint8), numbers, out=flags)
        np.maximum.reduce(flags, axis=0, out=label)
    np.subtract(top, out, out=out)
    if common:
        return _inside(best, least[0]), int(best.max())
    return best > 0, highest


def _members_dtype(scores: Patterns, bounds: Bounds) -> Any:
    if 0 not in bounds:
        return scores.dtype
    # A score of 0 is in a set, so all in a set move up by one; bytes may have no room for that.
    return np.uint64 if scores.itemsize == 8 else np.uint32


def _members(scores: Patterns, bounds: Bounds, dtype: Any) -> Patterns:
    """Numbers of the same order as the patterns, 0 in place of those that are not in the set."""
    least = np.array([0 if bound is None else bound for bound in bounds], dtype=scores.dtype)
    inside = scores >= least[:, None, None]
    inside[[bound is None for bound in bounds]] = False
    members: Patterns = np.multiply(scores, inside, dtype=dtype)
    return np.add(members, inside, out=members) if 0 in bounds else members


def _singleton(
    scores: Patterns, bounds: Bounds, out: np.ndarray[Any, Any], background: int, ignore_index: int
) -> int:
    highest = 0
    for strip, label in strips(scores, out):
        once = np.zeros(label.shape, dtype=bool)
        twice = np.zeros_like(once)
        number = np.empty_like(label)
        label[...] = 0
        for c, channel in enumerate(strip):
            highest = max(highest, int(channel.max()))
            member = _inside(channel, bounds[c])
            flags = member.view(np.uint8)  # 1 where in the set
            np.maximum(label, np.multiply(flags, out.dtype.type(c), out=number), out=label)
            twice |= once & member
            once |= member
        np.copyto(label, ignore_index, where=~once | twice)
    return highest


_PICK: dict[str, Callable[[Patterns, Bounds, np.ndarray[Any, Any], int, int], int]] = {
    "foreground-first": _foreground_first,
    "most-probable": _most_probable,
    "singleton": _singleton,
}


def _inside(channel: Patterns, bound: int | None) -> np.ndarray[Any, Any]:
    if bound is None:
        return np.zeros(channel.shape, dtype=bool)
    inside: np.ndarray[Any, Any] = channel >= channel.dtype.type(bound)
    return inside
