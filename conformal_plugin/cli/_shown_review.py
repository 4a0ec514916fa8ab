"""The first photos of a review that was made before, read for a report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened
from conformal_plugin.cli._inputs import find_maps, find_photos, taken_maps
from conformal_plugin.cli._painting import Painter
from conformal_plugin.cli._review_command import REVIEW
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import IdList
from conformal_plugin.reporting import ReviewedPhoto, ReviewPart, label_picture

__all__ = ["ShownReview"]

_LISTED: Final = 20
_NUMBERS: Final = ("unsure", "lost", "excess", "set_size")


class ShownReview:
    """Reads the list, and the maps of the photos that are shown of it.

    Args:
        arguments: of the report, with ``review``, ``maps``, ``photos`` and ``examples``.
        painter: of labels.
        names: the classes' names.

    Raises:
        SourceFileError: no review, or a map or photo of it that is missing.
        OptionError: a review by another calibration.
    """

    def __init__(
        self, arguments: argparse.Namespace, painter: Painter, names: Sequence[str]
    ) -> None:
        content = _read(arguments.review / REVIEW)
        if content["qhat"] != str(painter.calibration.qhat):
            raise OptionError(
                f"the review in {arguments.review} is of another calibration; review with "
                f"{arguments.calibration}, or leave it out"
            )
        self._by, self._total = content["by"], len(content["photos"])
        self._rows = content["photos"][:_LISTED]
        self._names = names
        shown = IdList(tuple(str(row["id"]) for row in self._rows[: 3 * arguments.examples]))
        self.layers = [
            painter.layers(taken.value)
            for taken in taken_maps(arguments, find_maps(arguments, shown))
        ]
        """Label maps of the photos that are shown."""
        photos = find_photos(arguments, shown) if arguments.photos is not None else []
        self._photos = [painter.photo(path) for path in photos] or [{} for _ in self.layers]

    def part(self, colours: Mapping[int, tuple[int, int, int]]) -> ReviewPart:
        """What the report shows."""
        pictures: list[dict[str, str]] = [
            {**photo, **{what: label_picture(layer, colours) for what, layer in layers.items()}}
            for photo, layers in zip(self._photos, self.layers)
        ]
        pictures += [{} for _ in self._rows[len(pictures) :]]
        photos = [
            ReviewedPhoto(str(row["id"]), self._figures(row), shown)
            for row, shown in zip(self._rows, pictures)
        ]
        return ReviewPart(self._by, self._total, photos)

    def _figures(self, row: Mapping[str, Any]) -> dict[str, str]:
        numbers = {
            name.replace("_", " "): "none" if row[name] is None else f"{row[name]:.3f}"
            for name in _NUMBERS
        }
        why = str(row["why"])
        if why == "classes" and row["class"] is not None:
            why = f"too many labels of {self._names[row['class']]}"
        return {**numbers, "why": why}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content: Any = parsed(path.read_text(encoding="utf-8"))
        if content["format"] != "conformal-plugin review" or content["version"] != 1:
            raise ValueError("it is of another release or another program")
        for row in content["photos"]:
            np.array([row[name] for name in ("place", *_NUMBERS)], dtype=float)
            if not {"id", "class", "why"} <= row.keys():
                raise ValueError("a photo lacks something")
        return {"by": str(content["by"]), "qhat": content["qhat"], "photos": content["photos"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceFileError(
            f"cannot read the review {path} ({shortened(error)}); name the folder that "
            f"`conformal-plugin review` wrote"
        ) from error
