"""What an epoch was trained on, class by class, and the warning where one swallows the labels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conformal_plugin import Calibration, ConformalSupervision, calibrate
from conformal_plugin.errors import ShapeError
from conformal_plugin.training import TrainedOn

VOC = [733, 9, 3, 8, 6, 6, 16, 13, 24, 10, 8, 12, 15, 8, 10, 43, 6, 8, 13, 14, 8]


def summary(*pixels: int, kept: float = 0.5) -> dict[str, Any]:
    return {"kept": kept, "kept_pixels_per_class": list(pixels)}


def test_the_shares_are_of_the_labels_and_of_the_labelled_photos() -> None:
    found = TrainedOn.of(summary(30, 10, 0), [2, 1, 1])
    assert found.labels == (0.75, 0.25, 0.0)
    assert found.labelled == (0.5, 0.25, 0.25)
    assert str(found).endswith("0 75.0% (50.0%), 1 25.0% (25.0%), 2 0.0% (25.0%)")


def test_classes_that_are_nowhere_are_not_listed() -> None:
    assert str(TrainedOn.of(summary(3, 0, 0, 1), [1, 1, 0, 2])).endswith(
        "): 0 75.0% (25.0%), 1 0.0% (25.0%), 3 25.0% (50.0%)"
    )
    assert str(TrainedOn.of(summary(3, 0, 0, 1))).endswith("in the labels: 0 75.0%, 3 25.0%")


def test_a_calibration_brings_the_labelled_photos_shares(batch: Any) -> None:
    labels = np.array([[[0, 0, 1, 255]]])
    calibration = calibrate(np.full((1, 3, 1, 4), 0.6, np.float32), labels, alpha=0.5)
    again = Calibration.from_json(calibration.to_json())  # they are stored
    assert TrainedOn.of(summary(1, 1, 2), again).labelled == (2 / 3, 1 / 3, 0.0)


def test_the_loss_is_the_mean_of_the_terms(batch: Any) -> None:
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), weight=0.5)
    terms = [supervise(batch.logits * scale, batch.pseudo).item() for scale in (1, 2, 3)]
    said = supervise.summary()
    assert said["loss"] == pytest.approx(sum(terms) / 3)
    assert TrainedOn.of(said).loss == said["loss"]
    supervise.reset()
    assert supervise.summary()["loss"] is None
    supervise(batch.logits * torch.nan, batch.pseudo)
    assert supervise.summary()["loss"] is None
    json.dumps(supervise.summary(), allow_nan=False)


@pytest.mark.parametrize(
    ("labels", "labelled", "swallowed"),
    [
        ((98, 1, 1), None, 0),
        ((97, 2, 1), None, None),
        ((95, 3, 2), (73, 20, 7), 0),  # the others: 5 % of 27 %
        ((90, 5, 5), (73, 20, 7), None),  # 10 % of 27 %
        ((98, 1, 1), (97, 2, 1), None),  # mostly background, and so are the labelled photos
        ((3, 75, 2), (60, 10, 30), 1),
        ((1, 1, 2), (60, 10, 30), None),
        ((0, 5, 0), (1, 0, 0), 1),  # a class that the labelled photos do not show
        ((5, 0, 0), (9, 0, 0), None),  # nor are there others in the labelled photos
        ((0, 0, 0), (1, 1, 1), None),
    ],
)
def test_a_class_that_swallows_the_labels(
    labels: tuple[int, ...], labelled: tuple[int, ...] | None, swallowed: int | None
) -> None:
    found = TrainedOn.of(summary(*labels), labelled)
    assert found.swallowed == swallowed
    said = f"class {swallowed} swallows the labels: it has "
    assert found.warning().startswith(said) == (swallowed is not None)
    assert swallowed is None or found.warned_of == {swallowed}


def test_a_class_that_has_collapsed_is_warned_of() -> None:
    found = TrainedOn.of(summary(90, 5, 5), [73, 20, 7])
    assert found.far_off == (1,)
    assert found.warned_of == {1}
    assert "times as much or as little: class 1 5.0% instead of 20.0%. Where" in found.warning()


@pytest.mark.parametrize(
    ("labels", "labelled"),
    [
        ((997, 3), (1000, 0)),  # rare in both
        ((70, 10, 20), (70, 29, 1)),  # within three times, and beyond
        ((70, 10, 20), None),
    ],
)
def test_what_is_rare_or_near_is_no_collapse(
    labels: tuple[int, ...], labelled: tuple[int, ...] | None
) -> None:
    found = TrainedOn.of(summary(*labels), labelled)
    assert 1 not in found.far_off
    assert found.far_off == ((2,) if labelled and len(labelled) == 3 else ())


def test_a_long_list_of_classes_is_cut() -> None:
    many = TrainedOn.of(summary(*[4] * 20, *[1] * 20), [*[1] * 20, *[4] * 20])
    assert many.far_off == tuple(range(40))
    assert many.warning().count(" instead of ") == 6
    assert ", .... Where" in many.warning()


def test_labels_alike_to_the_labelled_photos_are_no_reason_to_warn() -> None:
    assert TrainedOn.of(summary(*VOC), VOC).swallowed is None


def test_of_many_classes_those_furthest_off_are_named() -> None:
    labels, labelled = [10] * 150, [10] * 150
    labels[140], labelled[7] = 500, 500
    line = str(TrainedOn.of(summary(*labels), labelled))
    assert "the 21 furthest off" in line
    assert ", 140 25.1% (0.5%)" in line
    assert ", 7 0.5% (25.1%)" in line
    assert line.count("%") == 1 + 2 * 21
    assert "the 21 largest" in str(TrainedOn.of(summary(*labels)))


def test_without_labels_there_are_no_shares() -> None:
    assert str(TrainedOn.of(summary(0, 0, kept=0.0), [1, 1])) == (
        "0.0% of the unlabelled pixels carried a label"
    )
    nothing = {"kept": None, "kept_pixels_per_class": []}
    assert str(TrainedOn.of(nothing, [1, 1])) == "no pixel carried a label"
    assert TrainedOn.of(nothing).scalars() == {}


def test_scalars_name_each_class() -> None:
    found = TrainedOn.of({**summary(*[1] * 11), "loss": 2.0}, [1] * 11)
    assert {"kept", "loss", "labels/00", "labels/10", "labelled/05"} <= found.scalars().keys()
    assert len(found.scalars()) == 2 + 2 * 11


def test_another_class_list_is_refused() -> None:
    with pytest.raises(ShapeError, match="each of the 3 classes of the model, but got 2; pass"):
        TrainedOn.of(summary(1, 1, 1), [1, 1])
