"""What precision control promises: its losses, its tests and its words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformal_plugin._choices import TESTS, WEIGHTINGS
from conformal_plugin.errors import OptionError
from conformal_plugin.precision._bounds import (
    betting_pvalue,
    check_share,
    hoeffding_bentkus_pvalue,
)
from conformal_plugin.precision._path import ThresholdPath
from conformal_plugin.precision._path_counts import PathCounts

__all__ = ["PrecisionTarget", "kept_losses", "pvalues"]


@dataclass(frozen=True)
class PrecisionTarget:
    """What is to be promised of kept labels, and by which test.

    Attributes:
        epsilon, delta, weighting, max_pixels, test: as in :func:`calibrate_precision`.

    Raises:
        OptionError: a value that does not exist or contradicts another.
    """

    epsilon: float
    delta: float = 0.1
    weighting: str = "share"
    max_pixels: int | None = None
    test: str = "betting"

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_share(self.epsilon, "epsilon"))
        object.__setattr__(self, "delta", check_share(self.delta, "delta"))
        for name, choices in (("weighting", WEIGHTINGS), ("test", TESTS)):
            value = getattr(self, name)
            if value not in choices:
                raise OptionError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        if self.max_pixels is None:
            return
        if self.weighting != "pixel":
            raise OptionError(
                f"max_pixels belongs to weighting='pixel', got {self.max_pixels!r} with "
                f"{self.weighting!r}; leave it out"
            )
        integer = isinstance(self.max_pixels, (int, np.integer))
        if not integer or isinstance(self.max_pixels, bool) or self.max_pixels < 1:
            raise OptionError(
                f"max_pixels must be a positive integer, got {self.max_pixels!r}; pass the largest "
                f"height times width that an image can have"
            )

    def losses(self, counts: PathCounts) -> np.ndarray[Any, Any]:
        """Losses in [0, 1], float64 ``(n, G)``, with a mean of at most epsilon where it is kept.

        See :func:`kept_losses`; M is the image's own labelled pixels (share), or one bound for all
        images (pixel).

        Raises:
            OptionError: an image has more labelled pixels than ``max_pixels``.
        """
        size = self.pixel_bound(counts) if self.weighting == "pixel" else counts.pixels[:, None]
        return kept_losses(counts.wrong, counts.kept, size, self.epsilon, self.weighting)

    def pixel_bound(self, counts: PathCounts) -> int:
        """M of the pixel weighting: ``max_pixels``, or the area of the largest image.

        Raises:
            OptionError: an image has more labelled pixels than ``max_pixels``.
        """
        if self.max_pixels is None:
            return int(counts.areas.max())
        largest = int(counts.pixels.max())
        if self.max_pixels < largest:
            raise OptionError(
                f"max_pixels is {self.max_pixels} and an image has {largest} labelled pixels; pass "
                f"the largest height times width that an image can have"
            )
        return int(self.max_pixels)

    def certified(self, counts: PathCounts, path: ThresholdPath) -> int | None:
        """The certified place of ``path`` that keeps most, the loosest of equals; None if none is.

        All certified places keep the promise at once, so that any may be picked. Under the
        singleton rule the loosest need not keep most.

        Args:
            counts: of the calibration images at the places of ``path``.
            path: chosen without the calibration images.
        """
        found = pvalues(self, self.losses(counts), path.aims(self.delta))
        places = np.flatnonzero(path.certified(found, self.delta))[::-1]
        if not len(places):
            return None
        kept = (counts.kept[:, places] / counts.pixels[:, None]).mean(axis=0)
        return int(places[kept.argmax()])

    def smallest_epsilon(self, counts: PathCounts, path: ThresholdPath) -> float | None:
        """About the smallest larger epsilon, in thousandths, that certifies a place; or None.

        An indication of how far these images are from a certificate. The images have chosen it,
        so it is no promise about new ones.
        """

        def possible(thousandths: int) -> bool:
            target = replace(self, epsilon=thousandths / 1000)
            return target.certified(counts, path) is not None

        low, high = math.floor(self.epsilon * 1000), 999
        if low >= high or not possible(high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if possible(middle) else (middle, high)
        return high / 1000

    def promise(self, counts: PathCounts, rule: str, place: int) -> str:
        """The promise of a certified place in a sentence, and what it does not say in others."""
        pixel = self.weighting == "pixel"
        size = f" of at most {self.pixel_bound(counts)} labelled pixels" if pixel else ""
        return (
            f"With probability at least {100 * (1 - self.delta):g} % over the calibration images, "
            f"the labels that the {rule} rule keeps are wrong at most a share {self.epsilon:g} in "
            f"the population of images{size} that these come from, {_AVERAGES[self.weighting]}, if "
            f"all images are independent draws of one distribution. The share on a few new images "
            f"scatters around the population's.{self._guessed_bound()}"
            f"{_of_the_foreground(counts, place)}"
        )

    @property
    def exact(self) -> bool:
        """Whether the promise is a theorem: no bound on sizes was read off the images."""
        return self.weighting != "pixel" or self.max_pixels is not None

    def _guessed_bound(self) -> str:
        if self.exact:
            return ""
        return (
            " Heuristic: the bound on the images' sizes was read off the calibration images; pass "
            "max_pixels for a promise."
        )

    def nothing(self, counts: PathCounts, path: ThresholdPath) -> str:
        """What to say when no place of ``path`` is certified."""
        smallest = self.smallest_epsilon(counts, path)
        could = (
            "no epsilon could be certified with these images"
            if smallest is None
            else f"the smallest epsilon that could be certified with these images is about "
            f"{smallest:g} (an indication: to be promised it, calibrate for it on other images)"
        )
        return (
            f"Keep nothing: at no threshold do these {len(counts.ids)} images show, at confidence "
            f"{100 * (1 - self.delta):g} %, that at most a share {self.epsilon:g} of the kept "
            f"labels is wrong, {_AVERAGES[self.weighting]}. The threshold is -inf and every pixel "
            f"is ignored; {could}. More labelled images or a larger epsilon or delta certify more."
        )


def kept_losses(
    wrong: Any, kept: Any, size: Any, epsilon: float, weighting: str
) -> np.ndarray[Any, Any]:
    """Each image's loss in [0, 1], whose mean is at most epsilon where the promise is kept.

    Macro: ``wrong / max(kept, 1)``. Share and pixel: ``(wrong + epsilon (size - kept)) / size``,
    whose mean is at most epsilon exactly where the mean of ``wrong / size`` is at most epsilon
    times that of ``kept / size``.

    Args:
        wrong: kept pixels with a wrong label, integers, a row per image.
        kept: kept pixels, of the same shape.
        size: the image's labelled pixels (share), or a bound on those of all images (pixel).
        epsilon: the promised share.
        weighting: ``"share"``, ``"pixel"`` or ``"macro"``.
    """
    if weighting == "macro":
        return np.asarray(wrong / np.maximum(kept, 1))
    return np.asarray((wrong + epsilon * (size - kept)) / size)


def pvalues(
    target: PrecisionTarget, losses: np.ndarray[Any, Any], aims: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The target's p-value of each column of losses ``(n, G)``, wanted for the levels ``aims``."""
    return np.asarray(_TESTS[target.test](losses, target.epsilon, aims))


