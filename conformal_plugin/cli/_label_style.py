"""How label files are written: palette or grey, classes or the numbers of the user's masks."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.cli._label_maps import label_map_of
from conformal_plugin.errors import OptionError
from conformal_plugin.scores import LabelMap

__all__ = ["LabelStyle"]


@dataclass(frozen=True)
class LabelStyle:
    """What the pixels of label files hold.

    Attributes:
        ignore_index: the label of dropped pixels while they are worked on.
        dropped: what dropped pixels hold in the files.
        grey: bits of grey files; None for a palette.
        own: from the numbers that are written to classes; None where classes are written.
        palette: colours instead of VOC's, where the masks have colours of their own.
    """

    ignore_index: int
    dropped: int
    grey: int | None = None
    own: LabelMap | None = None
    palette: bytes | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace, qhat: Any, ignore_index: int) -> LabelStyle:
        """What was typed.

        Raises:
            OptionError: numbers of masks without a label map, or none for dropped pixels.
        """
        label_map = label_map_of(arguments, qhat)
        grey = None if arguments.grey is None else int(arguments.grey)
        if not arguments.own_numbers:
            if arguments.dropped is not None:
                raise OptionError("--dropped is about --own-numbers; leave it out, or pass both")
            colours = label_map is not None and label_map.has_colours and grey is None
            palette = label_map.palette(ignore_index) if colours and label_map else None
            return cls(ignore_index, ignore_index, grey, palette=palette)
        if label_map is None:
            raise OptionError(
                "--own-numbers writes the numbers of your masks, and nothing says what these are: "
                "calibrate with --label-map, or pass it here"
            )
        nothing = np.full((1, 1), ignore_index)
        dropped = int(label_map.back(nothing, ignore_index, arguments.dropped)[0, 0])
        return cls(ignore_index, dropped, grey, own=label_map)

    def settings(self) -> dict[str, Any]:
        """What labels depend on by this, beside what dropped pixels hold."""
        found: dict[str, Any] = {}
        if self.grey is not None:
            found["grey"] = self.grey
        if self.own is not None:
            found["own_numbers"] = self.own.text
        if self.palette is not None:
            found["palette"] = "of the label map"
        return found

    def written(self, labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """What a file holds for these labels."""
        if self.own is None:
            return labels
        return np.asarray(self.own.back(labels, self.ignore_index, self.dropped))

    def read(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The labels that a file holds, for a file that :meth:`written` made."""
        if self.own is None:
            return values
        dropped = values == self.dropped
        if dropped.all():
            return np.full(values.shape, self.ignore_index)
        # Another value's class stands in where pixels are dropped: the map need not know that.
        filled = np.where(dropped, values[~dropped][0], values)
        return np.where(dropped, self.ignore_index, self.own(filled, self.ignore_index))
