"""The label maps that data sets and hosts have in common, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["NAMED", "voc_colour"]

# The 19 classes of Cityscapes that are evaluated, as ids, in the order of their trainIds.
_CITYSCAPES: Final = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_CITYSCAPES_IDS: Final = 34
_ADE20K: Final = 150
_VOC: Final = 21


def _cityscapes() -> dict[Any, Any]:
    classes = {number: train for train, number in enumerate(_CITYSCAPES)}
    ids = [*range(_CITYSCAPES_IDS), -1, 255]
    return {number: classes.get(number, "ignore") for number in ids} | {"*": "refuse"}


def _one_less(highest: int) -> dict[Any, Any]:
    return {0: "ignore", **{n: n - 1 for n in range(1, highest + 1)}, 255: "ignore", "*": "refuse"}


def _threshold() -> dict[Any, Any]:
    return {number: int(number >= 128) for number in range(256)} | {"*": "refuse"}


def _voc_colours() -> dict[Any, Any]:
    classes = {voc_colour(index): index for index in range(_VOC)}
    return classes | {voc_colour(255): "ignore", "*": "refuse"}


def voc_colour(index: int) -> tuple[int, int, int]:
    """The colour in which PASCAL VOC shows a class index, by its development kit.

    The bits of an index are dealt to red, green and blue in turn, lowest bit first, and each
    colour collects its bits from its highest down.
    """
    colour = [0, 0, 0]
    for bit in range(8):
        colour[bit % 3] |= (index >> bit & 1) * (0x80 >> bit // 3)
    return (colour[0], colour[1], colour[2])


NAMED: Final[Mapping[str, Callable[[], dict[Any, Any]]]] = {
    "cityscapes": _cityscapes,
    "ade20k": lambda: _one_less(_ADE20K),
    "reduce-zero-label": lambda: _one_less(254),
    "one-more": lambda: {**{n: n + 1 for n in range(254)}, 255: "ignore", "*": "refuse"},
    "binary": lambda: {0: 0, 255: 1, 1: 1, "*": "refuse"},
    "binary-threshold": _threshold,
    "voc-colours": _voc_colours,
}
"""From the name of a label map to its entries."""
