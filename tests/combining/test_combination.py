"""Combined maps: what the rules compute, what they are fitted on, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin.combining import Combination, fit_pick, fit_stack, mean_of
from conformal_plugin.errors import (
    EmptyCalibrationError,
    LabelError,
    OptionError,
    ScoreError,
    ShapeError,
)


def scene(rng, *, classes=3, size=12, sharp=(2.0, 2.0), noise=(0.5, 0.5)):
    """A label, and the softmax of each annotator's noisy evidence for it."""
    label = rng.integers(0, classes, (size, size))
    maps = []
    for strength, spread in zip(sharp, noise, strict=True):
        evidence = strength * (np.arange(classes)[:, None, None] == label)
        evidence = np.exp(evidence + spread * rng.normal(size=evidence.shape))
        maps.append((evidence / evidence.sum(0)).astype(np.float32))
    return label, maps


def scenes(number, **options):
    rng = np.random.default_rng(7)
    made = [scene(rng, **options) for _ in range(number)]
    return [(f"im{i}", maps, label) for i, (label, maps) in enumerate(made)]


def right(images, score):
    return np.mean([(score(maps).argmax(0) == label).mean() for _, maps, label in images])


def test_the_mean_is_the_mean() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.random((3, 4, 5), dtype=np.float32) for _ in range(3)]
    np.testing.assert_allclose(mean_of(3, 3)(maps), np.mean(maps, axis=0), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scores_of_one_stay_within_one(dtype) -> None:
    ones = np.ones((2, 3, 3), dtype)
    combined = mean_of(3, 2)([ones] * 3)
    assert combined.dtype == np.float32
    assert combined.max() <= 1


def test_images_of_other_classes_than_the_first_are_refused() -> None:
    (name, maps, label), (_, more, other) = scenes(1)[0], scenes(1, classes=4)[0]
    with pytest.raises(ShapeError, match=r"image b has 2 maps of 4 classes .* it 2 of 3"):
        fit_pick([(name, maps, label), ("b", more, other)])


def test_pick_gives_each_class_to_the_annotator_that_finds_it() -> None:
    label = np.array([[0, 1, 2, 0, 1, 2]])
    sees = np.eye(3)[label].transpose(2, 0, 1)
    one, two = sees.copy(), sees.copy()
    one[:, label == 1] = [[0.6, 0.6], [0.4, 0.4], [0.0, 0.0]]  # takes class 1 for 0
    two[:, label == 2] = [[0.6, 0.6], [0.0, 0.0], [0.4, 0.4]]  # takes class 2 for 0
    rule = fit_pick([("a", [one, two], label)])
    assert rule.fitted_on == ("a",)
    assert [row[1:] for row in rule.weights] == [(0.0, 1.0), (1.0, 0.0)]
    combined = rule([one, two])
    np.testing.assert_array_equal(combined[1], two[1].astype(np.float32))
    np.testing.assert_array_equal(combined[2], one[2].astype(np.float32))


def test_a_class_that_no_image_has_goes_to_the_better_annotator() -> None:
    images = scenes(4, sharp=(0.5, 4.0))
    wider = [
        (name, [np.concatenate([m, np.zeros_like(m[:1])]) for m in maps], label)
        for name, maps, label in images
    ]
    rule = fit_pick(wider)
    assert [row[3] for row in rule.weights] == [0.0, 1.0]


def test_a_stack_of_independent_annotators_beats_both_on_other_images() -> None:
    images = scenes(24, sharp=(1.5, 1.5), noise=(1.0, 1.0))
    rule = fit_stack(images[:12])
    alone = [right(images[12:], lambda maps, a=a: maps[a]) for a in (0, 1)]
    assert right(images[12:], rule) > max(alone) + 0.02


def test_a_stack_turns_away_from_an_annotator_that_knows_nothing() -> None:
    rule = fit_stack(scenes(12, sharp=(2.0, 0.0), noise=(0.5, 1.0)))
    assert rule.weights[0][0] > 5 * abs(rule.weights[1][0])


def test_a_stack_gives_scores_that_sum_to_one_also_of_zeros() -> None:
    maps = [np.zeros((3, 2, 2), np.float16), np.eye(3, dtype=np.float16)[:, :, None]]
    maps[1] = np.broadcast_to(maps[1][:, :2], (3, 2, 1)).repeat(2, axis=2)
    combined = fit_stack(scenes(3))(maps)
    np.testing.assert_allclose(combined.sum(0), 1, atol=1e-6)


def test_a_fit_is_the_same_twice() -> None:
    assert fit_stack(scenes(5)) == fit_stack(scenes(5))


def test_the_ignored_pixels_do_not_count() -> None:
    images = scenes(5)
    spoilt = []
    for name, maps, label in images:
        label = label.copy()
        label[:4] = 255
        other = [m.copy() for m in maps]
        for scores in other:
            scores[:, :4] = 1 / 3
        spoilt.append((name, other, label))
    clean = [(name, [m[:, 4:] for m in maps], label[4:]) for name, maps, label in images]
    assert fit_stack(spoilt) == fit_stack(clean)
    assert fit_pick(spoilt) == fit_pick(clean)


def test_the_fingerprint_lists_all_images_that_any_part_was_fitted_on() -> None:
    rule = Combination("stack", ((1.0,), (1.0,)), (0.0,), ("b",))
    made = rule.fingerprint([{"annotator": "a", "fitted_on": ["c", "a"]}, {"annotator": "b"}])
    assert made["fitted_on"] == ["a", "b", "c"]
    assert made["of"][1] == {"annotator": "b"}


@pytest.mark.parametrize("fit", [fit_pick, fit_stack])
def test_what_cannot_be_fitted_on_is_refused(fit) -> None:
    name, maps, label = scenes(1)[0]
    with pytest.raises(EmptyCalibrationError, match="no labelled pixel"):
        fit([])
    with pytest.raises(EmptyCalibrationError, match="no labelled pixel"):
        fit([(name, maps, np.full_like(label, 255))])
    with pytest.raises(ShapeError, match="image im0"):
        fit([(name, maps, label[1:])])
    with pytest.raises(LabelError, match="holds 3"):
        fit([(name, maps, label + 1)])
    with pytest.raises(ScoreError, match="annotator 1"):
        fit([(name, [maps[0], maps[1] + 1], label)])
    with pytest.raises(ScoreError, match="annotator 0"):
        fit([(name, [maps[0] * np.nan, maps[1]], label)])


@pytest.mark.parametrize("rule", ["mean", "pick", "stack"])
def test_a_volume_is_combined_as_its_slices_are(rule) -> None:
    images = scenes(3, noise=(0.5, 1.5))
    volumes = [
        (name, [scores.reshape(3, 4, 3, 12) for scores in maps], label.reshape(4, 3, 12))
        for name, maps, label in images
    ]
    fit = {"mean": lambda images: mean_of(2, 3), "pick": fit_pick, "stack": fit_stack}[rule]
    of_images, of_volumes = fit(images), fit(volumes)
    assert of_volumes == of_images
    combined = of_volumes(volumes[0][1])
    assert combined.shape == (3, 4, 3, 12)
    assert np.array_equal(combined.reshape(3, 12, 12), of_images(images[0][1]))


def test_maps_that_do_not_fit_are_refused() -> None:
    maps = [np.zeros((3, 2, 2)), np.zeros((3, 2, 3))]
    with pytest.raises(ShapeError, match="one shape"):
        mean_of(2, 3)(maps)
    with pytest.raises(ShapeError, match="4 classes"):
        mean_of(2, 4)(maps[:1] * 2)
    with pytest.raises(OptionError, match="2 annotators, got 1"):
        mean_of(2, 3)(maps[:1])
    with pytest.raises(OptionError, match="an annotator"):
        mean_of(0, 3)
    with pytest.raises(OptionError, match="median"):
        Combination("median", ((1.0,),), (0.0,))
    with pytest.raises(OptionError, match="each annotator and class"):
        Combination("mean", ((1.0,),), (0.0, 0.0))
