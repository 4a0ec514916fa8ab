"""The assertions with groups: at their level on correlated groups, above it where ignored.

Every frame of a group has the same loss, the strongest correlation there is. Seeds are fixed; under
another seed a level would be called broken in one run of 1000 (``ALARM``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from conformal_plugin import calibrate, calibrate_image_level, calibrate_precision, evaluate
from conformal_plugin.errors import OptionError
from conformal_plugin.testing import (
    CoverageError,
    PrecisionError,
    SameDataError,
    assert_coverage,
    assert_exchangeable_coverage,
    assert_image_coverage,
    assert_image_precision,
    assert_image_wise_coverage,
    assert_precision,
)

ALARM = 1e-3
ALPHA, RATE = 0.1, 0.05
FRAMES = 12


def fails(
    error: type[AssertionError], assertion: Callable[..., None], *args: Any, **options: Any
) -> int:
    try:
        assertion(*args, **options)
    except error:
        return 1
    return 0


def frames(values: np.ndarray, prefix: str) -> tuple[np.ndarray, list[str]]:
    """Every value as FRAMES images of one group."""
    names = [f"{prefix}{g}" for g in range(len(values)) for _ in range(FRAMES)]
    return np.repeat(values, FRAMES), names


def coverage_of(
    rng: np.random.Generator, n: int, m: int, units: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of n calibration and m test groups at the threshold that ``units`` units give.

    A group's loss at threshold q is ``a + 1 - q``, cut to [0, 1], for a uniform a, so that the
    smallest q with a mean loss of at most ``(alpha (units + 1) - 1) / units`` is easily found.
    """
    a, new = rng.random(n), rng.random(m)
    allowed = (ALPHA * (units + 1) - 1) / units
    low, high = 0.0, 2.0
    for _ in range(60):
        q = (low + high) / 2
        low, high = (low, q) if np.clip(a + 1 - q, 0, 1).mean() <= allowed else (q, high)
    return 1 - np.clip(a + 1 - high, 0, 1), 1 - np.clip(new + 1 - high, 0, 1)


def test_coverage_of_groups_keeps_its_level_and_of_frames_does_not() -> None:
    rng = np.random.default_rng(0)
    runs, n, m = 400, 30, 20
    options: dict[str, Any] = {"alpha": ALPHA, "false_alarm": RATE}
    alarms = {"groups": 0, "frames": 0, "bound": 0}
    for _ in range(runs):
        own, test = coverage_of(rng, n, m, n)
        (own_frames, ours), (new, theirs) = frames(own, "c"), frames(test, "t")
        both = {"groups": theirs, "calibration_groups": ours, **options}
        alarms["groups"] += fails(
            CoverageError, assert_exchangeable_coverage, new, own_frames, **both
        )
        alarms["bound"] += fails(
            CoverageError, assert_image_coverage, new, n_calibration=n, groups=theirs, **options
        )
        # Calibrated and tested as if frames were independent.
        own, test = (frames(values, "")[0] for values in coverage_of(rng, n, m, n * FRAMES))
        alarms["frames"] += fails(CoverageError, assert_exchangeable_coverage, test, own, **options)
    most = int(binom.isf(ALARM, runs, RATE))
    assert alarms["groups"] <= most
    assert alarms["bound"] <= most
    assert alarms["frames"] > most


def test_precision_of_groups_keeps_its_level_and_of_frames_does_not() -> None:
    rng = np.random.default_rng(1)
    runs, epsilon = 400, 0.2
    options: dict[str, Any] = {"epsilon": epsilon, "false_alarm": RATE}
    alarms = {"groups": 0, "frames": 0}
    for _ in range(runs):
        wrong, groups = frames(rng.random(25) < epsilon, "g")
        counts = 10 * wrong, np.full(len(wrong), 10)
        for name, given in (("groups", groups), ("frames", None)):
            alarms[name] += fails(
                PrecisionError, assert_image_precision, *counts, groups=given, **options
            )
    most = int(binom.isf(ALARM, runs, RATE))
    assert alarms["groups"] <= most < alarms["frames"]


