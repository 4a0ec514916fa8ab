"""What a calibration promises, in words and in the terms that a program asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

__all__ = ["Guarantee"]

_OF_VOLUMES = (
    (re.compile(r"\b([Aa])n image"), r"\1 volume"),
    (re.compile("image"), "volume"),
    (re.compile("pixel"), "voxel"),
)


@dataclass(frozen=True)
class Guarantee:
    """What a calibration promises.

    Attributes:
        name: short name, e.g. ``"pixel-marginal"``.
        unit: what is counted as one exchangeable observation: ``"pixel"``, ``"point"`` or
            ``"image"``; of volumes ``"voxel"`` or ``"volume"``; ``"group"`` where images or volumes
            come in groups (the images of a video, a patient, a scene).
        exact: True for a finite-sample theorem, False for a heuristic.
        statement: the promise in a sentence.
    """

    name: str
    unit: str
    exact: bool
    statement: str

    @property
    def per_unit(self) -> bool:
        """Whether whole images, volumes or groups are counted, whose number is what matters."""
        return self.unit in ("image", "volume", "group")

    def of_volumes(self) -> Guarantee:
        """The same promise, of volumes and their voxels instead of images and their pixels."""
        unit, statement = self.unit, self.statement
        for word, instead in _OF_VOLUMES:
            unit, statement = word.sub(instead, unit), word.sub(instead, statement)
        return replace(self, unit=unit, statement=statement)
