"""What a callback does at either end of an epoch, whatever the trainer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from conformal_plugin.calibration import Calibration
from conformal_plugin.training import ConformalSupervision, TrainedOn

__all__ = ["ClassShareWarning", "Epochs"]


class ClassShareWarning(UserWarning):
    """A class swallows the labels, so that a student learns to see it everywhere, or collapses."""


class Epochs:
    """Begins epochs, and gives the line and the figures of each at its end.

    Args:
        supervise: the conformal term.
        labelled: the calibration behind the labels, or the labelled pixels of each class; None
            where these are not known.
    """

    def __init__(
        self, supervise: ConformalSupervision, labelled: Calibration | Sequence[int] | None
    ) -> None:
        self._supervise = supervise
        self._labelled = labelled
        self._warned: set[int] = set()

    def begin(self, epoch: int) -> None:
        """An epoch, counted from 0."""
        self._supervise.begin_epoch(epoch)

    def end(self, epoch: int) -> tuple[str, dict[str, float]]:
        """A line for the log, and figures for the trackers, by name.

        Warns:
            ClassShareWarning: a class swallows the labels or has another share of them than of the
                labelled photos, the first time that it does.
        """
        stage = self._supervise.stage
        if stage == 2:
            return f"epoch {epoch}, stage II", {"conformal/stage": 2}
        trained_on = TrainedOn.of(self._supervise.summary(), self._labelled)
        if trained_on.warned_of - self._warned:
            self._warned |= trained_on.warned_of
            warnings.warn(trained_on.warning(), ClassShareWarning, stacklevel=2)
        figures = {f"conformal/{name}": value for name, value in trained_on.scalars().items()}
        return f"epoch {epoch}, stage I, {trained_on}", {"conformal/stage": 1, **figures}
