"""A fixed sequence of ever looser thresholds, and how its places are certified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.errors import OptionError

__all__ = ["ThresholdPath"]


@dataclass(frozen=True, eq=False)
class ThresholdPath:
    """Threshold pairs from strict to loose, with the places where testing starts.

    A path must be chosen without the calibration images: the ones that the class methods make are
    constants, and a path of your own may come from experience or from other images.

    Attributes:
        background: float64 ``(G,)``, ascending within [0, 1): the background class's threshold on
            ``1 - P``.
        foreground: float64 ``(G,)``, likewise: every other class's threshold.
        starts: indices into the path, ascending, where testing starts.
        shares: which part of delta each start may spend; together at most 1.

    Raises:
        OptionError: thresholds, starts or shares that are not as said above.
    """

    background: np.ndarray[Any, Any]
    foreground: np.ndarray[Any, Any]
    starts: tuple[int, ...] = (0,)
    shares: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name in ("background", "foreground"):
            values = np.array(getattr(self, name), dtype=np.float64)
            if (
                values.ndim != 1
                or not values.size
                or not bool(((values >= 0.0) & (values < 1.0)).all())
                or bool((np.diff(values) < 0.0).any())
            ):
                raise OptionError(
                    f"the {name} thresholds of a path must be ascending numbers in [0, 1), got "
                    f"{values.tolist()!r:.80}; sort them, and leave out 1, which keeps everything"
                )
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        if len(self.background) != len(self.foreground):
            raise OptionError(
                f"a path needs as many background as foreground thresholds, got "
                f"{len(self.background)} and {len(self.foreground)}"
            )
        ascending = sorted(set(self.starts)) == list(self.starts)
        if (
            not self.starts
            or not ascending
            or not 0 <= self.starts[0] <= self.starts[-1] < len(self)
        ):
            raise OptionError(
                f"starts must be ascending indices in 0 ... {len(self) - 1}, got {self.starts!r}"
            )
        positive = all(share > 0.0 for share in self.shares)
        if len(self.shares) != len(self.starts) or not positive or sum(self.shares) > 1.0 + 1e-12:
            raise OptionError(
                f"shares must be one positive number per start, together at most 1, got "
                f"{self.shares!r} for starts {self.starts!r}"
            )

    def __len__(self) -> int:
        return len(self.background)

    @property
    def common(self) -> bool:
        """Whether background and foreground share one threshold everywhere."""
        return bool(np.array_equal(self.background, self.foreground))

    @classmethod
    def foreground_first(cls) -> ThresholdPath:
        """The default for the foreground-first rule: a lower threshold for background.

        With most annotators an object that was missed leaves a whole image of wrong background
        labels, whose scores are a little less sure than those of true background; a low threshold
        for background alone drops them. With others it is the foreground that must be surer, and
        ``one_threshold`` or a path of your own certifies more. Up to 1/2
        the background threshold is the fourth power of the foreground threshold t; beyond, the
        foreground threshold rises half as fast and the background threshold goes to 0.9. Testing
        starts at t = 0.2 with 95 % of delta and, for annotators that are wrong there already, at
        t = 1/64 with the rest. The shape and the start were chosen on 437 photos (PASCAL VOC
        animals, two kinds of scores); on other data they cost power at worst, never validity.
        """
        strict = np.geomspace(1 / 64, 0.2, 12, endpoint=False)
        t = np.concatenate([strict, np.linspace(0.2, 0.5, 24, endpoint=False)])
        late = np.linspace(0.0, 1.0, 40)
        return cls(
            background=np.concatenate([t**4, 0.0625 * (0.9 / 0.0625) ** late]).round(9),
            foreground=np.concatenate([t, 0.5 + 0.245 * late]).round(9),
            starts=(0, len(strict)),
            shares=(0.05, 0.95),
        )

    @classmethod
    def one_threshold(cls) -> ThresholdPath:
        """One threshold for all classes, the default for the other rules.

        0, then 1/1024 to 1/32 in geometric steps, then even steps to 0.99. Testing starts at 1/32
        and at 1/4, for sure and for hesitant annotators, with 47.5 % of delta each, and at 0 with
        the rest.
        """
        strict = np.concatenate([[0.0], np.geomspace(1 / 1024, 1 / 32, 10, endpoint=False)])
        middle = np.linspace(1 / 32, 0.25, 28, endpoint=False)
        thresholds = np.concatenate([strict, middle, np.linspace(0.25, 0.99, 75)]).round(9)
        starts = (0, len(strict), len(strict) + len(middle))
        return cls(thresholds, thresholds, starts, shares=(0.05, 0.475, 0.475))

    @classmethod
    def plain(cls, thresholds: Any) -> ThresholdPath:
        """One threshold for all classes, tested from the strictest with all of delta.

        The textbook's fixed sequence; it often fails at its first step.
        """
        return cls(thresholds, thresholds)

    def qhat(self, index: int, num_classes: int, background: int) -> float | np.ndarray[Any, Any]:
        """The thresholds at ``index``: one number, or one per class ``(K,)`` where they differ."""
        if self.common:
            return float(self.foreground[index])
        thresholds = np.full(num_classes, self.foreground[index])
        thresholds[background] = self.background[index]
        return thresholds

    def aims(self, delta: float) -> np.ndarray[Any, Any]:
        """For each place, ``(G,)``, the level that its test should be best at, fixed beforehand.

        That is delta times the largest share that starts at or before it; delta before the first.
        """
        aims = np.full(len(self), delta)
        largest = 0.0
        for start, share in zip(self.starts, self.shares):
            largest = max(largest, share)
            aims[start:] = delta * largest
        return aims

    def certified(self, pvalues: Any, delta: float) -> np.ndarray[Any, Any]:
        """Which places are certified, booleans ``(G,)``.

        Each start holds its share of delta. A place is certified when its p-value is at most what
        has arrived there; it then hands all of that on to the next place. Shares that meet add up,
        so that a start that lies on a longer run of certified places loses nothing. This is the
        graphical sequentially rejective procedure of Bretz et al. (Statistics in Medicine 28, 2009)
        on a line, with fixed-sequence testing (Learn then Test, arXiv 2110.01052) as its case of
        one start: the probability that any place whose share of wrong labels exceeds epsilon is
        certified is at most delta, however the p-values depend on each other. It needs no
        monotone risk.

        Args:
            pvalues: ``(G,)``, one valid p-value per place.
            delta: the probability of error to share.
        """
        level = np.zeros(len(self) + 1)
        level[list(self.starts)] = delta * np.asarray(self.shares)
        certified = np.zeros(len(self), dtype=bool)
        for j, p in enumerate(np.asarray(pvalues)):
            if level[j] > 0.0 and p <= level[j]:
                level[j + 1] += level[j]
                certified[j] = True
        return certified
