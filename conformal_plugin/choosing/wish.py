"""What a user wants of the labels, and which candidate serves that best."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.choosing.measures import FoldCounts, jackknife
from conformal_plugin.errors import OptionError

__all__ = ["Wish"]


@dataclass(frozen=True)
class Wish:
    """A wanted precision, a wanted kept share, or neither: then the highest mIoU.

    A share counts as reached where its estimate, less one standard error, reaches it.

    Attributes:
        precision: share of the kept labels that must be right; of the candidates that reach it the
            one of highest mIoU is best.
        kept: share of the pixels that must get a label; of the candidates that reach it the one of
            highest precision is best.

    Raises:
        OptionError: both, or a share outside (0, 1].
    """

    precision: float | None = None
    kept: float | None = None

    def __post_init__(self) -> None:
        if self.precision is not None and self.kept is not None:
            raise OptionError(
                f"want_precision {self.precision!r} and want_kept {self.kept!r} were both given: "
                f"ask for one, and read off the table what it costs in the other"
            )
        for name in ("precision", "kept"):
            value = getattr(self, name)
            real = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if value is not None and not (real and 0.0 < value <= 1.0):
                raise OptionError(
                    f"want_{name} must be a share in (0, 1], such as 0.95, got {value!r}"
                )

    def best_of(self, counts: FoldCounts, rows: np.ndarray[Any, Any]) -> tuple[int, bool]:
        """The best of some rows of ``counts``, and whether it fulfils the wish.

        Where none does, the one that comes nearest. The first of equals.
        """
        miou = counts.miou[0][rows]
        if self.precision is None and self.kept is None:
            return int(rows[_first_highest(miou)]), True
        measured = counts.kept if self.precision is None else counts.precision
        sure = np.nan_to_num((measured[0] - jackknife(measured[1]))[rows], nan=-1.0)
        reached = sure >= (self.kept if self.precision is None else self.precision)
        if not reached.any():
            return int(rows[_first_highest(sure)]), False
        goal = counts.precision[0][rows] if self.precision is None else miou
        return int(rows[_first_highest(np.where(reached, goal, -1.0))]), True


def _first_highest(values: np.ndarray[Any, Any]) -> int:
    return int(np.nan_to_num(values, nan=-1.0).argmax())
