"""What is painted in an annotation tool, and what it means: the same in every tool."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from conformal_plugin._messages import one_line, shown
from conformal_plugin.errors import OptionError
from conformal_plugin.scores import voc_colour

__all__ = ["CHECKED", "DROPPED", "UNSURE", "Composed", "Layer", "Vocabulary"]

DROPPED: Final = "dropped"
"""The mask of pixels that the filter left without a label, which somebody is to decide."""

UNSURE: Final = "unsure"
"""A mask of pixels that a person cannot decide either, which become the ignore index."""

CHECKED: Final = "checked"
"""The mark of a photo that a person has gone through, in tools that have marks."""

_COLOURS: Final = 254
"""Indices of VOC's palette that are left for classes."""

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Layer:
    """A mask and its label.

    Attributes:
        label: one of a vocabulary's.
        mask: booleans ``(H, W)``.
    """

    label: str
    mask: _Array


@dataclass(frozen=True, eq=False)
class Composed:
    """The label map that layers make.

    Attributes:
        labels: class indices ``(H, W)`` with the ignore index.
        undecided: number of pixels that nobody has decided: still *dropped* or, where no class is a
            background, under no mask.
    """

    labels: _Array
    undecided: int


@dataclass(frozen=True)
class Vocabulary:
    """The classes as labels of a tool, beside *dropped* and *unsure*.

    The background is what nobody has painted: it is no label. Of masks that overlap, the later one
    counts; *dropped* is below all others.

    Attributes:
        classes: the names, by class index.
        background: the class of pixels under no mask; None where no class is one.
        ignore_index: of pixels without a class.

    Raises:
        OptionError: names that a tool could not tell apart, or a background that is no class.
    """

    classes: tuple[str, ...]
    background: int | None
    ignore_index: int = 255

    def __post_init__(self) -> None:
        taken = {DROPPED, UNSURE, CHECKED}
        for name in self.classes:
            if not name.strip() or not one_line(name) or name in taken:
                raise OptionError(
                    f"the class name {shown(name)} cannot be a label of its own beside {DROPPED}, "
                    f"{UNSURE} and {CHECKED}: it is empty, no single line or there twice; rename it"
                )
            taken.add(name)
        if self.background is not None and not 0 <= self.background < len(self.classes):
            raise OptionError(
                f"the background is a class index in 0 ... {len(self.classes) - 1}, got "
                f"{self.background}"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """What can be painted, which is the classes but the background, *dropped* and *unsure*."""
        painted = (name for c, name in enumerate(self.classes) if c != self.background)
        return (*painted, DROPPED, UNSURE)

    def colours(self) -> dict[str, tuple[int, int, int]]:
        """An RGB colour for each label, none of them black and no two alike.

        Raises:
            OptionError: more classes than there are colours.
        """
        if len(self.labels) > _COLOURS:
            raise OptionError(
                f"{len(self.labels)} labels are more than the {_COLOURS} that have a colour of "
                f"their own; send fewer classes"
            )
        numbers = [*range(1, len(self.labels) - 1), 255, 254]
        return {label: voc_colour(number) for label, number in zip(self.labels, numbers)}

    def layers(self, labels: _Array) -> list[Layer]:
        """The masks of a label map ``(H, W)``, in the order of the labels; no empty one."""
        found = [
            Layer(name, labels == c)
            for c, name in enumerate(self.classes)
            if c != self.background and (labels == c).any()
        ]
        dropped = labels == self.ignore_index
        return [*found, Layer(DROPPED, dropped)] if dropped.any() else found

    def compose(self, layers: Iterable[Layer], size: tuple[int, int]) -> Composed:
        """The label map of a photo, from its masks in the order in which they were painted.

        Args:
            layers: the masks; labels that are not of this vocabulary are refused before.
            size: ``(H, W)``.
        """
        numbers = {name: c for c, name in enumerate(self.classes)} | {UNSURE: self.ignore_index}
        bare = self.ignore_index if self.background is None else self.background
        labels = np.full(size, bare, dtype=np.int32)
        painted, dropped = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        for layer in layers:
            if layer.label == DROPPED:
                dropped |= layer.mask
            else:
                labels[layer.mask] = numbers[layer.label]
                painted |= layer.mask
        undecided = ~painted if self.background is None else dropped & ~painted
        labels[undecided] = self.ignore_index
        fits = labels.min() >= 0 and labels.max() <= 255
        return Composed(labels.astype(np.uint8) if fits else labels, int(undecided.sum()))

    def indices(self, labels: _Array) -> _Array:
        """A label map in the numbers of masks that a tool shows: 0, then :attr:`labels` from 1."""
        found = np.zeros(labels.shape, dtype=np.uint16)
        for layer in self.layers(labels):
            found[layer.mask] = 1 + self.labels.index(layer.label)
        return found

    def layers_of_indices(self, values: _Array) -> list[Layer]:
        """The masks of what :meth:`indices` gave and a tool may have changed.

        Raises:
            OptionError: a number that is none of a label.
        """
        names = dict(enumerate(self.labels, start=1))
        there = [int(value) for value in np.unique(values) if value]
        strange = [value for value in there if value not in names]
        if strange:
            raise OptionError(
                f"a mask holds the numbers {strange[:5]}, and labels have 1 ... {len(names)}"
            )
        return [Layer(names[value], values == value) for value in there]
