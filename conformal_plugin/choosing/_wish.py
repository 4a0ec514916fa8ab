"""What a user wants of the labels, and which candidate serves that best."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.choosing._measures import FoldCounts, jackknife
from conformal_plugin.errors import OptionError

__all__ = ["Wish"]


@dataclass(frozen=True)
class Wish:
    """A wanted precision, kept share or recall, or none: then the most information.

    A share counts as reached where its estimate, less one standard error, reaches it.

    Attributes:
        precision: share of the kept labels that must be right; of the candidates that reach it the
            one of most information is best.
        kept: share of the pixels that must get a label; of the candidates that reach it the one of
            highest precision is best.
        recall: share of the objects' pixels that must get the right label; of the candidates that
            reach it the one of most information is best.

    Raises:
        OptionError: more than one, or a share outside (0, 1].
    """

    precision: float | None = None
    kept: float | None = None
    recall: float | None = None

    def __post_init__(self) -> None:
        given = self._given()
        if len(given) > 1:
            wishes = " and ".join(f"want_{name} {value!r}" for name, value in given.items())
            raise OptionError(
                f"{wishes} were given together: ask for one, and read off the table what it costs "
                f"in the others"
            )
        for name, value in given.items():
            real = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not (real and 0.0 < value <= 1.0):
                raise OptionError(
                    f"want_{name} must be a share in (0, 1], such as 0.95, got {value!r}"
                )

    @property
    def asked(self) -> tuple[str, float] | None:
        """What is wished for and the share that it must reach; None without a wish."""
        return next(iter(self._given().items()), None)

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}

    def best_of(self, counts: FoldCounts, rows: np.ndarray[Any, Any]) -> tuple[int, bool]:
        """The best of some rows of ``counts``, and whether it fulfils the wish.

        Where none does, the one that comes nearest. The first of equals.
        """
        information = counts.information[0][rows]
        if self.asked is None:
            return int(rows[_first_highest(information)]), True
        name, share = self.asked
        value, without = getattr(counts, name)
        sure = np.nan_to_num((value - jackknife(without))[rows], nan=-1.0)
        reached = sure >= share
        if not reached.any():
            return int(rows[_first_highest(sure)]), False
        goal = counts.precision[0][rows] if name == "kept" else information
        return int(rows[_first_highest(np.where(reached, goal, -np.inf))]), True


def _first_highest(values: np.ndarray[Any, Any]) -> int:
    return int(np.nan_to_num(values, nan=-np.inf).argmax())