def _bet(losses: np.ndarray[Any, Any], epsilon: float, aims: np.ndarray[Any, Any]) -> Any:
    return betting_pvalue(losses, epsilon, aim=aims)


def _bound(losses: np.ndarray[Any, Any], epsilon: float, aims: np.ndarray[Any, Any]) -> Any:
    return hoeffding_bentkus_pvalue(losses, epsilon)


def _of_the_foreground(counts: PathCounts, place: int) -> str:
    """What was seen, and not promised, of the labels other than the background."""
    if counts.kept_foreground is None or counts.wrong_foreground is None:
        return ""
    kept, wrong = (
        (x[:, place] / counts.pixels).mean()
        for x in (counts.kept_foreground, counts.wrong_foreground)
    )
    everything = (counts.wrong[:, place] / counts.pixels).sum() / max(
        (counts.kept[:, place] / counts.pixels).sum(), 1e-300
    )
    if not kept:
        return " No label of the foreground is kept on the calibration images."
    return (
        f" Of the foreground alone nothing is promised: on the calibration images themselves "
        f"{100 * wrong / kept:.1f} % of its kept labels are wrong, of all kept labels "
        f"{100 * everything:.1f} %."
    )


_TESTS: dict[str, Callable[..., Any]] = {"betting": _bet, "hoeffding-bentkus": _bound}

_AVERAGES = {
    "share": "every image counting alike",
    "pixel": "every pixel counting alike",
    "macro": "averaged over each image's own share (0 where nothing is kept)",
}
