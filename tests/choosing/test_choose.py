"""The proposal is the best of the grid on images that did not calibrate it, and says how sure."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from conformal_plugin import (
    Calibration,
    calibrate,
    calibrate_class_conditional,
    choose,
    evaluate,
    filter,
)
from conformal_plugin._choices import RULES
from conformal_plugin.errors import (
    AlphaError,
    EmptyCalibrationError,
    InputTypeError,
    LabelError,
    OptionError,
    ScoreError,
    ShapeError,
    TooFewImagesError,
)

ALPHA = (0.05, 0.2, 0.4)


def without_weights(choice):
    assert choice.calibration.label_weights is not None
    return replace(choice.calibration, label_weights=None)


def scenes(images=10, seed=0, skill=0.5, classes=4, dtype=np.float16):
    """Blocky labels, and an annotator of some skill that is over-confident of the background."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (images, 4, 4)) * (rng.random((images, 4, 4)) < 0.6)
    labels = blocks.repeat(5, axis=1).repeat(5, axis=2).astype(np.uint8)
    right = labels[:, None] == np.arange(classes)[:, None, None]
    scores = skill * right + (1 - skill) * rng.random((images, classes, 20, 20))
    scores[:, 0] = 0.5 + 0.5 * scores[:, 0]
    return scores.astype(dtype), labels


def by_hand(scores, labels, alpha, rule, folds):
    """Confusion over folds, each calibrated on the others, with the public functions."""
    total = 0
    number = np.arange(len(scores)) % folds
    for fold in range(folds):
        rest, own = number != fold, number == fold
        qhat = calibrate(scores[rest], labels[rest], alpha).qhat
        total = total + evaluate(scores[own], labels[own], qhat, rule=rule).confusion
    return total


@pytest.mark.parametrize("folds", [3, 100])
def test_the_table_is_cross_conformal(folds):
    scores, labels = scenes()
    choice = choose(scores, labels, alphas=ALPHA, class_alphas=(), folds=folds)
    assert choice.folds == min(folds, 10)
    assert len(choice.candidates) == len(RULES) * len(ALPHA) + 1
    for candidate in choice.candidates[:-1]:
        confusion = by_hand(scores, labels, candidate.alpha, candidate.rule, choice.folds)
        hits, kept = np.diagonal(confusion), confusion[:, :-1].sum(axis=0)
        union = confusion.sum(axis=1) + kept - hits
        assert candidate.miou == pytest.approx((hits / union).mean())
        assert candidate.kept == pytest.approx(kept.sum() / confusion.sum())
        assert candidate.precision == pytest.approx(hits.sum() / kept.sum(), nan_ok=True)
        assert candidate.qhat == calibrate(scores, labels, candidate.alpha).qhat
        assert candidate.miou_se > 0
    raw = evaluate(scores, labels, math.inf, rule="most-probable")
    assert choice.raw.alpha is None
    assert choice.raw.miou == pytest.approx(raw.miou())
    assert choice.raw.precision == pytest.approx(raw.precision)


def test_class_conditional_thresholds_are_cross_conformal_too():
    scores, labels = scenes()
    choice = choose(scores, labels, alphas=ALPHA, class_alphas=(0.1, 0.3))
    by_class = [c for c in choice.candidates if c.thresholds == "class-conditional"]
    rules = ["most-probable", "singleton"]
    assert [(c.rule, c.alpha) for c in by_class] == [(r, a) for r in rules for a in (0.3, 0.1)]
    for candidate in by_class:
        total = 0
        for own in range(len(scores)):
            rest = np.arange(len(scores)) != own
            found = calibrate_class_conditional(
                scores[rest], labels[rest], candidate.alpha, min_images=5
            )
            one = evaluate(scores[own], labels[own], found.qhat, rule=candidate.rule)
            total = total + one.confusion
        assert candidate.kept == pytest.approx(total[:, :-1].sum() / total.sum())
        assert candidate.precision == pytest.approx(np.trace(total) / total[:, :-1].sum())
        all_images = calibrate_class_conditional(scores, labels, candidate.alpha, min_images=5)
        assert candidate.qhat == all_images.qhat.max()


