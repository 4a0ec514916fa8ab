"""What a promise can be worth, told beforehand: against the calibration itself and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from conformal_plugin.errors import OptionError
from conformal_plugin.precision import (
    ThresholdPath,
    calibrate_precision,
    precision_images_needed,
    realised_share,
)


def faultless(images: int, kept: float) -> tuple[np.ndarray, np.ndarray]:
    """Images of which a share keeps its (right) label at every threshold, the rest at none."""
    labels = np.ones((images, 1, 10), dtype=int)
    maps = np.zeros((images, 2, 1, 10), dtype=np.float16)
    maps[:, 1, :, : round(10 * kept)] = 1.0
    return maps, labels


@pytest.mark.parametrize("test", ["betting", "hoeffding-bentkus"])
@pytest.mark.parametrize(("epsilon", "kept"), [(0.1, 1.0), (0.1, 0.5), (0.2, 0.8)])
def test_one_image_fewer_keeps_nothing(epsilon: float, kept: float, test: str) -> None:
    path = ThresholdPath.foreground_first()  # without caps, of which half would be kept whole
    needed = precision_images_needed(epsilon, kept=kept, test=test, path=path)
    enough = calibrate_precision(*faultless(needed, kept), epsilon, test=test, path=path)
    fewer = calibrate_precision(*faultless(needed - 1, kept), epsilon, test=test, path=path)
    assert np.all(np.asarray(enough.qhat) > 0)
    assert fewer.qhat == -math.inf


@pytest.mark.parametrize("unlabelled", [None, 100])
def test_one_image_fewer_keeps_nothing_of_a_capped_path(unlabelled: int | None) -> None:
    for epsilon, kept in ((0.1, 1.0), (0.1, 0.3), (0.2, 0.8)):
        options = {"unlabelled_images": unlabelled}
        needed = precision_images_needed(epsilon, **options)
        enough = calibrate_precision(*faultless(needed, kept), epsilon, **options)
        fewer = calibrate_precision(*faultless(needed - 1, kept), epsilon, **options)
        assert np.all(np.asarray(enough.qhat) > 0)
        assert fewer.qhat == -math.inf


def test_the_formula_is_a_floor() -> None:
    for epsilon in (0.02, 0.05, 0.1, 0.3):
        for kept in (0.3, 0.7, 1.0):
            for path, share, scouts in (
                (None, 1.0, 7),
                (ThresholdPath.foreground_first(), 0.95, 0),
                (ThresholdPath.one_threshold(), 0.475, 0),
            ):
                factor = 1 + epsilon * kept / (1 - epsilon)
                floor = scouts + math.log(1 / (share * 0.1)) / math.log(factor)
                needed = precision_images_needed(epsilon, kept=kept, path=path)
                assert floor <= needed <= math.ceil(floor) + 1


@pytest.mark.parametrize("kept", [1.0, 0.4])
def test_realised_shares_stay_below_as_often_as_said(kept: float) -> None:
    """Whole images wrong or right, at a risk of exactly epsilon: the widest law there is."""
    rng, epsilon, images, runs = np.random.default_rng(0), 0.05, 50, 20_000
    wrong = rng.binomial(images, epsilon, runs) / images  # of the kept labels
    for confidence in (0.5, 0.9, 0.99):
        bound = realised_share(epsilon, images, confidence=confidence, kept=kept)
        exceeded = int((wrong > bound).sum())
        assert exceeded <= scipy.stats.binom.isf(1e-6, runs, 1 - confidence)
    # And the promise itself is exceeded much more often than the bound.
    assert (wrong > epsilon).mean() > 0.3
    assert realised_share(epsilon, 10**6, kept=kept) < epsilon + 0.002


def test_what_is_refused() -> None:
    with pytest.raises(OptionError, match="epsilon must be"):
        precision_images_needed(0)
    with pytest.raises(OptionError, match=r"kept must be a share of pixels in \(0, 1\], got 0"):
        precision_images_needed(0.1, kept=0)
    with pytest.raises(OptionError, match="test must be one of"):
        precision_images_needed(0.1, test="clt")
    with pytest.raises(OptionError, match="takes more than 1,048,576 images"):
        precision_images_needed(1e-4, kept=0.01)
    with pytest.raises(OptionError, match="images must be a positive integer, got 0"):
        realised_share(0.1, 0)
    with pytest.raises(OptionError, match="confidence must be"):
        realised_share(0.1, 10, confidence=1)
