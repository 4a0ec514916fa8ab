"""The exact law of observed coverage, and how many labels make its spread small enough."""

from __future__ import annotations

import math
import numbers
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
import scipy.stats

from conformal_plugin.calibration import conformal_rank, exact_alpha, images_needed
from conformal_plugin.errors import OptionError

__all__ = [
    "LOWEST_RATE",
    "calibration_images_for",
    "calibration_size_for",
    "checked_count",
    "checked_rate",
    "coverage_law",
    "coverage_spread",
    "covered_cdf",
]

LOWEST_RATE = 1e-9
"""Below this rate, rounding in the law of a sum of runs would matter."""

_LARGEST_SUPPORT = 2**20
_ROUNDING = 1e-12


def coverage_law(n_calibration: int, alpha: float, n_test: int) -> Any:
    """The law of the number of test points covered, over calibration and test sets together.

    ``BetaBinomial(m, k, n + 1 - k)`` with ``k = ceil((n + 1)(1 - alpha))`` (Vovk 2012, "Conditional
    validity of inductive conformal predictors"; Angelopoulos and Bates, arXiv 2107.07511, section
    3): exact for exchangeable scores without ties. Ties only push coverage up. When ``k > n`` the
    threshold is infinite and all ``m`` points are covered.

    Args:
        n_calibration: n, number of calibration points.
        alpha: miscoverage level in (0, 1).
        n_test: m, number of test points.

    Returns:
        A frozen SciPy distribution on the integers 0 ... m.

    Raises:
        AlphaError: alpha outside (0, 1).
        OptionError: a number of points that is no positive integer.

    Example:
        >>> low, high = coverage_law(500, 0.1, 2000).interval(0.999)
        >>> print(f"{low / 2000:.3f} {high / 2000:.3f}")
        0.845 0.944
    """
    n = checked_count("n_calibration", n_calibration)
    m = checked_count("n_test", n_test)
    rank = conformal_rank(n, alpha)
    if rank > n:
        return scipy.stats.randint(m, m + 1)
    return scipy.stats.betabinom(m, rank, n + 1 - rank)


def coverage_spread(n_calibration: int, alpha: float) -> float:
    """Standard deviation of the true coverage between calibration sets of n exchangeable points.

    The true coverage follows ``Beta(k, n + 1 - k)``. For pixels of images n is not their number:
    see :func:`calibration_images_for`.

    Raises:
        AlphaError, OptionError: as :func:`coverage_law`.

    Example:
        >>> round(coverage_spread(500, 0.1), 4)
        0.0134
    """
    n = checked_count("n_calibration", n_calibration)
    rank = conformal_rank(n, alpha)
    missed = max(0, n + 1 - rank)
    return math.sqrt(rank * missed / (n + 1) ** 2 / (n + 2))


def calibration_size_for(alpha: float, sd: float) -> int:
    """How many calibration points bring the spread of coverage down to ``sd``, and keep it there.

    Args:
        alpha: miscoverage level in (0, 1).
        sd: wanted standard deviation of the true coverage between calibration sets.

    Returns:
        The smallest n from which :func:`coverage_spread` stays at or below ``sd`` and the
        threshold is finite.

    Raises:
        AlphaError: alpha outside (0, 1).
        OptionError: ``sd`` is not positive.

    Example:
        >>> calibration_size_for(0.1, 0.01)
        894
    """
    exact = exact_alpha(alpha)
    spread = _checked_sd(sd)
    finite = images_needed(alpha)
    # The rank rounds up, so the expected miss rate is at most alpha: with this the bound is sure.
    worst = float(exact * (1 - exact)) if 2 * exact <= 1 else 0.25
    n = max(finite, math.ceil(worst / spread**2) - 2, 1)
    while n > finite and coverage_spread(n - 1, alpha) <= spread:
        n -= 1
    return n


