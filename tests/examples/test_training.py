"""The annotator and the student: honest errors, learning, and forks that change nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from annotator import annotate, train_annotator
from material import IGNORE, Split
from scenes import CLASSES, PHOTO, STUDIO, draw_many
from students import PretrainedStudent
from training import Recipe, build_student, confusion, mean_iou, train

from conformal_plugin import TwoStage, evaluate
from conformal_plugin.errors import MissingExtraError

RECIPE = Recipe("small", steps=8, crop=32, zoom=(0.8, 1.2), lr=4e-3, new_lr=4e-3, batch=2)


@pytest.fixture(scope="module")
def photos() -> Split:
    return Split(*draw_many(PHOTO, 12, seed=3))


def test_the_annotator_is_better_at_home_than_on_photos() -> None:
    torch.set_num_threads(1)
    annotator = train_annotator(steps=60, scenes=64)
    quality = {}
    for name, domain in (("home", STUDIO), ("away", PHOTO)):
        images, labels = draw_many(domain, 24, seed=9)
        scores = annotate(annotator, images)
        assert scores.shape == (24, len(CLASSES), 64, 64)
        assert scores.min() >= 0
        assert scores.max() <= 1
        # Every threshold is as loose as can be: the rule is foreground against background alone.
        quality[name] = evaluate(scores, labels, 0.7, rule="foreground-first").miou()
    assert quality["home"] > quality["away"] + 0.03
    assert quality["away"] > 1 / len(CLASSES) ** 2


def test_a_student_learns_its_labelled_photos(photos: Split) -> None:
    recipe = replace(RECIPE, steps=40, crop=64, zoom=(1.0, 1.0), batch=4)
    student = build_student(recipe, len(CLASSES), seed=0)
    before = mean_iou(confusion(student, photos, len(CLASSES)))
    schedule = TwoStage(recipe.steps, recipe.steps)
    train(student, recipe, photos, photos.photos, None, seed=0, schedule=schedule, until=40)
    after = mean_iou(confusion(student, photos, len(CLASSES)))
    assert after > before + 0.1


def test_a_fork_goes_on_as_if_it_had_not_been_interrupted(photos: Split) -> None:
    schedule = TwoStage(5, RECIPE.steps)

    def go(student: torch.nn.Module, until: int, state: object = None) -> dict:
        return train(
            student,
            RECIPE,
            photos,
            photos.photos,
            photos.truth,
            seed=4,
            schedule=schedule,
            until=until,
            resume=state,
        )

    whole = go(build_student(RECIPE, len(CLASSES), seed=4), RECIPE.steps)
    half = go(build_student(RECIPE, len(CLASSES), seed=4), 5)
    go(build_student(RECIPE, len(CLASSES), seed=99), RECIPE.steps, half)  # must not touch `half`
    rest = go(build_student(RECIPE, len(CLASSES), seed=99), RECIPE.steps, half)
    for name, value in whole["student"].items():
        assert torch.equal(value, rest["student"][name]), name


def test_labels_that_drop_every_pixel_leave_the_labelled_loss(photos: Split) -> None:
    nothing = np.full((12, 64, 64), IGNORE, np.uint8)
    student = build_student(RECIPE, len(CLASSES), seed=0)
    state = train(
        student,
        RECIPE,
        photos,
        photos.photos,
        nothing,
        seed=0,
        schedule=TwoStage(RECIPE.steps, RECIPE.steps),
        until=RECIPE.steps,
    )
    assert all(v.isfinite().all() for v in state["student"].values())


def test_mean_iou_by_hand() -> None:
    # Two classes in the truth, one that is only predicted and so does not count.
    counts = np.array([[6, 1, 1], [0, 2, 0], [0, 0, 0]])
    assert math.isclose(mean_iou(counts), (6 / 8 + 2 / 3) / 2)
    assert math.isclose(mean_iou(counts, [1]), 2 / 3)


def test_confusion_takes_any_size_and_skips_ignored_pixels() -> None:
    student = build_student(RECIPE, 3, seed=0)
    shapes = [(33, 50), (64, 40), (33, 50)]
    truth = [np.zeros(shape, np.uint8) for shape in shapes]
    truth[1][:10] = IGNORE
    split = Split([np.zeros((3, *shape), np.uint8) for shape in shapes], truth)
    counts = confusion(student, split, 3)
    assert counts.sum() == 2 * 33 * 50 + 54 * 40
    assert counts[1:].sum() == 0


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(MissingExtraError, match=r"pretrained.*--student small"):
        PretrainedStudent(3)
