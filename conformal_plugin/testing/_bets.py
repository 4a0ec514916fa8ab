"""Bets against test data: losses in the order that a bet needs, and whether they are too high."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conformal_plugin.betting import betting_order, betting_pvalue, by_group
from conformal_plugin.errors import OptionError

__all__ = ["high_losses_pvalue", "losses_to_bet_on"]


def losses_to_bet_on(
    losses: Any, ids: Sequence[object] | None, groups: Sequence[str] | None
) -> np.ndarray[Any, Any]:
    """Losses of images, or of groups, in the order of a hash of their names or numbers.

    Args:
        losses: of the images, ``(m,)``, in the order in which they came.
        ids: one per image, in step; None for their numbers.
        groups: the group of each; None where each image is its own.

    Raises:
        OptionError: ids that are not one each.
    """
    names = _names(ids, len(losses))
    if groups is not None:
        names, losses = list(dict.fromkeys(groups)), by_group(losses, groups)
    return np.asarray(losses[betting_order(names)])


def high_losses_pvalue(ordered: np.ndarray[Any, Any], bound: float, rate: float) -> float:
    """p-value of "the mean loss is at most ``bound``", wanted for the level ``rate``."""
    return float(betting_pvalue(1 - ordered, 1 - bound, aim=rate))


def _names(ids: Sequence[object] | None, images: int) -> Sequence[object]:
    """What the images are called: one id each, or their numbers."""
    if ids is None:
        return range(images)
    different = len(set(map(str, ids)))
    if len(ids) != images or different != images:
        raise OptionError(
            f"ids must be {images} different ones, one per measured image in the same order, got "
            f"{len(ids)} ({different} different); leave out those of images "
            f"without a labelled pixel, and measure each image once"
        )
    return ids