def test_of_groups_it_is_groups_that_must_be_enough_for_a_class():
    scores, labels = scenes(18)
    groups = np.array([f"g{i % 6}" for i in range(18)])
    labels %= 3
    labels[groups < "g3", :5] = 3  # nine images of three groups
    choice = choose(scores, labels, alphas=ALPHA, class_alphas=(0.3,), groups=groups)
    assert choice.n_groups == 6
    for candidate in choice.candidates:
        if candidate.thresholds != "class-conditional":
            continue
        total = 0
        for own in np.unique(groups):
            rest = groups != own
            found = calibrate_class_conditional(
                scores[rest], labels[rest], candidate.alpha, min_images=5, groups=groups[rest]
            )
            assert 3 in found.pooled_classes
            one = evaluate(scores[~rest], labels[~rest], found.qhat, rule=candidate.rule)
            total = total + one.confusion
        assert candidate.kept == pytest.approx(total[:, :-1].sum() / total.sum())


def test_two_classes_can_change_places():
    """Of two classes, either may be the one that is over-called."""
    scores, labels = scenes(classes=2)
    of_two = choose(scores, labels, alphas=(0.1,)).candidates
    backgrounds = [c.background for c in of_two if c.rule == "foreground-first"]
    assert backgrounds == [0, 1]
    of_more = choose(*scenes(), alphas=(0.1,)).candidates
    assert [c.background for c in of_more if c.rule == "foreground-first"] == [0]


def test_an_over_called_object_is_no_trap():
    """The paper's rule calls everything an object here; what is proposed does not."""
    scores, labels = scenes(images=20, classes=2, skill=0.3, dtype=np.float64)
    scores[:, 1] = 0.6 + 0.4 * scores[:, 1]
    scores[:, 0] = 0.3 * scores[:, 0]
    choice = choose(scores, labels)
    paper = next(c for c in choice.candidates if (c.rule, c.alpha) == ("foreground-first", 0.05))
    assert choice.worth_using
    assert choice.proposed.precision > paper.precision + 0.1
    assert choice.proposed.information > 2 * paper.information
    made = filter(scores, choice.calibration)
    assert (made[made != 255] == labels[made != 255]).mean() > 0.8


def test_without_a_background_every_class_is_an_object():
    scores, labels = scenes()
    choice = choose(scores, labels, alphas=ALPHA, background=None)
    assert choice.background is None
    assert {c.rule for c in choice.candidates} == {"most-probable", "singleton"}
    assert choice.raw.recall == pytest.approx(choice.raw.precision)
    assert choice.calibration.background is None
    assert filter(scores[0], choice.calibration).shape == labels[0].shape


def test_own_labels_that_tell_as_much_speak_against_the_annotator():
    scores, labels = scenes(images=20)
    better = np.where(labels[:, None] == np.arange(4)[:, None, None], np.float16(1), np.float16(0))
    free = choose(scores, labels, alphas=ALPHA)
    assert free.worth_using
    assert free.own is None
    assert "--own-maps" in free.verdict
    choice = choose(scores, labels, alphas=ALPHA, own=better)
    assert not choice.worth_using
    assert choice.own.information == pytest.approx(1)
    assert choice.own.gain == pytest.approx(choice.proposed.information - 1)
    assert choice.own.gain_se > 0
    assert choice.verdict.startswith("This annotator is not worth using here")
    poor, _ = scenes(images=20, seed=5)  # of other images
    assert choose(scores, labels, alphas=ALPHA, own=poor).worth_using
    with pytest.raises(ShapeError, match="scores ended after 19 images"):
        choose(list(scores), list(labels), own=list(better[:-1]))
    with pytest.raises(ShapeError, match="own scores must have the annotator's 4 classes, got 3"):
        choose(scores, labels, own=better[:, :3])


def test_remarks_say_what_the_labels_give_away():
    scores, labels = scenes(images=20)
    flipped = choose(scores, np.where(labels == 0, 3, np.where(labels == 3, 0, labels)))
    assert "Class 0 is taken for the background, and class 3 is more common" in flipped.verdict
    assert not [r for r in choose(scores, labels).remarks if "taken for the background" in r]


def test_without_a_wish_the_most_information_is_proposed():
    choice = choose(*scenes(), alphas=ALPHA, class_alphas=())
    useful = [c for c in choice.candidates if c.useful]
    assert choice.proposed.information == max(c.information for c in useful)
    assert choice.proposed.behind == 0
    assert choice.worth_using
    assert choice.fulfilled
    assert choice.proposed.thresholds == "pixel"
    alone = calibrate(*scenes(), choice.alpha)
    assert choice.rule == choice.proposed.rule
    assert without_weights(choice) == replace(alone, rule=choice.rule, background=0)
    assert f"at alpha {choice.alpha:g}" in choice.verdict


