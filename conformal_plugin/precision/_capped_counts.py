"""What each place of a path with caps keeps of one image: counts along the surest pixels first.

Each place would be one filtering of the image. Instead the pixels are put in the order in which a
cap keeps them, once, and what a place keeps is the beginning of that order: a look into running
sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.labelling import most_kept, score_of, spread_order, unfiltered_labels
from conformal_plugin.precision._path import ThresholdPath
from conformal_plugin.scores import ScoreGrid, in_cpu_memory

__all__ = ["capped_curves"]


@dataclass(frozen=True, eq=False)
class _Group:
    """Pixels that may get a label in the same way, and whether the cap counts them.

    Attributes:
        labels: what each pixel would get, int64 ``(pixels,)``, as are the next two.
        scores: patterns of the scores of these labels.
        rivals: patterns of scores that, once in the set, take the label away; None for none.
        pixels: which pixels are meant, bool.
        thresholds: per place, of the labels' own scores.
        capped: whether the cap counts them.
    """

    labels: Tensor
    scores: Tensor
    rivals: Tensor | None
    pixels: Tensor
    thresholds: np.ndarray[Any, Any]
    capped: bool


def capped_curves(
    scores: Tensor,
    path: ThresholdPath,
    grid: ScoreGrid,
    *,
    rule: str,
    background: int,
    of: str,
    truth: Tensor,
    used: Tensor,
) -> tuple[np.ndarray[Any, Any], ...]:
    """At each place, int64 ``(G,)``: labels kept, wrong ones, and both of foreground labels.

    Args:
        scores: of one image, ``(K, H, W)``.
        path, grid, rule, background, of: as in ``count_image``.
        truth: true classes ``(H, W)``.
        used: where they are known, bool.
    """
    room = most_kept(path.caps, truth.numel())
    totals = np.zeros((4, len(path)), dtype=np.int64)
    order, _ = (each.to(scores.device) for each in spread_order(truth.numel()))
    for group in _groups(scores, path, grid, rule, background, of):
        kept, counted = _along(group, path, grid, background, (truth, used), order, room)
        totals += counted
        if group.capped:
            room = room - kept
    return tuple(totals)


def _groups(
    scores: Tensor, path: ThresholdPath, grid: ScoreGrid, rule: str, background: int, of: str
) -> Iterator[_Group]:
    """The groups of a rule, in the order in which the cap keeps them."""
    for labels, own, rivals, thresholds in _WAYS[rule](scores, path, grid, background):
        foreground = labels != background
        if of == "foreground":
            yield _Group(labels, own, rivals, foreground, thresholds, capped=True)
            yield _Group(labels, own, rivals, ~foreground, thresholds, capped=False)
        else:
            everything = torch.ones_like(foreground)
            yield _Group(labels, own, rivals, everything, thresholds, capped=True)


_Way = tuple[Tensor, Tensor, "Tensor | None", np.ndarray[Any, Any]]
"""Labels, patterns of their scores and of their rivals', ``(pixels,)``; the labels' thresholds."""


def _foreground_first(
    scores: Tensor, path: ThresholdPath, grid: ScoreGrid, background: int
) -> Iterator[_Way]:
    labels = unfiltered_labels(scores, "foreground-first", background)
    best = _patterns(score_of(scores, labels), grid)
    labels = labels.flatten()
    yield labels, best, None, path.foreground
    alone = _patterns(scores[background], grid)
    yield torch.full_like(labels, background), alone, best, path.background


def _most_probable(
    scores: Tensor, path: ThresholdPath, grid: ScoreGrid, background: int
) -> Iterator[_Way]:
    labels = unfiltered_labels(scores, "most-probable", background)
    yield labels.flatten(), _patterns(score_of(scores, labels), grid), None, path.foreground


def _singleton(
    scores: Tensor, path: ThresholdPath, grid: ScoreGrid, background: int
) -> Iterator[_Way]:
    labels = unfiltered_labels(scores, "most-probable", background).unsqueeze(0)
    patterns = grid.patterns(scores.contiguous())
    best = patterns.gather(0, labels).flatten()
    second = patterns.scatter(0, labels, -1).amax(dim=0).flatten()
    yield labels.flatten(), best, second, path.foreground


def _patterns(scores: Tensor, grid: ScoreGrid) -> Tensor:
    return grid.patterns(scores.contiguous()).flatten()


_WAYS: dict[str, Callable[[Tensor, ThresholdPath, ScoreGrid, int], Iterator[_Way]]] = {
    "foreground-first": _foreground_first,
    "most-probable": _most_probable,
    "singleton": _singleton,
}


def _along(
    group: _Group,
    path: ThresholdPath,
    grid: ScoreGrid,
    background: int,
    truth: tuple[Tensor, Tensor],
    order: Tensor,
    room: np.ndarray[Any, Any],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """At each place: pixels kept ``(G,)``, and of those with a true class the four counts.

    Args:
        group, path, grid, background: what is counted.
        truth: true classes and where they are known, ``(H, W)`` each.
        order: all pixels, the first of equals first.
        room: per place, how many pixels the cap still lets in.
    """
    order = order[group.pixels[order]]
    scores = group.scores[order]
    by_score = _surest_first(scores, grid)
    scores, order = scores[by_score], order[by_score]
    labels = group.labels[order]
    classes, known = (values.flatten()[order] for values in truth)
    wrong, foreground = known & (labels != classes), known & (labels != background)
    kinds = torch.stack([torch.ones_like(known), known, wrong, foreground, wrong & foreground])
    rivals = None if group.rivals is None else group.rivals[order]
    within = _beginning(scores, [grid.least_pattern(float(q)) for q in group.thresholds])
    kept = np.zeros(len(path), dtype=np.int64)
    counts = np.zeros((4, len(path)), dtype=np.int64)
    for here, least in _with_equal_rivals(path, grid, rivals is not None):
        longest = int(within[here].max(initial=0))
        flags = kinds[:, :longest]
        if rivals is not None and least is not None:
            flags = flags & (rivals[:longest] < least)
        sums = flags.cumsum(dim=1, dtype=torch.int64).cpu().numpy()
        sums = np.concatenate([np.zeros((5, 1), dtype=np.int64), sums], axis=1)
        kept[here] = sums[0, within[here]]
        if group.capped:
            kept[here] = np.minimum(kept[here], room[here])
        counts[:, here] = sums[1:, np.searchsorted(sums[0], kept[here])]
    return kept, counts


def _surest_first(patterns: Tensor, grid: ScoreGrid) -> Tensor:
    """Where each place of the order finds its pixel, by score; equal ones stay in their order."""
    if in_cpu_memory(patterns) and grid.top < 2**32:
        # NumPy's stable sort of 16 bits is by radix, several times faster than by comparison: the
        # lower half of the bits first, then the upper one.
        below_top = (grid.top - patterns).numpy()
        places = np.argsort(below_top.astype(np.uint16), kind="stable")
        if grid.top >= 2**16:
            upper = (below_top >> 16).astype(np.uint16)
            places = places[np.argsort(upper[places], kind="stable")]
        return torch.from_numpy(places)
    return patterns.argsort(descending=True, stable=True)


def _with_equal_rivals(
    path: ThresholdPath, grid: ScoreGrid, rivals: bool
) -> Iterator[tuple[np.ndarray[Any, Any], int | None]]:
    """Places at which the same pixels lose their label to a rival, and the least such pattern."""
    if not rivals:
        yield np.arange(len(path)), None
        return
    for threshold in np.unique(path.foreground):
        places = np.flatnonzero(path.foreground == threshold)
        yield places, grid.least_pattern(float(threshold))


def _beginning(descending: Tensor, least: list[int | None]) -> np.ndarray[Any, Any]:
    """For each bound, how many of the descending patterns reach it; 0 where there is no bound."""
    ascending = descending.flip(0).contiguous()
    known = [0 if bound is None else bound for bound in least]
    bounds = torch.tensor(known, dtype=ascending.dtype, device=ascending.device)
    below = torch.searchsorted(ascending, bounds).cpu().numpy()
    return np.where([bound is None for bound in least], 0, len(ascending) - below)
