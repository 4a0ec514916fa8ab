"""The router takes classes from annotators whose labels are certified, and no others as such."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binom

from conformal_plugin.combining import RULES, fit_pick, fit_route
from conformal_plugin.errors import EmptyCalibrationError, OptionError

LEVEL = 1e-3
"""How often a right simulation fails here."""


def sure(labels, classes=3):
    """Scores of an annotator that gives these labels."""
    return 0.1 + 0.8 * (np.arange(classes)[:, None, None] == labels)


def strip(*lengths):
    """One row of classes 0, 1, 2, ... in runs."""
    return np.repeat(np.arange(len(lengths)), lengths)[None]


def scene(number):
    """Class 1: the first finds all of it and too much, the second half of it and nothing else."""
    truth = strip(60, 20, 20)
    over, half = truth.copy(), truth.copy()
    over[:, 50:60] = 1
    half[:, 70:80] = 0
    half[:, 80:] = 0  # and nothing of class 2
    return f"im{number}", [sure(over), sure(half)], truth


def test_a_certified_annotator_comes_before_one_of_higher_iou():
    images = [scene(i) for i in range(30)]
    assert [row[1] for row in fit_pick(images).weights] == [1.0, 0.0]
    rule = fit_route(images, epsilon=0.2, delta=0.1)
    assert rule.rule in RULES
    assert [row[1] for row in rule.weights] == [0.0, 1.0]
    assert [row[2] for row in rule.weights] == [1.0, 0.0]  # the second has no label of it
    assert rule.certified == (0, 1, 2)
    _, maps, _ = images[0]
    np.testing.assert_allclose(rule(maps)[1], maps[1][1], atol=1e-6)
    np.testing.assert_allclose(rule(maps)[2], maps[0][2], atol=1e-6)
    assert rule.fitted_on == tuple(f"im{i}" for i in range(30))


def test_without_a_certificate_it_is_the_higher_iou():
    images = [scene(i) for i in range(30)]
    strict, few = fit_route(images, epsilon=0.01), fit_route(images[:3], epsilon=0.2)
    for rule, seen in ((strict, images), (few, images[:3])):
        assert rule.weights == fit_pick(seen).weights
        assert rule.certified == ()


def test_of_two_certified_ones_the_higher_iou_is_taken():
    images = [scene(i) for i in range(30)]
    rule = fit_route(images, epsilon=0.6, delta=0.1)
    assert [row[1] for row in rule.weights] == [1.0, 0.0]
    assert rule.certified == (0, 1, 2)


def test_stray_pixels_are_no_labels_of_a_class():
    truth = np.zeros((20, 20), int)
    truth[:10] = 1
    stray = truth.copy()
    stray[19, 19] = 1
    images = [(f"im{i}", [sure(truth)], truth) for i in range(30)]
    # Where the class is absent, one pixel of 400 is called by it.
    images += [
        (f"other{i}", [sure(np.where(truth, 0, stray))], np.zeros_like(truth)) for i in range(30)
    ]
    assert 1 in fit_route(images, epsilon=0.2).certified
    more = [(n, [sure(np.where(t.any(), t, 1 - truth))], t) for n, _, t in images]
    assert 1 not in fit_route(more, epsilon=0.2).certified


def test_ignored_pixels_do_not_count():
    images = [scene(i) for i in range(30)]
    masked = []
    for name, maps, truth in images:
        label = truth.copy()
        label[:, 50:60] = 255  # where the first is wrong
        masked.append((name, maps, label))
    rule = fit_route(masked, epsilon=0.2)
    assert [row[1] for row in rule.weights] == [1.0, 0.0]


@pytest.mark.parametrize("delta", [0.1, 0.3])
def test_a_false_certificate_is_as_rare_as_promised(delta):
    """A third of the images have all labels of class 1 wrong, against an epsilon of 0.3."""
    rng = np.random.default_rng(0)
    right, wrong = strip(5, 5), np.zeros((1, 10), int)
    runs, false = 200, 0
    for run in range(runs):
        images = [
            (
                f"{run}-{i}",
                [sure(right, 2), sure(right, 2)],
                wrong if rng.random() < 1 / 3 else right,
            )
            for i in range(25)
        ]
        false += 1 in fit_route(images, epsilon=0.3, delta=delta).certified
    assert false <= binom.ppf(1 - LEVEL, runs, delta)


@pytest.mark.parametrize(("epsilon", "images"), [(0.1, 29), (0.2, 14)])
def test_how_many_images_a_certificate_takes(epsilon, images):
    """As docs/combining.md says of two annotators, of which one is always right."""
    truth = strip(6, 6)
    made = [(f"im{i}", [sure(truth, 2), sure(0 * truth, 2)], truth) for i in range(images)]
    assert 1 in fit_route(made, epsilon=epsilon, delta=0.1).certified
    assert fit_route(made[1:], epsilon=epsilon, delta=0.1).certified == ()


def test_the_fingerprint_says_what_was_certified():
    rule = fit_route([scene(i) for i in range(30)], epsilon=0.2, delta=0.05)
    made = rule.fingerprint([{"annotator": "a", "fitted_on": ["z"]}, {"annotator": "b"}])
    assert (made["epsilon"], made["delta"], made["certified"]) == (0.2, 0.05, [0, 1, 2])
    assert made["rule"] == "route"
    assert "z" in made["fitted_on"]
    assert json.loads(json.dumps(made)) == made


def test_what_cannot_be_fitted_is_refused():
    for name in ("epsilon", "delta"):
        for share in (0, 1, True, "0.1"):
            with pytest.raises(OptionError, match=f"{name} must be a number strictly between"):
                fit_route([scene(0)], **{name: share})
    with pytest.raises(EmptyCalibrationError, match="no labelled pixel"):
        fit_route([])
