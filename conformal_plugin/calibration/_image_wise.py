"""Coverage of single images, exact: most new images have at least a share tau covered."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from conformal_plugin.calibration._counting import ScoreCounter
from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.calibration._in_one_call import calibrate_with
from conformal_plugin.calibration._result import Calibration
from conformal_plugin.calibration._units import ImagesCovered
from conformal_plugin.calibration._wording import coverage_share, shortage
from conformal_plugin.errors import OptionError

__all__ = ["ImageWiseCalibrator", "calibrate_image_wise"]


def calibrate_image_wise(
    scores: Any,
    labels: Any,
    alpha: float = 0.05,
    tau: float = 0.9,
    *,
    ignore_index: int = 255,
    ids: Iterable[Any] | None = None,
    groups: Any = None,
) -> Calibration:
    """The q-hat with which a new image is covered to a share ``tau`` with probability 1 - alpha.

    An image's score is the smallest q that covers at least a share ``tau`` of its pixels; q-hat is
    the ``ceil((K + 1)(1 - alpha))``-th smallest of the K image scores, and infinite where that rank
    exceeds K: split conformal prediction with the image as the unit. Then
    ``P(coverage of a new image >= tau) >= 1 - alpha``, whatever the correlation of its pixels.

    Where images come in ``groups``, G of them, a group's loss is the share of its images that are
    covered to less than ``tau``, and q-hat the smallest at which the groups' losses sum to at most
    ``alpha (G + 1) - 1`` (hierarchical conformal prediction, arXiv 2306.06342): the same
    probability for a random image of a new exchangeable group.

    Args:
        scores, labels, ignore_index, ids, groups: as in :func:`conformal_plugin.calibrate`.
        alpha: share of images in (0, 1) that may fall short of ``tau``.
        tau: share of an image's pixels to cover, in (0, 1]; 1 asks for all of them.

    Returns:
        The calibration; q-hat is infinite when there are fewer than ``1 / alpha - 1`` images, and
        the guarantee then says how many it takes.

    Raises:
        OptionError: tau outside (0, 1].
        AlphaError, EmptyCalibrationError: as :func:`conformal_plugin.calibrate`.
        InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: bad input.

    Example:
        >>> import numpy as np
        >>> scores = np.random.default_rng(0).random((30, 2, 8, 8)).astype(np.float16)
        >>> labels = np.zeros((30, 8, 8), int)
        >>> strict = calibrate_image_wise(scores, labels, alpha=0.1, tau=0.95)
        >>> strict.qhat > calibrate_image_wise(scores, labels, alpha=0.1, tau=0.5).qhat
        True
    """
    calibrator = ImageWiseCalibrator(tau, ignore_index=ignore_index)
    return calibrate_with(calibrator, scores, labels, alpha, ids, groups)


class ImageWiseCalibrator(ScoreCounter):
    """:func:`calibrate_image_wise` for images that stream by, in constant memory.

    Args:
        tau: share of an image's pixels to cover, in (0, 1].
        ignore_index: label of pixels to leave out.

    Example:
        >>> import numpy as np
        >>> rng, calibrator = np.random.default_rng(0), ImageWiseCalibrator(0.9)
        >>> for _ in range(9):
        ...     calibrator.update(rng.random((2, 4, 4)), np.zeros((4, 4), int))
        >>> calibrator.result(0.1).informative
        True
    """

    _options: ClassVar[tuple[str, ...]] = ("tau", "ignore_index")

    def __init__(self, tau: float = 0.9, *, ignore_index: int = 255) -> None:
        # As the decimal that was written, like alpha: 0.9 of 10 pixels is 9, not 10.
        self.tau = _checked_share(tau)
        super().__init__(ImagesCovered(Fraction(str(self.tau))), ignore_index=ignore_index)

    def _calibration(
        self, alpha: float, qhats: np.ndarray[Any, Any], resolution: float
    ) -> Calibration:
        unit, units = self._unit_name, self.n_groups or self.n_images
        which = (
            "a new exchangeable image"
            if unit == "image"
            else ("a random image of a new exchangeable group")
        )
        statement = (
            f"With probability at least {coverage_share(alpha)}, {which} has at least "
            f"{100 * self.tau:g} % of its pixels' true classes in their prediction "
            f"sets.{shortage(alpha, units, unit)}"
        )
        guarantee = Guarantee("image-wise", unit, True, statement)
        return self._result(alpha, qhats[0], guarantee, resolution)


def _checked_share(tau: Any) -> float:
    number = isinstance(tau, numbers.Real) and not isinstance(tau, bool)
    share = float(str(tau)) if number else math.nan
    if not 0 < share <= 1:
        raise OptionError(
            f"tau must be a number in (0, 1], the share of an image's pixels to cover, got {tau!r}"
        )
    return share
