"""What a host's log and its trackers are told, once an epoch, of what was trained on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from conformal_plugin.training import TrainedOn, track

__all__ = ["EpochLog"]


class EpochLog:
    """Writes to a host's logger and to the trackers of its run, on rank 0 alone.

    The figures are of what this rank trained on, its share of the photos: to add the ranks up, all
    of them would have to wait for each other, and one that has left its loop early would be waited
    for in vain. With several ranks the line says whose they are.

    Args:
        logger: the name of the host's logger.
        labelled: of each class, the labelled pixels that were calibrated on; None where that is
            not known.
    """

    def __init__(self, logger: str, labelled: Sequence[int] | None = None) -> None:
        self.writers: Iterable[Any] = ()
        self._logger = logger
        self._labelled = labelled
        self._warned: set[int] = set()  # of which classes

    def say(self, line: str, level: int = logging.INFO) -> None:
        """A line of the log."""
        if _on_rank_0():
            logging.getLogger(self._logger).log(level, line)

    def stage_one(self, epoch: int, summary: Mapping[str, Any]) -> None:
        """The end of an epoch of stage I; a class whose share is far off is warned of once."""
        trained_on = TrainedOn.of(*self._compared(summary))
        if trained_on.warned_of - self._warned:
            self._warned |= trained_on.warned_of
            self.say(f"Conformal: {trained_on.warning()}", logging.WARNING)
        self.say(f"Conformal: epoch {epoch}, stage I, {_whose_photos()}{trained_on}")
        self._track({"stage": 1, **trained_on.scalars()}, epoch)

    def stage_two(self, epoch: int) -> None:
        """The end of an epoch of stage II."""
        self.say(f"Conformal: epoch {epoch}, stage II, the host's own losses")
        self._track({"stage": 2}, epoch)

    def _compared(
        self, summary: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Sequence[int] | None]:
        """A summary, and the labelled photos' pixels where they are of the same classes."""
        pixels, labelled = summary["kept_pixels_per_class"], self._labelled
        if labelled is None or not pixels or len(pixels) == len(labelled):
            return summary, labelled
        # Labels may be counted for more classes than there are, where the script names no number.
        if not any(pixels[len(labelled) :]) and len(pixels) > len(labelled):
            return {**summary, "kept_pixels_per_class": pixels[: len(labelled)]}, labelled
        self.say(
            f"Conformal: the labels were calibrated on {len(labelled)} classes and hold "
            f"{len(pixels)}: their shares are not compared",
            logging.WARNING,
        )
        self._labelled = None
        return summary, None

    def _track(self, figures: Mapping[str, float], epoch: int) -> None:
        if _on_rank_0():
            track(figures, epoch, self.writers)


def _ranks() -> tuple[int, int]:
    """This rank, and how many there are."""
    dist = torch.distributed
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def _on_rank_0() -> bool:
    return _ranks()[0] == 0


def _whose_photos() -> str:
    """What stands before the figures where they are of a share of the photos."""
    rank, ranks = _ranks()
    return f"in the photos of rank {rank} of {ranks}: " if ranks > 1 else ""
