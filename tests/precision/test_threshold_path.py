"""Threshold paths: their shape, their refusals, and that testing along them keeps its promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from conformal_plugin.betting import betting_pvalue, hoeffding_bentkus_pvalue
from conformal_plugin.errors import OptionError
from conformal_plugin.precision import ThresholdPath
from conformal_plugin.precision._lines import line, rescored

GRID = np.linspace(0, 0.9, 12)
PATHS = {
    "plain": ThresholdPath.plain(GRID),
    "late start": ThresholdPath(GRID, GRID, starts=(4,), shares=(1.0,)),
    "three starts": ThresholdPath(GRID, GRID, starts=(0, 4, 8), shares=(0.1, 0.8, 0.1)),
}


def test_default_paths_are_constants_from_strict_to_loose() -> None:
    default, common = ThresholdPath.foreground_first(), ThresholdPath.one_threshold()
    for path in (default, common):
        assert path.ascending
        assert not path.capped
        assert (np.diff(path.foreground) > 0).all()
        assert (np.diff(path.background) >= 0).all()
        assert sum(path.shares) == pytest.approx(1.0)
        assert path.foreground[-1] < 1
    assert common.common
    assert not default.common
    start = default.starts[1]
    assert default.foreground[start] == 0.2
    assert default.background[start] == pytest.approx(0.2**4)
    assert common.foreground[common.starts[1]] == 1 / 32


@pytest.mark.parametrize(
    "path",
    [
        ThresholdPath.capped_foreground_first(),
        ThresholdPath.capped_one_threshold(),
        ThresholdPath.foreground_alone(),
    ],
)
def test_capped_paths_rise_from_each_start_to_the_next(path: ThresholdPath) -> None:
    for values in (path.background, path.foreground, path.caps):
        for run in np.split(values, path.starts[1:]):
            assert (np.diff(run) >= 0).all()
    assert path.capped
    assert path.starts[0] == 0
    for start in path.starts:
        assert path.caps[start] <= 0.3
    assert path.caps[-1] == 1.0
    assert path.foreground[-1] < 1
    assert sum(path.shares) == pytest.approx(1.0)


def lines_of(*lengths: int) -> ThresholdPath:
    """Lines of so many places each, between which two scouts choose."""
    places = np.concatenate([np.linspace(0.0, 0.5, length) for length in lengths])
    starts = tuple(int(n) for n in np.cumsum([0, *lengths[:-1]]))
    return ThresholdPath(places, places, starts, (1 / len(lengths),) * len(lengths), scouts=2)


def test_scouts_choose_the_first_line_that_is_worth_it() -> None:
    path = lines_of(2, 2)
    assert path.chosen_start([[0.9, 0.6, 0.1, 0.1], [0.9, 0.6, 0.1, 0.1]]) == 0
    assert path.chosen_start([[0.9, 0.5, 1.0, 0.8], [0.9, 0.6, 0.8, 0.8]]) == 2
    assert path.chosen_start([[0.7, 0.6, 1.0, 1.0], [0.7, 0.6, 1.0, 1.0]]) == 0  # not the best
    assert path.chosen_start([[0.4, 0.3, 0.2, 0.2], [0.4, 0.3, 0.4, 0.4]]) == 0
    assert path.chosen_start([[0.2, 0.1, 0.2, 0.2], [0.2, 0.1, 0.3, 0.3]]) == 2  # the best of bad
    assert path.chosen_start([[0.2, 0.16, 0.2, 0.2], [0.2, 0.16, 0.3, 0.3]]) == 0  # nearly


def test_an_unlucky_scout_does_not_decide_alone() -> None:
    """An image whose labels are all wrong is worth -1, whatever epsilon is."""
    path = lines_of(1, 1)
    assert path.chosen_start([[-19.0, 0.1], [1.0, -0.1]]) == 0
    assert path.chosen_start([[-1.0, 0.1], [1.0, -0.1]]) == 0
    assert path.chosen_start([[-1.0, 0.4], [1.0, -0.1]]) == 1


def test_scouts_look_at_the_first_places_of_a_line() -> None:
    path, worth = lines_of(12, 10), np.full((2, 22), 0.5)
    worth[:, :9] = 0.9
    worth[:, 9:12] = -1.0
    assert path.chosen_start(worth) == 0
    worth[:, 8] = -1.0
    assert path.chosen_start(worth) == 12


def test_delta_stays_on_the_line_that_scouts_chose() -> None:
    path = lines_of(2, 2)
    assert [path.line(start) for start in path.starts] == [slice(0, 2), slice(2, 4)]
    assert path.aims(0.1).tolist() == [0.1] * 4
    p = np.array([1.0, 1.0, 0.09, 0.2])
    assert path.certified(p, 0.1, start=2).tolist() == [False, False, True, False]


def test_a_line_for_an_annotator_with_other_scores() -> None:
    """What the one lets in, the other does: its scores have other log odds, in the same order."""
    places = line((0.01, 0.2, 0.3), (4, (0.3, 0.6, 1.0)))
    rng = np.random.default_rng(0)
    odds = np.exp(3 * rng.standard_normal(500))
    for background, options, other in (
        (False, {"sharper": 4.0}, odds**4),
        (True, {"against_background": 10.0}, odds / 10),
        (False, {"against_background": 10.0}, odds * 10),
    ):
        moved = rescored(places, **options)
        assert (moved[:, 2] == places[:, 2]).all()
        column = 0 if background else 1
        for here, there in zip(places[:, column], moved[:, column]):
            let_in = 1 / (1 + odds) <= here
            assert (let_in == (1 / (1 + other) <= there)).all()
            assert 0 < let_in.sum() < 500
    assert (rescored(places) == places).all()


def test_qhat_is_one_number_or_one_per_class() -> None:
    path = ThresholdPath([0.0, 0.1], [0.2, 0.4])
    assert np.asarray(path.qhat(1, 4, 2)).tolist() == [0.4, 0.4, 0.1, 0.4]
    assert ThresholdPath.plain([0.0, 0.3]).qhat(1, 4, 2) == 0.3


def loosest(path: ThresholdPath, pvalues: Any, delta: float = 0.1) -> int | None:
    return max(np.flatnonzero(path.certified(pvalues, delta)), default=None)


def test_shares_travel_and_add_up() -> None:
    path = PATHS["three starts"]
    p = np.full(12, 0.001)
    assert path.certified(p, 0.1).all()
    p[0] = 0.5  # the strictest start fails, the others go on
    assert np.flatnonzero(path.certified(p, 0.1)).tolist() == list(range(4, 12))
    p[4] = 0.085  # more than 0.8 of delta, less than 0.9: the first start's share is missing
    assert loosest(path, p) == 11
    p[8] = 0.5
    assert loosest(path, p) is None
    p[0] = 0.001  # now it arrives
    assert loosest(path, p) == 7
    assert loosest(path, np.ones(12)) is None


def test_a_nan_certifies_nothing() -> None:
    assert loosest(PATHS["plain"], np.full(12, math.nan)) is None


def test_aims_are_fixed_by_the_starts() -> None:
    assert PATHS["three starts"].aims(0.1) == pytest.approx([0.01] * 4 + [0.08] * 8)
    assert PATHS["late start"].aims(0.1) == pytest.approx([0.1] * 12)


RISKS = {
    "all wrong": np.full(12, 0.101),
    "wrong beyond the sixth": np.r_[np.full(6, 0.02), np.full(6, 0.101)],
    "wrong in the middle": np.r_[np.full(4, 0.02), np.full(4, 0.101), np.full(4, 0.02)],
    "wrong at both ends": np.r_[np.full(4, 0.101), np.full(4, 0.02), np.full(4, 0.101)],
}


@pytest.mark.parametrize("correlated", [True, False])
@pytest.mark.parametrize("risks", RISKS.values(), ids=RISKS.keys())
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_the_promise_holds_though_risk_is_not_monotone(
    path: ThresholdPath, risks: Any, correlated: bool
) -> None:
    """In at most a share delta of the runs is any place with a risk above epsilon certified."""
    epsilon, delta, images, runs = 0.1, 0.1, 92, 1000
    rng = np.random.default_rng(5)
    luck = rng.random((images, runs, 1 if correlated else 12))
    losses = (luck < risks).reshape(images, runs * 12)
    broken = {}
    for name, p in (
        ("betting", betting_pvalue(losses, epsilon, aim=np.tile(path.aims(delta), runs))),
        ("hoeffding-bentkus", hoeffding_bentkus_pvalue(losses, epsilon)),
    ):
        certified = np.array([path.certified(row, delta) for row in p.reshape(runs, 12)])
        broken[name] = int(certified[:, risks > epsilon].any(axis=1).sum())
    # With a level of exactly delta this fails once in a million runs.
    assert max(broken.values()) <= binom.ppf(1 - 1e-6, runs, delta)


def test_what_is_refused() -> None:
    with pytest.raises(OptionError, match=r"background values of a path must be ascending"):
        ThresholdPath([0.2, 0.1], [0.1, 0.2])
    with pytest.raises(OptionError, match=r"caps values of a path must be ascending"):
        ThresholdPath([0.1, 0.2], [0.1, 0.2], caps=[0.5, 0.4])
    for wrong in ([0.0, 1.0], [0.5, 1.1], [math.nan, 1.0]):
        with pytest.raises(OptionError, match=r"caps of a path must be numbers in \(0, 1\]"):
            ThresholdPath([0.1, 0.2], [0.1, 0.2], caps=wrong)
    with pytest.raises(OptionError, match=r"as many caps, got 2, 2 and 1"):
        ThresholdPath([0.1, 0.2], [0.1, 0.2], caps=[0.5])
    for wrong in (-1, 0.5, True):
        with pytest.raises(OptionError, match="scouts must be a number of images, 0 or more"):
            ThresholdPath([0.1, 0.2], [0.1, 0.2], scouts=wrong)
    for wrong in ([], [1.0], [-0.1], [math.nan], [[0.1]]):
        with pytest.raises(OptionError, match=r"numbers in \[0, 1\), one per place"):
            ThresholdPath.plain(wrong)
    with pytest.raises(
        OptionError, match="as many background as foreground thresholds and as many"
    ):
        ThresholdPath([0.1], [0.1, 0.2])
    for starts in ((), (1, 0), (0, 0), (2,), (-1,)):
        with pytest.raises(OptionError, match=r"starts must be ascending indices in 0 ... 1"):
            ThresholdPath([0.1, 0.2], [0.1, 0.2], starts, (0.1,) * len(starts))
    for shares in ((), (0.5, 0.5), (0.0,), (1.1,)):
        with pytest.raises(OptionError, match="shares must be one positive number per start"):
            ThresholdPath([0.1, 0.2], [0.1, 0.2], (0,), shares)
    with pytest.raises(ValueError, match="read-only"):
        ThresholdPath.foreground_first().background[0] = 0.5
