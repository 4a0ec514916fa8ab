"""Recall of objects: what NumPy counts, and what can be asked of it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from conformal_plugin import calibrate, choose
from conformal_plugin._choices import RULES
from conformal_plugin.errors import OptionError

ALPHA = (0.2, 0.4)
CLASSES = 4


def scenes(images=8, seed=0, skill=0.5, unsure=0.0):
    """Blocky labels with ignored pixels; of some images the annotator doubts every object."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, CLASSES, (images, 4, 4)) * (rng.random((images, 4, 4)) < 0.6)
    labels = blocks.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    right = labels[:, None] == np.arange(CLASSES)[:, None, None]
    scores = skill * right + (1 - skill) * rng.random((images, CLASSES, 16, 16))
    scores[: round(unsure * images), 1:] *= 0.5
    scores[:, 0] = 0.4 + 0.6 * scores[:, 0]
    labels[rng.random(labels.shape) < 0.1] = 255
    return scores.astype(np.float16), labels


def labelled_by_hand(scores, qhat, rule, background):
    """The rule of one image, pixel sets written out; -1 where it is dropped."""
    inside = 1 - scores.astype(float) <= qhat
    if rule == "singleton":
        return np.where(inside.sum(axis=0) == 1, inside.argmax(axis=0), -1)
    candidates = np.where(inside, scores.astype(float), -1)
    if rule == "foreground-first":
        candidates[background] = np.where(inside[background], -0.5, -1)
    best = candidates.argmax(axis=0)
    return np.where(candidates.max(axis=0) == -1, -1, best)


def hits_by_hand(scores, labels, alpha, rule, objects, background):
    """Each image's right labels on objects, labelled at the threshold of all others."""
    hits = []
    for own in range(len(scores)):
        rest = np.arange(len(scores)) != own
        qhat = math.inf if alpha is None else calibrate(scores[rest], labels[rest], alpha).qhat
        made = labelled_by_hand(scores[own], qhat, rule, background)
        hits.append(((made == labels[own]) & np.isin(labels[own], objects)).sum())
    return np.array(hits)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**16),
    background=st.integers(0, CLASSES - 1),
    classes=st.sets(st.integers(0, CLASSES - 1), min_size=2),
)
def test_it_is_what_numpy_counts(seed, background, classes):
    scores, labels = scenes(images=5, seed=seed)
    choice = choose(
        scores, labels, alphas=ALPHA, class_alphas=(), classes=sorted(classes),
        background=background, ids=range(5),
    )  # fmt: skip
    objects = sorted(classes - {background})
    pixels = np.isin(labels, objects).sum(axis=(1, 2))
    everywhere = choice.constant.label in objects
    expected = (labels == choice.constant.label).sum() / pixels.sum() if everywhere else 0
    assert choice.constant.recall == pytest.approx(expected)
    gains = {}
    for candidate in choice.candidates:
        arguments = (candidate.alpha, candidate.rule, objects, background)
        hits = hits_by_hand(scores, labels, *arguments)
        assert candidate.recall == pytest.approx(hits.sum() / pixels.sum())
        without = (hits.sum() - hits) / (pixels.sum() - pixels)
        spread = np.sqrt(4 / 5 * ((without - without.mean()) ** 2).sum())
        assert candidate.recall_se == pytest.approx(spread)
        gains[candidate] = without
    for candidate, without in gains.items():
        paired = without - gains[choice.proposed]
        spread = np.sqrt(4 / 5 * ((paired - paired.mean()) ** 2).sum())
        assert candidate.recall_gain == pytest.approx(candidate.recall - choice.proposed.recall)
        assert candidate.recall_gain_se == pytest.approx(spread, abs=1e-12)


def test_a_wanted_recall():
    wanted = 0.8
    free = choose(*scenes(skill=0.4))
    assert free.proposed.recall - free.proposed.recall_se < wanted
    choice = choose(*scenes(skill=0.4), want_recall=wanted)
    sure = [c for c in choice.candidates if c.recall - c.recall_se >= wanted and c.useful]
    assert choice.fulfilled
    assert choice.want_recall == wanted
    assert choice.proposed.information == max(c.information for c in sure)
    assert choice.proposed.information < free.proposed.information
    assert json.loads(choice.to_json())["want_recall"] == wanted
    assert choice.calibration is not None
    assert choice.calibration.rule == choice.rule
    assert "By information" not in choice.verdict


def test_the_nearest_is_shown_where_a_wanted_recall_is_out_of_reach():
    choice = choose(*scenes(), want_recall=0.9999)
    assert not choice.fulfilled
    nearest = max(c.recall - c.recall_se for c in choice.candidates if c.useful)
    assert choice.proposed.recall - choice.proposed.recall_se == nearest
    assert "reaches a recall of 99.99 % of the objects' pixels with a standard" in choice.verdict


def test_the_proposal_says_it():
    choice = choose(*scenes())
    best = choice.proposed
    said = f"{100 * best.recall:.1f} ± {100 * best.recall_se:.1f} % of the objects' pixels get the"
    assert (
        f"keep one, {said} right label, they tell {100 * best.information:.1f} ±" in choice.verdict
    )


def test_without_an_object_there_is_no_recall():
    scores, labels = scenes()
    for choice in (
        choose(scores, np.minimum(labels, np.where(labels == 255, 255, 0))),
        choose(scores, labels, classes=[0]),
    ):
        assert all(math.isnan(c.recall) for c in choice.candidates)
        assert "of the objects' pixels get" not in choice.verdict
        assert "keep one, they tell" in choice.verdict
        content = json.loads(choice.to_json())
        assert content["proposed"]["recall"] is None
        assert content["constant"]["recall"] is None
    with pytest.raises(OptionError, match=r"of a class of \[0\] other than the background 0; lab"):
        choose(scores, labels, classes=[0], want_recall=0.8)


def test_objects_in_one_image_alone_have_no_standard_error():
    scores, labels = scenes()
    labels[1:][labels[1:] != 255] = 0
    choice = choose(scores, labels, alphas=ALPHA)
    assert choice.proposed.recall > 0
    assert math.isnan(choice.proposed.recall_se)
    assert f"{100 * choice.proposed.recall:.1f} ± ? % of the objects' pixels" in choice.verdict
    assert not choose(scores, labels, alphas=ALPHA, want_recall=0.01).fulfilled


@pytest.mark.parametrize("other", ["want_precision", "want_kept"])
def test_one_wish_at_most(other):
    with pytest.raises(OptionError, match=f"{other} 0.5 and want_recall 0.5 were given together"):
        choose(*scenes(images=2), **{other: 0.5, "want_recall": 0.5})


def test_a_wish_that_is_no_share_is_refused():
    with pytest.raises(OptionError, match=r"want_recall must be a share in \(0, 1\]"):
        choose(*scenes(images=2), want_recall=80)


def test_the_rules_differ_in_recall():
    """Foreground-first labels the most of the objects: a set of several has one of them."""
    choice = choose(*scenes(), alphas=(0.05,), class_alphas=())
    recalls = {c.rule: c.recall for c in choice.candidates[:-1]}
    assert set(recalls) == set(RULES)
    assert recalls["foreground-first"] > recalls["most-probable"] > recalls["singleton"]
