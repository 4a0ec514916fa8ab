"""The photos to label next: a draw that knows no score, and a choice apart from it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from conformal_plugin.choosing import next_photos
from conformal_plugin.errors import OptionError

IDS = [f"photo{i}" for i in range(40)]
SURE = {name: i / 40 for i, name in enumerate(IDS)}


def test_the_draw_does_not_know_the_scores_and_the_choice_is_of_the_others() -> None:
    chosen = next_photos(IDS, for_calibration=10, for_training=5, sureness=SURE)
    other = next_photos(
        IDS, for_calibration=10, for_training=5, sureness={name: -s for name, s in SURE.items()}
    )
    assert chosen.for_calibration == other.for_calibration
    assert not set(chosen.for_calibration) & set(chosen.for_training)
    left = [name for name in IDS if name not in chosen.for_calibration]
    assert chosen.for_training == tuple(left[:5])
    assert other.for_training == tuple(left[::-1][:5])
    assert next_photos(IDS[::-1], for_calibration=10).for_calibration == chosen.for_calibration
    assert next_photos(IDS, for_calibration=10, seed=1).for_calibration != chosen.for_calibration


def test_every_photo_is_as_likely_to_be_drawn() -> None:
    runs = 400
    times = np.zeros(len(IDS))
    for seed in range(runs):
        drawn = next_photos(IDS, for_calibration=10, seed=seed).for_calibration
        times[[IDS.index(name) for name in drawn]] += 1
    rate = 1e-3 / (2 * len(IDS))
    assert binom.ppf(rate, runs, 0.25) <= times.min()
    assert times.max() <= binom.isf(rate, runs, 0.25)


def test_whole_groups_are_drawn() -> None:
    groups = {name: f"g{i // 4}" for i, name in enumerate(IDS)}
    chosen = next_photos(IDS, for_calibration=3, for_training=6, sureness=SURE, groups=groups)
    drawn = {groups[name] for name in chosen.for_calibration}
    assert (len(chosen.for_calibration), len(drawn)) == (12, 3)
    assert not drawn & {groups[name] for name in chosen.for_training}


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(OptionError, match="there are 40 unlabelled photos, and 41"):
        next_photos(IDS, for_calibration=41)
    with pytest.raises(OptionError, match="5 photos are left"):
        next_photos(IDS, for_calibration=35, for_training=6, sureness=SURE)
    with pytest.raises(OptionError, match="pass that of each"):
        next_photos(IDS, for_calibration=1, for_training=1)
    with pytest.raises(OptionError, match="there are 40 unlabelled photos, and -1"):
        next_photos(IDS, for_calibration=-1)
