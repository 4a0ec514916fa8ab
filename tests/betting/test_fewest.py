"""The fewest equal losses that show something, against asking the tests one number at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from conformal_plugin.betting import (
    betting_pvalue,
    betting_pvalue_without_replacement,
    fewest_equal_losses,
    hoeffding_bentkus_pvalue,
)
from conformal_plugin.errors import OptionError
from conformal_plugin.precision import kept_losses, precision_images_needed

TRIED = 120


@pytest.mark.parametrize("test", ["betting", "hoeffding-bentkus"])
@pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.4])
def test_the_plain_search_finds_the_same(test: str, epsilon: float) -> None:
    found = 0
    for aim, kept in itertools.product((0.1, 0.01), (1.0, 0.5, 0.2)):
        loss = float(kept_losses(0, kept, 1, epsilon, "share"))

        def p_value(n: int, loss: float = loss, aim: float = aim) -> float:
            losses = np.full(n, loss)
            if test == "betting":
                return float(betting_pvalue(losses, epsilon, aim=aim))
            return float(hoeffding_bentkus_pvalue(losses, epsilon))

        plain = next((n for n in range(1, TRIED) if p_value(n) <= aim), None)
        fewest = fewest_equal_losses(loss, epsilon, aim=aim, test=test)
        assert fewest == plain or (plain is None and fewest is not None and fewest >= TRIED)
        found += plain is not None
    assert found >= 2


@pytest.mark.parametrize("unlabelled", [3, 40, 1000])
def test_the_plain_search_finds_the_same_without_replacement(unlabelled: int) -> None:
    found = 0
    for epsilon, kept in itertools.product((0.1, 0.4), (1.0, 0.5)):
        loss = float(kept_losses(0, kept, 1, epsilon, "share"))

        def p_value(n: int, loss: float = loss, epsilon: float = epsilon) -> float:
            losses = np.full(n, loss)
            return float(betting_pvalue_without_replacement(losses, epsilon, unlabelled=unlabelled))

        plain = next((n for n in range(1, TRIED) if p_value(n) <= 0.1), None)
        fewest = fewest_equal_losses(loss, epsilon, aim=0.1, unlabelled=unlabelled)
        assert fewest == plain or (plain is None and (fewest is None or fewest >= TRIED))
        found += plain is not None
    assert found >= 1


def test_more_are_not_always_enough_where_fewer_are() -> None:
    """Which is why every number is tried: a bisection would pass over 40."""
    p = [
        betting_pvalue_without_replacement(np.zeros(n), 0.4, unlabelled=3) <= 0.1
        for n in (39, 40, 41, 44, 200)
    ]
    assert p == [False, True, False, True, True]
    assert fewest_equal_losses(0.0, 0.4, aim=0.1, unlabelled=3) == 40


def test_what_is_out_of_reach_is_refused_without_a_bet(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_bet(*_: object, **__: object) -> None:
        raise AssertionError("something was bet on")

    monkeypatch.setattr("conformal_plugin.betting._fewest.bets_on_equal_losses", no_bet)
    for epsilon, kept in ((1e-4, 0.01), (1e-9, 1.0), (0.05, 1e-20)):
        with pytest.raises(OptionError, match="takes more than 1,048,576 images"):
            precision_images_needed(epsilon, kept=kept)
    with pytest.raises(OptionError, match="for 2 unlabelled images, takes more than 16,384 images"):
        precision_images_needed(0.05, unlabelled_images=2)


def test_many_observations_are_counted_exactly() -> None:
    fewest = fewest_equal_losses(0.0, 2e-3, aim=0.1)
    assert fewest is not None
    assert fewest > 1000
    for number, enough in ((fewest - 1, False), (fewest, True)):
        assert (betting_pvalue(np.zeros(number), 2e-3, aim=0.1) <= 0.1) == enough
