"""The degraded annotators, by their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from degraded import (
    DEGRADED,
    PAIRS,
    complement,
    is_swapped,
    no_background,
    over_called,
    over_object,
    sharpened,
    swapped,
)


@pytest.fixture
def probs() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(21), (6, 5)).transpose(2, 0, 1)


@pytest.mark.parametrize("form", DEGRADED)
def test_scores_stay_in_range_where_all_probabilities_are_zero(form: str) -> None:
    scores = DEGRADED[form](np.zeros((21, 2, 2), np.float16), "2007_000033")
    assert scores.dtype == np.float32
    assert (scores[0] == (form == "complement")).all()
    assert (scores[1:] == 0).all()


def test_sharpened_is_the_fourth_power_normalised() -> None:
    p = np.array([0.6, 0.3, 0.1])
    scores = sharpened(p.reshape(3, 1, 1), "").ravel()
    np.testing.assert_allclose(scores, p**4 / (p**4).sum(), rtol=1e-6)
    assert scores[0] > 0.9


def test_over_object_cuts_the_odds_of_the_background_to_a_tenth(probs: np.ndarray) -> None:
    scores = over_object(probs, "")
    np.testing.assert_allclose(scores.sum(0), 1, rtol=1e-6)
    np.testing.assert_allclose(scores[1] / scores[0], 10 * probs[1] / probs[0], rtol=1e-5)
    assert (scores.argmax(0) > 0).sum() >= (probs.argmax(0) > 0).sum()


def test_over_called_raises_the_odds_of_one_class(probs: np.ndarray) -> None:
    scores = over_called(probs, "")
    np.testing.assert_allclose(scores.sum(0), 1, rtol=1e-6)
    np.testing.assert_allclose(scores[1] / scores[2], 10 * probs[1] / probs[2], rtol=1e-5)


def test_no_background_compares_each_class_with_the_background_it_hides() -> None:
    p = np.array([0.6, 0.3, 0.1])
    scores = no_background(p.reshape(3, 1, 1), "").ravel()
    np.testing.assert_allclose(scores, [0, 0.3 / 0.9, 0.1 / 0.7], rtol=1e-6)


def test_the_complement_is_what_the_largest_foreground_score_leaves(probs: np.ndarray) -> None:
    foreground = no_background(probs, "")[1:]
    np.testing.assert_array_equal(complement(probs, "")[1:], foreground)
    np.testing.assert_allclose(complement(probs, "")[0], 1 - foreground.max(0), rtol=1e-6)


def test_neighbours_are_swapped_in_some_photos_and_left_alone_in_the_others(
    probs: np.ndarray,
) -> None:
    names = [f"2008_{number:06d}" for number in range(2000)]
    chosen = [name for name in names if is_swapped(name)]
    assert len(chosen) / len(names) == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(
        swapped(probs, next(name for name in names if name not in chosen)),
        probs.astype(np.float32),
    )
    given = swapped(probs, chosen[0])
    for one, other in PAIRS:
        np.testing.assert_array_equal(given[one], probs[other].astype(np.float32))
        np.testing.assert_array_equal(given[other], probs[one].astype(np.float32))
    rest = sorted(set(range(21)) - {c for pair in PAIRS for c in pair})
    np.testing.assert_array_equal(given[rest], probs[rest].astype(np.float32))
