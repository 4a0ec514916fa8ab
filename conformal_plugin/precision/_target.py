"""What precision control promises: its losses, its tests and its words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformal_plugin._choices import OF, TESTS, WEIGHTINGS
from conformal_plugin.betting import (
    betting_pvalue,
    betting_pvalue_without_replacement,
    by_group,
    check_share,
    hoeffding_bentkus_pvalue,
)
from conformal_plugin.errors import OptionError
from conformal_plugin.labelling import most_kept
from conformal_plugin.precision._path import ThresholdPath
from conformal_plugin.precision._path_counts import PathCounts

__all__ = ["PrecisionTarget", "kept_losses", "pvalues"]


@dataclass(frozen=True)
class PrecisionTarget:
    """What is to be promised of kept labels, and by which test.

    Attributes:
        epsilon, delta, weighting, max_pixels, test, of, unlabelled_images, planned: as in
            :func:`calibrate_precision`.

    Raises:
        OptionError: a value that does not exist or contradicts another.
    """

    epsilon: float
    delta: float = 0.1
    weighting: str = "share"
    max_pixels: int | None = None
    test: str = "betting"
    of: str = "all"
    unlabelled_images: int | None = None
    planned: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_share(self.epsilon, "epsilon"))
        object.__setattr__(self, "delta", check_share(self.delta, "delta"))
        for name, choices in (("weighting", WEIGHTINGS), ("test", TESTS), ("of", OF)):
            value = getattr(self, name)
            if value not in choices:
                raise OptionError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        self._check_unlabelled()
        if self.planned is not None and self.test != "betting":
            raise OptionError(
                f"planned belongs to test='betting', whose bets can be looked at again, and this "
                f"is {self.test!r}; leave it out"
            )
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

    def _check_unlabelled(self) -> None:
        count = self.unlabelled_images
        if count is None:
            return
        whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
        if not whole or count < 1:
            raise OptionError(f"unlabelled_images must be a positive integer, got {count!r}")
        if self.test != "betting":
            raise OptionError(
                f"a promise for {count} images at hand is made by betting without replacement, "
                f"got test={self.test!r}; leave test or unlabelled_images out"
            )
        if self.planned is not None:
            raise OptionError(
                f"a promise for {count} images at hand is made at one look, and planned is for "
                f"several; leave planned or unlabelled_images out"
            )

    def check_groups(self, grouped: bool) -> None:
        """Refuse a promise for the images at hand where images come in groups.

        Raises:
            OptionError: it is one.
        """
        if grouped and self.unlabelled_images is not None:
            raise OptionError(
                "a promise for the images at hand counts single images that were drawn one by "
                "one, and these come in groups; leave groups or unlabelled_images out"
            )

    def _after(self, scouts: int) -> PrecisionTarget:
        """The target of the bets that are left when scouts have been taken off the planned ones."""
        if self.planned is None:
            return self
        return replace(self, planned=max(1, int(self.planned) - scouts))

    def losses(self, counts: PathCounts, path: ThresholdPath) -> np.ndarray[Any, Any]:
        """Losses in [0, 1], float64 ``(n, G)``, with a mean of at most epsilon where it is kept.

        See :func:`kept_losses`; M is what the cap lets through of the image's own labelled pixels
        (share), or of one bound for all images (pixel).

        Raises:
            OptionError: an image has more labelled pixels than ``max_pixels``.
        """
        kept, wrong = self.counted(counts)
        sizes = self.sizes(counts, path)
        return kept_losses(wrong, kept, sizes, self.epsilon, self.weighting)

    def counted(self, counts: PathCounts) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Kept and wrong labels, of all classes or of the foreground, ``(n, G)`` each.

        Raises:
            OptionError: the foreground's were not counted, in a state of release 0.1.0.
        """
        if self.of == "all":
            return counts.kept, counts.wrong
        if counts.kept_foreground is None or counts.wrong_foreground is None:
            raise OptionError(
                "these counts are of release 0.1.0, which did not count the foreground's labels; "
                "start the calibration anew"
            )
        return counts.kept_foreground, counts.wrong_foreground

    def sizes(self, counts: PathCounts, path: ThresholdPath) -> np.ndarray[Any, Any]:
        """How many labels an image could keep at most at each place, ``(n, G)`` or ``(1, G)``.

        Raises:
            OptionError: an image has more labelled pixels than ``max_pixels``.
        """
        if self.weighting == "pixel":
            bound = self.pixel_bound(counts, path)
            return np.asarray(np.maximum(most_kept(path.caps[None], bound), 1))
        return _let_through(counts, path)

    def pixel_bound(self, counts: PathCounts, path: ThresholdPath) -> int:
        """M of the pixel weighting: ``max_pixels``, or the area of the largest image.

        Raises:
            OptionError: an image has more labelled pixels than ``max_pixels``, or more pixels at
                all where there are caps, which count them.
        """
        if self.max_pixels is None:
            return int(counts.areas.max())
        largest = int((counts.areas if path.capped else counts.pixels).max())
        if self.max_pixels < largest:
            raise OptionError(
                f"max_pixels is {self.max_pixels} and an image has {largest} "
                f"{'' if path.capped else 'labelled '}pixels; pass the largest height times width "
                f"that an image can have"
            )
        return int(self.max_pixels)

    def certified(self, counts: PathCounts, path: ThresholdPath) -> int | None:
        """The certified place of ``path`` that keeps most, the loosest of equals; None if none is.

        All certified places keep the promise at once, so that any may be picked. Under the
        singleton rule the loosest need not keep most.

        Args:
            counts: of the calibration images at the places of ``path``.
            path: chosen without the calibration images.

        Raises:
            OptionError: groups, and a promise for the images at hand; or as :meth:`losses`.
        """
        self.check_groups(counts.groups is not None)
        losses, aims = by_group(self.losses(counts, path), counts.groups), path.aims(self.delta)
        start, tested = None, slice(None)
        if path.scouts:
            if len(losses) <= path.scouts:
                return None
            kept, wrong = self.counted(counts)
            worth = (kept - wrong / self.epsilon) / _let_through(counts, path)
            start = path.chosen_start(by_group(worth, counts.groups)[: path.scouts])
            tested = path.line(start)
        found = np.ones(len(path))
        bet_on = losses[path.scouts :, tested]
        found[tested] = pvalues(self._after(path.scouts), bet_on, aims[tested])
        places = np.flatnonzero(path.certified(found, self.delta, start))[::-1]
        if not len(places):
            return None
        kept = by_group(counts.kept[:, places] / counts.pixels[:, None], counts.groups).mean(axis=0)
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

    def promise(self, counts: PathCounts, rule: str, path: ThresholdPath, place: int) -> str:
        """The promise of a certified place in a sentence, and what it does not say in others."""
        pixel = self.weighting == "pixel"
        unit = _unit(counts)
        size = f" of at most {self.pixel_bound(counts, path)} pixels" if pixel else ""
        which = "foreground labels" if self.of == "foreground" else "labels"
        cap = float(path.caps[place])
        capped = (
            f", of which it keeps at most a share {cap:g} of each image's pixels,"
            if cap < 1.0
            else ""
        )
        one = "" if counts.groups is None else ", and all groups counting alike"
        promised = (
            f"With probability at least {100 * (1 - self.delta):g} % over the calibration {unit}s, "
            f"the {which} that the {rule} rule keeps{capped} are wrong at most a share "
            f"{self.epsilon:g} in {self._where(size)}, {_AVERAGES[self.weighting]}{one}, if "
            f"{self._assumption(unit)}"
        )
        return (
            f"{promised}{self._looks()}{self._guessed_bound()}"
            f"{_of_the_foreground(self, counts, place)}"
        )

    def _where(self, size: str) -> str:
        if self.unlabelled_images is None:
            return f"the population of images{size} that these come from"
        return f"the {self.unlabelled_images} unlabelled images{size}"

    def _assumption(self, unit: str) -> str:
        if self.unlabelled_images is None:
            return (
                f"all {unit}s are independent draws of one distribution. The share on a few new "
                f"images scatters around the population's."
            )
        return (
            "which of all these images were labelled was drawn at random. The promise is for "
            "these unlabelled images, all of them and no others."
        )

    @property
    def exact(self) -> bool:
        """Whether the promise is a theorem: no bound on sizes was read off the images."""
        return self.weighting != "pixel" or self.max_pixels is not None

    def _looks(self) -> str:
        if self.planned is None:
            return ""
        return (
            f" It holds for all looks together, at these images and at as many more as are "
            f"labelled afterwards, in any number, where each new one is drawn whatever its scores "
            f"are (bets are made for {self.planned})."
        )

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
            f"Keep nothing: at no threshold do these {_number(counts)} show, at confidence "
            f"{100 * (1 - self.delta):g} %, that at most a share {self.epsilon:g} of the kept "
            f"{'foreground ' if self.of == 'foreground' else ''}labels is wrong, "
            f"{_AVERAGES[self.weighting]}. The threshold is -inf and every pixel is ignored; "
            f"{could}. More labelled {_unit(counts)}s or a larger epsilon or delta certify more."
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
        size: the image's labelled pixels, or what a cap lets through of them (share), or a bound on
            those of all images (pixel).
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
    if target.unlabelled_images is not None:
        found = betting_pvalue_without_replacement(
            losses, target.epsilon, unlabelled=target.unlabelled_images, aim=aims
        )
        return np.asarray(found)
    return np.asarray(_TESTS[target.test](losses, target, aims))