def calibration_images_for(image_coverage: Any, alpha: float, sd: float) -> int:
    """How many calibration images bring the spread of coverage down to about ``sd``.

    The pixels of one image are not independent, so what counts is the spread between images: to
    first order the coverage reached with n images has the variance of one image's coverage over n.

    Args:
        image_coverage: shares of covered pixels of some images, one each, at a threshold near the
            wanted one, e.g. :attr:`conformal_plugin.Evaluation.image_coverage`.
        alpha: miscoverage level in (0, 1).
        sd: wanted standard deviation of the mean image coverage between calibration sets.

    Returns:
        A number of images, an estimate; at least ``1 / alpha - 1``, below which image-level
        thresholds are infinite.

    Raises:
        AlphaError: alpha outside (0, 1).
        OptionError: fewer than two images, coverage outside [0, 1], or ``sd`` not positive.

    Example:
        >>> calibration_images_for([0.8, 0.9, 1.0], 0.1, 0.01)
        100
    """
    exact_alpha(alpha)
    spread = _checked_sd(sd)
    coverage = np.asarray(image_coverage, dtype=np.float64)
    if coverage.ndim != 1 or len(coverage) < 2 or not np.all((coverage >= 0) & (coverage <= 1)):
        raise OptionError(
            f"image_coverage must be the coverage in [0, 1] of two images or more, got shape "
            f"{coverage.shape}; pass Evaluation.image_coverage"
        )
    # Less a rounding error, so that 100 images are not told as 101.
    needed = float(coverage.var(ddof=1)) / spread**2 * (1 - 1e-12)
    return max(math.ceil(needed), images_needed(alpha), 1)


def covered_cdf(
    n_calibration: int, alpha: float, totals: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], int]:
    """Law of the covered points summed over independent runs, each with a calibration of its own.

    Args:
        n_calibration: calibration points of each run.
        alpha: miscoverage level of each run.
        totals: int64 ``(runs,)``, test points of each run.

    Returns:
        ``cdf`` and ``step``: the distribution function, at 0, 1, ..., of the sum over runs of
        ``covered // step``. A step above 1 keeps the array small, and the law exact.
    """
    step = math.ceil(int(totals.sum()) / _LARGEST_SUPPORT)
    size = int((totals // step).sum()) + 1
    fast = scipy.fft.next_fast_len(size, real=True)
    transform: Any = 1.0
    for total, runs in zip(*np.unique(totals, return_counts=True)):
        mass = np.add.reduceat(
            _mass(n_calibration, alpha, int(total)), np.arange(0, total + 1, step)
        )
        transform = transform * scipy.fft.rfft(mass, fast) ** int(runs)
    cdf = np.cumsum(scipy.fft.irfft(transform, fast)[:size])
    return np.clip(cdf, _ROUNDING, 1.0), step


@lru_cache(maxsize=4)
def _mass(n_calibration: int, alpha: float, total: int) -> np.ndarray[Any, Any]:
    """The law's probabilities of 0 ... total, kept because a suite asks for the same ones anew."""
    mass: np.ndarray[Any, Any] = coverage_law(n_calibration, alpha, total).pmf(np.arange(total + 1))
    mass.flags.writeable = False
    return mass


def checked_count(name: str, value: Any) -> int:
    """``value`` as a positive integer.

    Raises:
        OptionError: it is none.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 1:
        raise OptionError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def checked_rate(name: str, value: Any) -> float:
    """``value`` as a rate that the laws can resolve, from 1e-9 up to and excluding 1.

    Raises:
        OptionError: it is none.
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not LOWEST_RATE <= float(value) < 1:
        raise OptionError(
            f"{name} must be a rate from {LOWEST_RATE:g} to below 1 (0.001: one sound run in a "
            f"thousand fails), got {value!r}"
        )
    return float(value)


def _checked_sd(sd: Any) -> float:
    number = isinstance(sd, numbers.Real) and not isinstance(sd, bool)
    if not number or not 0 < float(sd) < math.inf:
        raise OptionError(f"sd must be a positive number, the wanted spread, got {sd!r}")
    return float(sd)
