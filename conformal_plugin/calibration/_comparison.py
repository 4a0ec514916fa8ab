"""What a calibration remembers of a comparison of labelled with unlabelled maps."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison:
    """Whether labelled and unlabelled images look exchangeable, by the annotator's maps alone.

    Attributes:
        p_value: the chance of a difference this large between exchangeable ones, at most.
        unit: what was exchanged: ``"image"`` or ``"group"``.
        n_labelled: how many labelled units were compared.
        n_unlabelled: how many unlabelled ones.
        statement: what was found in a sentence or two.
    """

    p_value: float
    unit: str
    n_labelled: int
    n_unlabelled: int
    statement: str