def _let_through(counts: PathCounts, path: ThresholdPath) -> np.ndarray[Any, Any]:
    """How many of an image's labelled pixels each place's cap lets through, at least 1."""
    most = np.maximum(most_kept(path.caps, counts.areas[:, None]), 1)
    return np.asarray(np.minimum(counts.pixels[:, None], most))


def _bet(losses: np.ndarray[Any, Any], target: PrecisionTarget, aims: np.ndarray[Any, Any]) -> Any:
    return betting_pvalue(losses, target.epsilon, aim=aims, planned=target.planned)


def _bound(
    losses: np.ndarray[Any, Any], target: PrecisionTarget, aims: np.ndarray[Any, Any]
) -> Any:
    return hoeffding_bentkus_pvalue(losses, target.epsilon)


def _of_the_foreground(target: PrecisionTarget, counts: PathCounts, place: int) -> str:
    """What was seen, and not promised, of the labels other than the background."""
    if target.of == "foreground":
        return " Of background labels nothing is promised."
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


def _unit(counts: PathCounts) -> str:
    """What is an independent draw."""
    return "image" if counts.groups is None else "group"


def _number(counts: PathCounts) -> str:
    """How many images there are, and of how many groups."""
    groups = counts.n_groups
    return f"{len(counts.ids)} images" + ("" if groups is None else f" of {groups} groups")


_TESTS: dict[str, Callable[..., Any]] = {"betting": _bet, "hoeffding-bentkus": _bound}

_AVERAGES = {
    "share": "every image counting alike",
    "pixel": "every pixel counting alike",
    "macro": "averaged over each image's own share (0 where nothing is kept)",
}