def test_the_calibration_is_used_with_the_proposed_rule():
    scores, labels = scenes()
    choice = choose(scores, labels, alphas=ALPHA, rules=["singleton"], want_precision=0.95)
    assert choice.calibration is not None
    asked = {"rule": choice.rule, "background": choice.background}
    np.testing.assert_array_equal(
        filter(scores[0], choice.calibration), filter(scores[0], choice.calibration.qhat, **asked)
    )
    with pytest.raises(OptionError, match=f"the calibration is for rule='{choice.rule}'"):
        filter(scores[0], choice.calibration, rule="foreground-first")
    assert not choice.calibration.promises_precision


def test_a_wanted_precision():
    choice = choose(*scenes(skill=0.4), want_precision=0.94)
    sure = [c for c in choice.candidates if c.precision - c.precision_se >= 0.94 and c.usable]
    assert choice.fulfilled
    assert choice.proposed.information == max(c.information for c in sure if c.useful)
    assert choice.proposed.information < max(c.information for c in choice.candidates)


def test_a_wanted_kept_share():
    choice = choose(*scenes(), want_kept=0.9)
    sure = [c for c in choice.candidates if c.kept - c.kept_se >= 0.9 and c.usable]
    assert choice.fulfilled
    assert choice.proposed.precision == max(c.precision for c in sure if c.useful)


def test_what_cannot_be_reached_is_said():
    choice = choose(*scenes(skill=0.2), want_precision=0.999)
    assert not choice.fulfilled
    assert "Nothing in the grid reaches a precision of 99.9 %" in choice.verdict


def test_an_annotator_without_skill_is_not_worth_using():
    choice = choose(*scenes(images=30, skill=0.0))
    assert not choice.worth_using
    assert choice.verdict.startswith("This annotator is not worth using")
    assert choice.constant.label == 0
    assert choice.constant.precision == pytest.approx((scenes(images=30)[1] == 0).mean())
    assert not json.loads(choice.to_json())["worth_using"]


def test_a_swapped_class_order_is_not_worth_using():
    scores, labels = scenes(images=30)
    assert choose(scores, labels).worth_using
    assert not choose(scores[:, [1, 2, 3, 0]], labels).worth_using


def test_labels_of_one_class_leave_nothing_to_learn():
    scores, labels = scenes()
    choice = choose(scores, np.zeros_like(labels))
    assert not choice.worth_using
    assert choice.constant.precision == 1


def test_the_raw_annotator_is_proposed_where_no_threshold_says_anything():
    """Half of the true classes are scored 0: every q-hat of a smaller alpha is 1."""
    scores, labels = scenes(images=20, skill=0.9)
    missed = np.arange(20) % 2 == 0
    scores[:, :, missed] = 0.0  # argmax then says background, which is right at times
    choice = choose(scores, labels, alphas=(0.01, 0.05))
    assert not any(c.usable for c in choice.candidates if c.alpha)
    assert choice.raw.usable
    assert choice.alpha is None
    assert choice.calibration is None
    assert choice.rule == "most-probable"
    assert "no filter, the most probable class" in choice.verdict
    assert "the true class 0 on more than 5 % of the pixels" in choice.verdict
    assert json.loads(choice.to_json())["proposed"]["qhat"] == "inf"


def test_no_evidence_of_background_is_said_and_made_up_for():
    scores, labels = scenes(images=20, skill=0.9)
    scores[:, 0] = 0.0
    verdict = choose(scores, labels).verdict
    assert "No calibrated rule can be used" in verdict
    assert "--background-rule complement" in verdict
    scores[:, 0] = 1 - scores[:, 1:].max(axis=1)
    assert "No calibrated rule" not in choose(scores, labels).verdict


def test_images_come_in_any_form_and_once():
    scores, labels = scenes()
    ids = [f"image {i}" for i in range(10)]
    expected = choose(scores, labels, alphas=ALPHA).to_json()
    assert choose(list(scores), list(labels), alphas=ALPHA, ids=ids).to_json() == expected
    twice = choose([*scores, *scores[:3]], [*labels, *labels[:3]], alphas=ALPHA, ids=ids + ids[:3])
    assert json.loads(twice.to_json())["candidates"] == json.loads(expected)["candidates"]
    blank = np.full_like(labels[:1], 255)
    padded = choose(
        np.concatenate([scores[:1], scores]), np.concatenate([blank, labels]), alphas=ALPHA
    )
    assert padded.to_json() == expected


