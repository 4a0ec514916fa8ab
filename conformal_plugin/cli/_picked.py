"""A warning where a calibration would rest on photos that were chosen by their scores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from conformal_plugin.cli._report import warn
from conformal_plugin.exchange import IMPORTED, Imported

__all__ = ["warn_of_picked"]


def warn_of_picked(folder: Path, names: Iterable[str]) -> None:
    """Say where photos are calibrated on that were chosen by their scores."""
    found = sorted(Imported.read(folder).chosen.intersection(names))
    if found:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        warn(
            f"{len(found)} of the photos were chosen by their scores to be corrected ({shown}), "
            f"and are like no others: what is calibrated on them promises nothing about other "
            f"photos. Take them off the list, and train on them ({folder / IMPORTED}, "
            f"docs/review.md)"
        )
