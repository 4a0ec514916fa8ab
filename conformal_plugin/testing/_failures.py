"""What a failed assertion says: observed against promised, the law's band, the usual causes."""

from __future__ import annotations

__all__ = ["CoverageError", "PrecisionError", "SameDataError", "ThresholdError"]

_CAUSES = """\
usual causes of low coverage:
  - the quantile has no (n + 1) correction: the rank is ceil((n + 1)(1 - alpha)), not n (1 - alpha)
  - an infinite threshold was clamped to the largest score (or to 1): with few labels it is infinite
  - labels are shifted by one class, or the ignore label is counted as a class
  - label maps were resized with interpolation, or are shifted (a pixel is too little to be seen)
  - other classes, prompts, normalisation or resolution at calibration than at test
  - the two sets are not exchangeable: other photos, coarser masks, or training images"""


class CoverageError(AssertionError):
    """Coverage that is too low to be chance.

    Attributes:
        observed: share of test points (or mean share of an image's pixels) that was covered.
        target: the promised share, ``1 - alpha``.
        lowest: the lowest coverage that would have passed.
        p_value: bound on the probability of coverage this low under the null hypothesis.
        false_alarm: the rate at which a sound calibration fails this assertion, at most.
        n_calibration: number of calibration units; None where the test does not ask.
        n_test: number of test units.
        unit: what is counted: ``"point"``, ``"image"`` or ``"group"``.
    """

    def __init__(
        self,
        *,
        observed: float,
        target: float,
        lowest: float,
        p_value: float,
        false_alarm: float,
        n_calibration: int | None,
        n_test: int,
        unit: str,
        null: str,
        counts: str,
    ) -> None:
        self.observed = observed
        self.target = target
        self.lowest = lowest
        self.p_value = p_value
        self.false_alarm = false_alarm
        self.n_calibration = n_calibration
        self.n_test = n_test
        self.unit = unit
        impossible = p_value <= 0
        chance = "impossible" if impossible else f"a chance of at most {p_value:.3g}"
        super().__init__(
            f"coverage {observed:.6g} is too low to be chance: {target:g} is promised, and "
            f"{lowest:.6g} or more passes\n"
            f"{counts}\n"
            f"if {null}, coverage this low is {chance}; this assertion fails a sound calibration "
            f"at a rate of at most {false_alarm:g}\n{_CAUSES}"
        )


class SameDataError(AssertionError):
    """The test data is the calibration data, in whole or in part: its coverage proves nothing.

    Attributes:
        shared: ids that both sets hold; empty where the sets were recognised by their counts.
    """

    def __init__(self, message: str, shared: tuple[str, ...] = ()) -> None:
        super().__init__(
            f"{message}\ncoverage on the calibration data is 1 - alpha by construction, whatever "
            f"the threshold is worth: evaluate on labelled images that calibration did not read",
        )
        self.shared = shared


class PrecisionError(AssertionError):
    """More wrong kept labels than the promise allows, by more than chance.

    Attributes:
        observed: the observed risk, in the form that was tested.
        epsilon: the promised bound on it.
        p_value: bound on the probability of a risk this high if the promise holds.
        false_alarm: the rate at which a promise that holds fails this assertion, at most.
        n_test: number of test images (or runs).
    """

    def __init__(
        self,
        message: str,
        *,
        observed: float,
        epsilon: float,
        p_value: float,
        false_alarm: float,
        n_test: int,
    ) -> None:
        super().__init__(message)
        self.observed = observed
        self.epsilon = epsilon
        self.p_value = p_value
        self.false_alarm = false_alarm
        self.n_test = n_test


class ThresholdError(AssertionError):
    """A threshold that is not the conformal quantile of its calibration scores.

    Attributes:
        qhat: the threshold that was passed.
        expected: the ``ceil((n + 1)(1 - alpha))``-th smallest score, ``inf`` where there is none.
        rank: that rank.
        n: number of scores.
        covered: how many of the scores ``qhat`` covers.
        mistakes: the usual mistakes that give ``qhat`` on these scores; empty where none does.
    """

    def __init__(
        self,
        *,
        qhat: float,
        expected: float,
        rank: int,
        n: int,
        level: float,
        covered: int,
        mistakes: tuple[str, ...],
    ) -> None:
        self.qhat = qhat
        self.expected = expected
        self.rank = rank
        self.n = n
        self.covered = covered
        self.mistakes = mistakes
        where = "too low" if qhat < expected else "higher than need be"
        right = (
            f"the {rank}-th smallest of the {n} scores, ceil((n + 1) x {level:g}), is "
            f"{expected:.9g}"
            if rank <= n
            else f"the rank ceil((n + 1) x {level:g}) = {rank} exceeds the {n} scores, so that the "
            f"threshold is infinite"
        )
        made_by = "".join(f"\n  - {mistake}" for mistake in mistakes)
        super().__init__(
            f"q-hat {qhat:.9g} is {where}: {right}\nit covers {covered} of the {n} scores, and "
            f"{min(rank, n)}{'' if rank <= n else ' and every new one'} are to be covered\n"
            + (
                f"exactly this number is given by:{made_by}"
                if mistakes
                else "none of the usual mistakes gives this number; were other scores calibrated, "
                "or the scores rounded?"
            )
        )
