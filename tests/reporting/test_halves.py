"""Coverage by halves is what ``calibrate`` and ``evaluate`` give, inside the band of its law."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import calibrate, calibrate_image_wise, evaluate
from conformal_plugin.errors import TooFewImagesError
from conformal_plugin.reporting._halves import Halves
from conformal_plugin.scores import labelled_images

ALPHAS = (0.3, 0.05, 0.1, 0.2)


def images(rng, count=21, dtype=np.float16):
    labels = rng.integers(0, 3, (count, 9, 11))
    labels[:, 0] = 255
    skill = rng.random((count, 1, 1, 1))  # images differ, as real ones do
    right = labels[:, None] == np.arange(3)[:, None, None]
    return (skill * right + (1 - skill) * rng.random(right.shape)).astype(dtype), labels


def halves_of(scores, labels):
    halves = Halves()
    for item in labelled_images(scores, labels):
        halves.add(item, halves.read(item))
    return halves


@pytest.mark.parametrize("alpha", ALPHAS)
def test_they_are_what_the_library_gives(alpha):
    scores, labels = images(np.random.default_rng(0))
    halves = halves_of(scores, labels)
    assert halves.images == (11, 10)
    first, second = (scores[::2], labels[::2]), (scores[1::2], labels[1::2])
    curve = halves.pixels(ALPHAS)
    assert curve.alphas == tuple(sorted(ALPHAS))
    place = curve.alphas.index(alpha)
    assert curve.observed[place] == evaluate(*second, calibrate(*first, alpha)).coverage

    wise = halves.covered_images(ALPHAS)
    if alpha < 0.1:  # eleven images are too few
        assert alpha not in wise.alphas
        return
    result = evaluate(*second, calibrate_image_wise(*first, alpha=alpha, tau=0.9))
    assert wise.observed[wise.alphas.index(alpha)] == (result.image_coverage >= 0.9).mean()


def test_the_bands_hold_what_they_say():
    """Over many draws about 90 % fall inside: exactly for images, roughly for pixels."""
    rng = np.random.default_rng(1)
    inside = {"pixels": [], "covered_images": []}
    for _ in range(80):
        halves = halves_of(*images(rng, 40))
        for name, hits in inside.items():
            curve = getattr(halves, name)([0.2])
            hits.append(curve.low[0] <= curve.observed[0] <= curve.high[0])
    assert np.mean(inside["covered_images"]) > 0.85
    assert 0.75 < np.mean(inside["pixels"]) <= 1


def test_blank_images_are_left_out_and_one_is_too_few():
    scores, labels = images(np.random.default_rng(2), 2)
    labels[1] = 255
    halves = halves_of(scores, labels)
    assert halves.images == (1, 0)
    for curve in (halves.pixels, halves.covered_images):
        with pytest.raises(TooFewImagesError, match="at least two"):
            curve([0.1])
