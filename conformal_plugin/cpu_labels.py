"""Pseudo-labels of maps in CPU memory, in little more time than it takes to read them once.

Scores in [0, 1] order as the unsigned integers with the same bits do. NumPy compares these at the
full width of the processor, whatever the dtype, and since NaN, negative scores and scores above 1
all have patterns above that of 1, the maximum that finds the label also finds what is no score.
Maps are read in blocks small enough for a core's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Patterns", "label_blocks", "map_blocks", "patterns_of"]

Patterns = np.ndarray[Any, Any]
"""Scores as unsigned integers with the same bits, ``(..., K, H, W)``."""

Bounds = Sequence["int | None"]
"""Per class, the smallest pattern in the prediction set; None where no score is."""

# A block's channel (128 to 512 kB) stays in a second-level cache while it is compared.
_BLOCK_PIXELS = 65536

_SIGNED = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def patterns_of(scores: Tensor) -> Patterns:
    """The patterns of scores in CPU memory, without a copy."""
    size = scores.element_size()
    return scores.detach().view(_SIGNED[size]).numpy().view(_UNSIGNED[size])


def map_blocks(work: Callable[..., Any], batch: Patterns, *maps: np.ndarray[Any, Any]) -> list[Any]:
    """What ``work`` gives for each block of ``(N, K, H, W)`` patterns and ``(N, H, W)`` maps.

    Blocks are views ``(K, h, W)`` and ``(h, W)`` of one image each, worked on one after the other:
    threads would spend more on handing Python's lock to each other, once a comparison, than they
    save.
    """
    results = []
    for part, *places in _blocks(batch, *maps):
        # Channels-last maps: one small copy makes each channel's pixels neighbours.
        near = part.strides[-1] == part.itemsize
        results.append(work(part if near else np.ascontiguousarray(part), *places))
    return results


def label_blocks(
    scores: Patterns,
    bounds: Bounds,
    out: np.ndarray[Any, Any],
    *,
    rule: str,
    background: int,
    ignore_index: int,
) -> int:
    """Write the labels of a block of ``(K, h, W)`` patterns; returns its largest pattern.

    Where that exceeds the pattern of 1 the labels mean nothing.

    Args:
        scores: the patterns.
        bounds: as above.
        out: the labels ``(h, W)``, of a dtype that holds every class and ``ignore_index``.
        rule, background, ignore_index: as in :func:`conformal_plugin.filter`.
    """
    return _PICK[rule](scores, bounds, out, background, ignore_index)


def _foreground_first(
    scores: Patterns, bounds: Bounds, out: np.ndarray[Any, Any], background: int, ignore_index: int
) -> int:
    foreground = [c for c in range(len(scores)) if c != background]
    found, highest = _most_probable_of(scores, bounds, foreground, out)
    missing = np.logical_not(found, out=found)
    np.copyto(out, ignore_index, where=missing)
    alone = _inside(scores[background], bounds[background])
    np.copyto(out, background, where=np.logical_and(alone, missing, out=alone))
    return max(highest, int(scores[background].max()))


def _most_probable(
    scores: Patterns, bounds: Bounds, out: np.ndarray[Any, Any], background: int, ignore_index: int
) -> int:
    found, highest = _most_probable_of(scores, bounds, list(range(len(scores))), out)
    np.copyto(out, ignore_index, where=np.logical_not(found, out=found))
    return highest


def _most_probable_of(
    scores: Patterns, bounds: Bounds, classes: Sequence[int], out: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], int]:
    """Write the most probable of ``classes`` in the set; whether any is, and the largest pattern.

    A class replaces those before it where its score is strictly higher, so ties go to the lowest
    index; as indices ascend, the label is the largest of those that ever did.
    """
    common = len({bounds[c] for c in classes}) == 1
    first, *others = classes
    best = scores[first].copy()
    out[...] = first
    higher = np.empty(out.shape, dtype=bool)
    flags = higher.view(np.uint8)  # 1 where higher
    number = np.empty_like(out)
    if common:  # one threshold: comparing the winner alone is enough
        for c in others:
            np.greater(scores[c], best, out=higher)
            np.maximum(best, scores[c], out=best)
            np.maximum(out, np.multiply(flags, out.dtype.type(c), out=number), out=out)
        return _inside(best, bounds[first]), int(best.max())
    highest = int(best.max())
    if all(bound != 0 for bound in bounds):  # a score of 0 is in no set: it can stand for "not in"
        best *= _inside(best, bounds[first]).view(np.uint8)
        candidate = np.empty_like(best)
        for c in others:
            highest = max(highest, int(scores[c].max()))
            np.multiply(scores[c], _inside(scores[c], bounds[c]).view(np.uint8), out=candidate)
            np.greater(candidate, best, out=higher)
            np.maximum(best, candidate, out=best)
            np.maximum(out, np.multiply(flags, out.dtype.type(c), out=number), out=out)
        return best > 0, highest
    found = _inside(best, bounds[first])
    for c in others:
        highest = max(highest, int(scores[c].max()))
        np.greater(scores[c], best, out=higher)
        higher |= ~found
        higher &= _inside(scores[c], bounds[c])
        np.copyto(best, scores[c], where=higher)
        found |= higher
        np.maximum(out, np.multiply(flags, out.dtype.type(c), out=number), out=out)
    return found, highest


def _singleton(
    scores: Patterns, bounds: Bounds, out: np.ndarray[Any, Any], background: int, ignore_index: int
) -> int:
    once = np.zeros(out.shape, dtype=bool)
    twice = np.zeros_like(once)
    number = np.empty_like(out)
    out[...] = 0
    highest = 0
    for c, channel in enumerate(scores):
        highest = max(highest, int(channel.max()))
        member = _inside(channel, bounds[c])
        flags = member.view(np.uint8)  # 1 where in the set
        np.maximum(out, np.multiply(flags, out.dtype.type(c), out=number), out=out)
        twice |= once & member
        once |= member
    np.copyto(out, ignore_index, where=~once | twice)
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


def _blocks(
    batch: Patterns, *maps: np.ndarray[Any, Any]
) -> Iterator[tuple[np.ndarray[Any, Any], ...]]:
    n, _, height, width = batch.shape
    rows = max(1, _BLOCK_PIXELS // max(1, width))
    for i in range(n):
        for top in range(0, height, rows):
            part = batch[i, :, top : top + rows]
            yield part, *(m[i, top : top + rows] for m in maps)
