"""What a callback does at either end of an epoch, whatever the trainer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from conformal_plugin.calibration import Calibration
from conformal_plugin.training import ConformalSupervision, TrainedOn

__all__ = ["ClassShareWarning", "Epochs"]


class ClassShareWarning(UserWarning):
    """One class swallows the labels: a student of them learns to see it everywhere."""


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
        self._warned: set[int | None] = {None}

    def begin(self, epoch: int) -> None:
        """An epoch, counted from 0."""
        self._supervise.begin_epoch(epoch)

    def end(self, epoch: int) -> tuple[str, dict[str, float]]:
        """A line for the log, and figures for the trackers, by name.

        Warns:
            ClassShareWarning: a class swallows the labels, the first time that it does.
        """
        stage = self._supervise.stage
        if stage == 2:
            return f"epoch {epoch}, stage II", {"conformal/stage": 2}
        trained_on = TrainedOn.of(self._supervise.summary(), self._labelled)
        if trained_on.swallowed not in self._warned:
            self._warned.add(trained_on.swallowed)
            warnings.warn(trained_on.warning(), ClassShareWarning, stacklevel=2)
        figures = {f"conformal/{name}": value for name, value in trained_on.scalars().items()}
        return f"epoch {epoch}, stage I, {trained_on}", {"conformal/stage": 1, **figures}
