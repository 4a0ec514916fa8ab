"""What a calibration promises, in words and in the terms that a program asks for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Guarantee"]


@dataclass(frozen=True)
class Guarantee:
    """What a calibration promises.

    Attributes:
        name: short name, e.g. ``"pixel-marginal"``.
        unit: what is counted as one exchangeable observation: ``"pixel"``, ``"point"`` or
            ``"image"``.
        exact: True for a finite-sample theorem, False for a heuristic.
        statement: the promise in a sentence.
    """

    name: str
    unit: str
    exact: bool
    statement: str