def test_float32_gets_its_exact_threshold():
    scores, labels = scenes(dtype=np.float32)
    choice = choose(scores, labels, alphas=ALPHA, class_alphas=())
    alone = calibrate(scores, labels, choice.alpha)
    assert without_weights(choice) == replace(alone, rule=choice.rule, background=0)
    assert choice.calibration.resolution == 0
    choice = choose(scores, labels, alphas=ALPHA)
    assert choice.proposed.thresholds == "class-conditional"
    alone = calibrate_class_conditional(scores, labels, choice.alpha, min_images=5)
    assert without_weights(choice) == replace(alone, rule=choice.rule, background=0)
    assert choice.calibration.resolution == 0


def test_classes_limit_the_miou():
    scores, labels = scenes()
    choice = choose(scores, labels, alphas=ALPHA, classes=[1, 2])
    assert choice.classes == (1, 2)
    raw = evaluate(scores, labels, math.inf, rule="most-probable")
    assert choice.raw.miou == pytest.approx(raw.miou([1, 2]))


def test_json_holds_everything_and_the_calibration_reads_back():
    choice = choose(*scenes(), alphas=ALPHA)
    content = json.loads(choice.to_json())
    assert content["proposed"]["alpha"] == choice.alpha
    assert len(content["candidates"]) == len(choice.candidates)
    assert Calibration.from_json(json.dumps(content["calibration"])) == choice.calibration
    assert content["verdict"] == choice.verdict.splitlines()
    assert repr(choice) == f"Choice({choice.verdict})"


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (
            OptionError,
            {"want_precision": 0.9, "want_kept": 0.9},
            "want_precision 0.9 and want_kept 0.9 were given together",
        ),
        (OptionError, {"want_precision": 95}, r"share in \(0, 1\], such as 0.95, got 95"),
        (OptionError, {"want_kept": True}, "want_kept must be a share"),
        (AlphaError, {"alphas": (0.1, 1.0)}, "strictly between 0 and 1"),
        (OptionError, {"alphas": ()}, "at least one alpha"),
        (OptionError, {"rules": ("argmax",)}, "rules must be of foreground-first"),
        (OptionError, {"folds": 1}, "at least 2, got 1"),
        (OptionError, {"background": 4}, "background must be a class index in 0 ... 3"),
        (OptionError, {"classes": [0, 9]}, r"0 ... 3, got \[0, 9\]"),
        (LabelError, {"ignore_index": 2}, "is a class"),
    ],
)
def test_bad_options_are_refused(error, options, message):
    with pytest.raises(error, match=message):
        choose(*scenes(images=2), **options)


@pytest.mark.parametrize("options", [{"background": 4}, {"classes": [9]}, {"classes": []}])
def test_options_are_checked_against_the_first_image(options):
    scores, labels = scenes(images=64)
    labels[0, 0, 0] = 77  # reading even the first image would be refused for this label
    with pytest.raises(OptionError, match=r"0 \.\.\. 3"):
        choose(list(scores), list(labels), **options)


def test_bad_data_is_refused():
    scores, labels = scenes(images=3)
    with pytest.raises(InputTypeError, match="reads the images twice"):
        choose(iter(scores), iter(labels))
    with pytest.raises(ShapeError, match="separate points"):
        choose(scores[0, :, 0].T, labels[0, 0])
    with pytest.raises(TooFewImagesError, match="one alone"):
        choose(scores[:1], labels[:1])
    with pytest.raises(EmptyCalibrationError, match="no image holds a labelled pixel"):
        choose(scores, np.full_like(labels, 255))
    with pytest.raises(OptionError, match="none of the classes"):
        choose(scores, np.zeros_like(labels), classes=[1])
    bad = scores.copy()
    bad[1, 3, 0, 0] = 7.0
    with pytest.raises(ScoreError, match=r"image 1 \(counted from 0\).*must lie in"):
        choose(list(bad), list(labels))


class Changing:
    """Labels that lose pixels each time they are read."""

    def __init__(self, labels):
        self.labels = labels
        self.readings = 0

    def __iter__(self):
        self.readings += 1
        changed = self.labels.copy()
        changed[:, : self.readings] = 255
        return iter(changed)


def test_data_that_changes_between_readings_is_refused():
    scores, labels = scenes()
    with pytest.raises(OptionError, match="second reading found other images"):
        choose(list(scores), Changing(labels))