def test_image_wise_coverage_of_groups_is_by_the_share_of_their_images() -> None:
    options: dict[str, Any] = {"n_calibration": 40, "alpha": ALPHA, "tau": 0.9}
    coverage = [0.95, 0.5] * 60
    in_two = ["a", "b"] * 60
    assert_image_wise_coverage(coverage, groups=in_two, **options)  # two groups show nothing
    with pytest.raises(CoverageError, match="60 test groups, 40 calibration groups, the group"):
        assert_image_wise_coverage(coverage, groups=[f"g{i // 2}" for i in range(120)], **options)


def some_groups(rng: np.random.Generator, count: int, prefix: str) -> Any:
    labels = rng.integers(0, 3, (4 * count, 6, 6))
    noise = rng.random((4 * count, 3, 6, 6), dtype=np.float32)
    right = (labels[:, None] == np.arange(3)[:, None, None]).astype(np.float32)
    return 0.5 * right + 0.5 * noise, labels, [f"{prefix}{i // 4}" for i in range(4 * count)]


@pytest.mark.parametrize("function", [calibrate, calibrate_image_level])
def test_a_grouped_calibration_is_held_to_its_groups(function: Any) -> None:
    rng = np.random.default_rng(2)
    maps, labels, groups = some_groups(rng, 15, "c")
    new, truth, others = some_groups(rng, 10, "t")
    calibration = function(maps, labels, 0.2, groups=groups)
    evaluation, own = evaluate(new, truth, calibration), evaluate(maps, labels, calibration)
    bound = {"largest_image": 4 * 36} if function is calibrate else {}
    assert_coverage(evaluation, calibration, groups=others, **bound)
    both = {"calibration_evaluation": own, "groups": others, "calibration_groups": groups}
    assert_coverage(evaluation, calibration, **both)
    ids = [f"i{i}" for i in range(40)]
    named = dict(zip(ids, others))
    assert_coverage(
        evaluation,
        calibration,
        groups=named,
        test_ids=ids,
        calibration_ids=[f"c{i}" for i in range(60)],
        **bound,
    )
    poor = evaluate(new, (truth + 1) % 3, calibration)
    with pytest.raises(CoverageError, match="10 test groups, 15 calibration groups, the group"):
        assert_coverage(poor, calibration, **both)
    with pytest.raises(OptionError, match="the calibration is of 15 groups"):
        assert_coverage(evaluation, calibration, **bound)
    with pytest.raises(OptionError, match="pass calibration_groups"):
        assert_coverage(evaluation, calibration, calibration_evaluation=own, groups=others)
    with pytest.raises(OptionError, match="one per measured image"):
        assert_coverage(evaluation, calibration, groups=others[1:], **bound)
    with pytest.raises(SameDataError, match="1 groups have images in the calibration set"):
        assert_coverage(evaluation, calibration, **{**both, "groups": ["c3", *others[1:]]})
    plain = function(maps, labels, 0.2)
    with pytest.raises(OptionError, match="the calibration knows of none"):
        assert_coverage(evaluation, plain, groups=others, **bound)


@pytest.mark.parametrize("weighting", ["share", "pixel", "macro"])
def test_precision_of_a_grouped_calibration(weighting: str) -> None:
    rng = np.random.default_rng(3)
    maps, labels, groups = some_groups(rng, 60, "c")
    options = {"max_pixels": 36} if weighting == "pixel" else {}
    calibration = calibrate_precision(
        maps, labels, 0.3, weighting=weighting, groups=groups, rule="most-probable", **options
    )
    assert calibration.guarantee.unit == "group"
    new, truth, others = some_groups(rng, 30, "t")
    evaluation = evaluate(new, truth, calibration)
    assert_precision(evaluation, calibration, groups=others)
    poor = evaluate(new, (truth + 1) % 3, calibration)
    with pytest.raises(PrecisionError, match="30 test groups, the group as the unit"):
        assert_precision(poor, calibration, groups=others)
    with pytest.raises(OptionError, match="the calibration is of 60 groups"):
        assert_precision(evaluation, calibration)


def test_groups_of_both_sets_or_of_neither() -> None:
    with pytest.raises(OptionError, match="both groups and calibration_groups"):
        assert_exchangeable_coverage([0.9] * 4, [0.95] * 40, alpha=ALPHA, groups=list("abcd"))
