"""A fixed sequence of thresholds and caps, and how its places are certified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.errors import OptionError
from conformal_plugin.precision._lines import line, rescored

__all__ = ["ThresholdPath"]


@dataclass(frozen=True, eq=False)
class ThresholdPath:
    """Places that are tested one after the other: a threshold pair and a cap each.

    A path must be chosen without the calibration images: the ones that the class methods make are
    constants, and a path of your own may come from experience or from other images. From one start
    to the next, thresholds and caps rise: places go from strict to loose.

    A cap below 1 keeps at most that share of each image's pixels: those of the foreground first,
    then the surest. An image can then cost a bet less, so that fewer images certify a place. See
    :class:`conformal_plugin.labelling.Cap`.

    Attributes:
        background: float64 ``(G,)`` within [0, 1), ascending from each start to the next: the
            background class's threshold on ``1 - P``.
        foreground: float64 ``(G,)``, likewise: every other class's threshold.
        starts: indices into the path, ascending, where testing starts.
        shares: which part of delta each start may spend; together at most 1.
        caps: float64 ``(G,)`` within (0, 1], ascending likewise; None for 1 everywhere, which keeps
            all that the thresholds allow.
        scouts: how many of the first images choose a start, to which all of delta then goes, see
            :meth:`chosen_start`; they are not bet on, and places of other starts are not tested.
            0 for none: the shares count.

    Raises:
        OptionError: thresholds, starts, shares, caps or scouts that are not as said above.
    """

    background: np.ndarray[Any, Any]
    foreground: np.ndarray[Any, Any]
    starts: tuple[int, ...] = (0,)
    shares: tuple[float, ...] = (1.0,)
    caps: Any = None
    scouts: int = 0

    def __post_init__(self) -> None:
        if self.caps is None:
            object.__setattr__(self, "caps", np.ones(np.shape(self.background)))
        for name in ("background", "foreground", "caps"):
            values = np.array(getattr(self, name), dtype=np.float64)
            kind, inside = (
                ("caps", (values > 0.0) & (values <= 1.0))
                if name == "caps"
                else (f"{name} thresholds", (values >= 0.0) & (values < 1.0))
            )
            if values.ndim != 1 or not values.size or not bool(inside.all()):
                interval = "(0, 1]" if name == "caps" else "[0, 1)"
                raise OptionError(
                    f"the {kind} of a path must be numbers in {interval}, one per place, got "
                    f"{values.tolist()!r:.80}; a threshold of 1 or a cap of 0 decides nothing"
                )
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        if not len(self.background) == len(self.foreground) == len(self.caps):
            raise OptionError(
                f"a path needs as many background as foreground thresholds and as many caps, got "
                f"{len(self.background)}, {len(self.foreground)} and {len(self.caps)}"
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
        if isinstance(self.scouts, bool) or not isinstance(self.scouts, int) or self.scouts < 0:
            raise OptionError(f"scouts must be a number of images, 0 or more, got {self.scouts!r}")
        self._check_ascending()

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickles of earlier releases have no caps.
        self.__dict__.update({"caps": np.ones(len(state["background"]))} | state)

    def _check_ascending(self) -> None:
        for name in ("background", "foreground", "caps"):
            for run in np.split(getattr(self, name), self.starts):
                if bool((np.diff(run) < 0.0).any()):
                    raise OptionError(
                        f"the {name} values of a path must be ascending from one start to the "
                        f"next, got {run.tolist()!r:.80}; sort the places, or let testing start "
                        f"anew where it goes back to a stricter one"
                    )

    def __len__(self) -> int:
        return len(self.background)

    @property
    def common(self) -> bool:
        """Whether background and foreground share one threshold everywhere."""
        return bool(np.array_equal(self.background, self.foreground))

    @property
    def capped(self) -> bool:
        """Whether some place keeps at most a share of each image."""
        return bool((self.caps < 1.0).any())

    @property
    def ascending(self) -> bool:
        """Whether thresholds rise along the whole path, not only from one start to the next."""
        both = (self.background, self.foreground)
        return not any(bool((np.diff(values) < 0.0).any()) for values in both)

    @classmethod
    def capped_foreground_first(cls, *, surer: bool = False) -> ThresholdPath:
        """The default for the foreground-first rule: a lower threshold for background, and caps.

        With most annotators an object that was missed leaves a whole image of wrong background
        labels, whose scores are a little less sure than those of true background. Two lines of
        places begin at small caps. The first starts with a background threshold of 0.0005, which
        drops such images; the second one with 0.08, for annotators that are never so sure, and with
        a stricter foreground. Caps rise first, then the thresholds of background and foreground.

        Other annotators say the same with other scores: surer of everything than they should be, or
        too fond of objects. So each line comes again for one whose log odds are several times as
        large, and for one whose background has a tenth of the odds. Seven scouts choose one line of
        the seven, see :meth:`chosen_start`.

        Lines, and how scouts choose, were found on 437 photos of PASCAL VOC, 380 colonoscopy stills
        and 312 street frames, with changed scores too; on other data they cost power at worst,
        never validity.

        Args:
            surer: whether the annotator is known to be surer than it should be, of which scouts see
                little: the two lines for log odds four times as large come first then, and the
                first of all is left out. See :func:`conformal_plugin.precision.path_for`.
        """
        sure = line(
            (0.0005, 0.2, 0.3),
            (10, (0.0005, 0.2, 0.7)),
            (8, (0.01, 0.25, 0.85)),
            (8, (0.02, 0.4, 1.0)),
            (8, (0.3, 0.5, 1.0)),
            (8, (0.9, 0.745, 1.0)),
        )
        hesitant = line(
            (0.08, 0.03, 0.2),
            (12, (0.15, 0.03, 0.7)),
            (8, (0.3, 0.25, 0.9)),
            (4, (0.3, 0.3, 1.0)),
            (10, (0.5, 0.745, 1.0)),
        )
        apart = rescored(sure, against_background=10.0)
        much_surer = (rescored(sure, sharper=4.0), rescored(hesitant, sharper=4.0))
        others = (
            hesitant,
            rescored(hesitant, sharper=2.0),
            rescored(hesitant, against_background=10.0),
        )
        if surer:
            return cls._of_lines(*much_surer, apart, *others)
        return cls._of_lines(sure, apart, much_surer[0], *others, much_surer[1])

    @classmethod
    def foreground_alone(cls) -> ThresholdPath:
        """The default where the promise is about the foreground's labels, under foreground-first.

        Caps are small, as the foreground is: the first line begins at 4 % of each image and a
        threshold of 0.1, the second, for annotators that are seldom so sure, at 10 % and 0.2. Each
        has half of delta. The background's threshold goes along; nothing is promised of its labels.
        """
        sure = line(
            (0.1, 0.1, 0.04),
            (10, (0.1, 0.2, 0.3)),
            (10, (0.2, 0.4, 0.6)),
            (10, (0.5, 0.6, 1.0)),
        )
        hesitant = line(
            (0.1, 0.2, 0.1),
            (10, (0.1, 0.3, 0.3)),
            (10, (0.2, 0.5, 0.6)),
            (10, (0.5, 0.7, 1.0)),
        )
        return cls._of_lines(sure, hesitant, scouts=0)

    @classmethod
    def capped_one_threshold(cls) -> ThresholdPath:
        """One threshold for all classes, and caps: the default for the other rules.

        Two lines of places, as in :meth:`capped_foreground_first`: the first starts at a threshold
        of 0.001 with a cap of a fifth of each image, the second at 0.1.
        """
        sure = line(
            (0.001, 0.001, 0.2),
            (8, (0.01, 0.01, 0.5)),
            (6, (0.1, 0.1, 0.7)),
            (6, (0.3, 0.3, 1.0)),
            (8, (0.99, 0.99, 1.0)),
        )
        hesitant = line(
            (0.1, 0.1, 0.2),
            (8, (0.1, 0.1, 0.5)),
            (8, (0.3, 0.3, 0.8)),
            (5, (0.3, 0.3, 1.0)),
            (14, (0.99, 0.99, 1.0)),
        )
        return cls._of_lines(sure, hesitant, common=True)

    @classmethod
    def _of_lines(
        cls, *lines: np.ndarray[Any, Any], common: bool = False, scouts: int = 7
    ) -> ThresholdPath:
        """Lines of places, between which scouts choose, or which share delta evenly."""
        background, foreground, caps = np.concatenate(lines).T
        starts = tuple(int(n) for n in np.cumsum([0, *(len(line) for line in lines[:-1])]))
        return cls(
            foreground if common else background,
            foreground,
            starts,
            shares=(1.0 / len(lines),) * len(lines),
            caps=caps,
            scouts=scouts,
        )

    def line(self, start: int) -> slice:
        """The places from a start up to the next one."""
        later = [other for other in self.starts if other > start]
        return slice(start, later[0] if later else len(self))

    def chosen_start(self, worth: Any) -> int:
        """The start that the scouts choose, for all of delta.

        A place is worth to a scout what it keeps of what the cap lets through, less its wrong
        labels, each as bad as ``1 / epsilon`` kept ones are good: 1 where all is kept and right, 0
        where a share epsilon of what is kept is wrong, and no less than -1, for one unlucky scout
        of few. A line is worth what the worst of its first nine places is on average. The first
        line is chosen that is worth 0.6, or nearly as much as the best: 0.1 less.

        Scouts are not bet on, so that their choice, from labels too, spends nothing of delta.

        Args:
            worth: ``(scouts, G)``, ``kept - wrong / epsilon`` of each scout at each place, as
                shares of what the cap lets through.
        """
        means = np.maximum(np.asarray(worth), -1.0).mean(axis=0)
        lines = np.array([means[self.line(start)][:_TRIED].min() for start in self.starts])
        enough = lines >= min(_WORTHWHILE, lines.max() - _NEARLY)
        return self.starts[int(enough.argmax())]

    @classmethod
    def foreground_first(cls) -> ThresholdPath:
        """A lower threshold for background, and no cap.

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
        """One threshold for all classes, and no cap.

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

        That is delta times the largest share that starts at or before it; delta before the first,
        and everywhere where scouts choose.
        """
        aims = np.full(len(self), delta)
        if self.scouts:
            return aims
        largest = 0.0
        for start, share in zip(self.starts, self.shares):
            largest = max(largest, share)
            aims[start:] = delta * largest
        return aims

    def certified(
        self, pvalues: Any, delta: float, start: int | None = None
    ) -> np.ndarray[Any, Any]:
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
            start: where all of delta starts, if scouts have chosen it; None for the shares.
        """
        level = np.zeros(len(self) + 1)
        if start is None:
            level[list(self.starts)] = delta * np.asarray(self.shares)
        else:
            level[start] = delta
        certified = np.zeros(len(self), dtype=bool)
        for j, p in enumerate(np.asarray(pvalues)):
            if level[j] > 0.0 and p <= level[j]:
                level[j + 1] += level[j]
                certified[j] = True
        return certified


_WORTHWHILE, _NEARLY, _TRIED = 0.6, 0.1, 9
"""What a line is worth that is chosen, how far below the best it may be, and on how many places."""
