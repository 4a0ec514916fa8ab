"""Coverage per image, on average over images, exact: conformal risk control."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from conformal_plugin.calibration._counting import ScoreCounter
from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.calibration._in_one_call import calibrate_with
from conformal_plugin.calibration._result import Calibration
from conformal_plugin.calibration._units import ImageShare
from conformal_plugin.calibration._wording import coverage_share, of_new_images, shortage, slack

__all__ = ["ImageLevelCalibrator", "calibrate_image_level"]


def calibrate_image_level(
    scores: Any,
    labels: Any,
    alpha: float = 0.05,
    *,
    ignore_index: int = 255,
    ids: Iterable[Any] | None = None,
    groups: Any = None,
) -> Calibration:
    """The smallest q-hat for which a new image's expected coverage is at least ``1 - alpha``.

    ``L_i(q)`` is the share of image i's pixels whose true class scores ``1 - P > q``, so that it is
    not in the prediction set. With K images::

        q-hat = inf{q : (sum_i L_i(q) + 1) / (K + 1) <= alpha}

    Then ``E[L(q-hat)] <= alpha`` for a new image exchangeable with these, whatever the correlation
    of pixels within an image: conformal risk control (arXiv 2208.02814, with B = 1). Hierarchical
    conformal prediction (arXiv 2306.06342) gives the same number. Every image counts alike, large
    or small.

    Where images come in ``groups``, K counts these, and a group's loss is the mean of its images'
    losses: the promise is for a random image of a new exchangeable group, every group counting
    alike, whatever the correlation within a group.

    Args:
        scores, labels, alpha, ignore_index, ids, groups: as in :func:`conformal_plugin.calibrate`.

    Returns:
        The calibration; q-hat is infinite when there are fewer than ``1 / alpha - 1`` images, and
        the guarantee then says how many it takes. With K little more than that it is mostly
        useless: the calibration images may miss a share ``(alpha (K + 1) - 1) / K`` on average,
        0.0025 instead of 0.05 at K = 20.

    Raises:
        AlphaError, OptionError, EmptyCalibrationError: as :func:`conformal_plugin.calibrate`.
        InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: bad input.

    Example:
        >>> import numpy as np
        >>> scores = np.random.default_rng(0).random((30, 2, 8, 8)).astype(np.float16)
        >>> calibration = calibrate_image_level(scores, np.zeros((30, 8, 8), int), alpha=0.1)
        >>> calibration.guarantee.exact, calibration.guarantee.unit
        (True, 'image')
    """
    calibrator = ImageLevelCalibrator(ignore_index=ignore_index)
    return calibrate_with(calibrator, scores, labels, alpha, ids, groups)


class ImageLevelCalibrator(ScoreCounter):
    """:func:`calibrate_image_level` for images that stream by, in constant memory.

    Each image adds its covered share at every threshold, as an integer in steps of 2**-36, so that
    merging is associative and commutative to the bit. The promise stays exact, see ``ImageShare``.

    Args:
        ignore_index: label of pixels to leave out.

    Example:
        >>> import numpy as np
        >>> rng, calibrator = np.random.default_rng(0), ImageLevelCalibrator()
        >>> for _ in range(5):
        ...     calibrator.update(rng.random((2, 4, 4)), np.zeros((4, 4), int))
        >>> calibrator.result(0.05).qhat, calibrator.n_images
        (inf, 5)
    """

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__(ImageShare(), ignore_index=ignore_index)

    def _calibration(
        self, alpha: float, qhats: np.ndarray[Any, Any], resolution: float
    ) -> Calibration:
        unit, units = self._unit_name, self.n_groups or self.n_images
        statement = (
            f"On average over calibration sets and {of_new_images(unit)}, at least "
            f"{coverage_share(alpha)} of an image's pixels have their true class in the prediction "
            f"set.{shortage(alpha, units, unit)}{slack(alpha, units, unit)}"
        )
        guarantee = Guarantee("image-level", unit, True, statement)
        return self._result(alpha, qhats[0], guarantee, resolution)
