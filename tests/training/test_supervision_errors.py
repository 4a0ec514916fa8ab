"""What ConformalSupervision refuses: each message says what was expected, what came, what to do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import conformal_plugin
from conformal_plugin import ConformalSupervision
from conformal_plugin.errors import (
    DeviceMismatchError,
    InputTypeError,
    LabelError,
    OptionError,
    ScoreError,
    ShapeError,
    UninformativeThresholdError,
)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"criterion": 3}, InputTypeError, "criterion must be callable as criterion(logits"),
        (
            {"criterion": nn.CrossEntropyLoss},
            InputTypeError,
            "got the class CrossEntropyLoss; call it: CrossEntropyLoss()",
        ),
        ({"schedule": (60, 80)}, InputTypeError, "schedule must be a TwoStage, got tuple"),
        ({"ignore_index": None}, InputTypeError, "ignore_index must be an int, got None"),
        ({"denominator": "all"}, OptionError, "'valid' (pixels that are not padding) or 'kept'"),
        ({"weight": "1"}, InputTypeError, "weight must be a number, got '1'"),
        ({"weight": -1.0}, OptionError, "weight must be finite and at least 0, got -1.0"),
        ({"weight": math.nan}, OptionError, "weight must be finite and at least 0, got nan"),
        ({"num_classes": 1}, OptionError, "whole number of at least 2, got 1"),
        ({"rule": "argmax"}, OptionError, "rule must be one of foreground-first, most-probable"),
        ({"background": 5, "num_classes": 5}, OptionError, "class index in 0 ... 4, got 5"),
        ({"ignore_index": 3, "num_classes": 5}, LabelError, "ignore_index 3 is a class"),
        ({"calibration": 1.0}, UninformativeThresholdError, "qhat is 1, so every class is in"),
        ({"calibration": math.inf}, UninformativeThresholdError, "calibrate with a larger alpha"),
        ({"calibration": [0.5, 1.0]}, UninformativeThresholdError, "qhat of classes [1] is 1"),
        ({"calibration": math.nan}, OptionError, "qhat must be a Calibration, a number or one"),
        (
            {"calibration": [0.5, 0.5], "num_classes": 3},
            ShapeError,
            "the calibration has 2 classes and num_classes is 3; leave num_classes out",
        ),
        (
            {"criterion": nn.CrossEntropyLoss(ignore_index=0), "num_classes": 5},
            OptionError,
            "skips label 0, which is a class of the 5 classes here; build it with ignore_index=255",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ConformalSupervision(**({"criterion": nn.CrossEntropyLoss()} | options))
    assert message in str(caught.value)


def test_a_criterion_that_skips_nothing() -> None:
    class Careless(nn.Module):
        ignore_index = None

        def forward(self, logits: Any, target: Any) -> Any: ...

    with pytest.raises(OptionError, match="ignore_index is None, so it would learn from dropped"):
        ConformalSupervision(Careless())


def test_an_uninformative_calibration() -> None:
    scores = np.full((1, 2, 2, 2), 0.5)
    calibration = conformal_plugin.calibrate(scores, np.zeros((1, 2, 2), dtype=int), alpha=0.01)
    assert not calibration.informative
    with pytest.raises(UninformativeThresholdError, match=r"alpha 0\.01 is too small"):
        ConformalSupervision(nn.CrossEntropyLoss(), calibration=calibration)


LOGITS = torch.zeros(2, 5, 3, 4)
PSEUDO = torch.zeros(2, 3, 4, dtype=torch.int64)
VALID = torch.ones(2, 3, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((LOGITS.numpy(), PSEUDO), InputTypeError, "floating-point torch tensor, got ndarray"),
        ((LOGITS.long(), PSEUDO), InputTypeError, "tensor, got torch.int64; pass the model's"),
        ((LOGITS[0], PSEUDO), ShapeError, "of volumes, got (5, 3, 4); add the batch axis"),
        ((LOGITS[:, :1], PSEUDO), ShapeError, "two classes, (N, K, H, W), got (2, 1, 3, 4); for"),
        ((LOGITS, None), InputTypeError, "pseudo must be a torch tensor in stage I, got NoneType"),
        ((LOGITS, PSEUDO[0]), ShapeError, "(2, 3, 4) or class scores (2, 5, 3, 4), got (3, 4)"),
        (
            (LOGITS, PSEUDO[:, :2]),
            ShapeError,
            "(2, 3, 4) to go with logits of shape (2, 5, 3, 4), got (2, 2, 4); bring the logits to",
        ),
        ((LOGITS, LOGITS[:, :4]), ShapeError, "shape (2, 5, 3, 4) to go with logits of shape"),
        ((LOGITS, LOGITS.byte()), InputTypeError, "floating point, got torch.uint8"),
        ((LOGITS, PSEUDO.float()), InputTypeError, "must be integers, got torch.float32; convert"),
        ((LOGITS, PSEUDO.bool()), InputTypeError, "must be integers, got torch.bool; convert"),
        ((LOGITS, LOGITS), OptionError, "need a threshold: expected ConformalSupervision("),
        ((LOGITS, PSEUDO, 0, VALID.long()), InputTypeError, "got torch.int64; with a mask that"),
        ((LOGITS, PSEUDO, 0, [True]), InputTypeError, "False on padding, got list"),
        ((LOGITS, PSEUDO, 0, VALID[:1]), ShapeError, "valid must have shape (2, 3, 4) to go with"),
        ((LOGITS, PSEUDO, torch.tensor(1)), InputTypeError, "Python int or float, got Tensor"),
        ((LOGITS, PSEUDO, -1), OptionError, "finite and at least 0, got -1"),
        (
            (LOGITS, PSEUDO.to("meta")),
            DeviceMismatchError,
            "logits are on cpu and pseudo on meta; move it with pseudo.to(logits.device",
        ),
        (
            (LOGITS, PSEUDO, 0, VALID.to("meta")),
            DeviceMismatchError,
            "logits are on cpu and valid on meta",
        ),
        (
            (LOGITS, PSEUDO + 254),
            LabelError,
            "index 255, got 254 at 24 pixels; make the labels class indices, and mark dropped",
        ),
        ((LOGITS, PSEUDO - 1), LabelError, "got -1 at 24 pixels"),
        ((LOGITS, torch.arange(24).view(2, 3, 4)), LabelError, "got 5, 6, 7, 8, 9, ... at 19"),
    ],
)
def test_bad_arguments(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ConformalSupervision(nn.CrossEntropyLoss())(*arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, 1.5, -0.5])
def test_bad_scores(value: float) -> None:
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), calibration=0.5)
    with pytest.raises(ScoreError, match="must lie in \\[0, 1\\], found"):
        supervise(LOGITS, torch.full_like(LOGITS, value))


def test_thresholds_of_another_class_list() -> None:
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), calibration=[0.5] * 4)
    with pytest.raises(ShapeError, match=r"expected logits with 4 classes, .* got 5 channels"):
        supervise(LOGITS, LOGITS)


def test_options_that_only_the_logits_can_contradict() -> None:
    with pytest.raises(LabelError, match="ignore_index 3 is a class of the 5"):
        ConformalSupervision(nn.CrossEntropyLoss(), ignore_index=3)(LOGITS, PSEUDO)
    with pytest.raises(OptionError, match="background must be a class index"):
        ConformalSupervision(nn.CrossEntropyLoss(), background=9)(LOGITS, PSEUDO)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        ((torch.zeros(()), None), InputTypeError, "must return a tensor, got tuple; wrap it"),
        (torch.zeros(2), ShapeError, "one value per pixel, (2, 3, 4), got (2,); these are"),
        (torch.zeros(2, 5, 3, 4), ShapeError, "(2, 3, 4), got (2, 5, 3, 4)"),
    ],
)
def test_criteria_that_return_something_else(
    result: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        ConformalSupervision(lambda logits, target: result)(LOGITS, PSEUDO)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (lambda x, y: x.sigmoid(), r"got \(2, 3, 4, 5\).*each class.*\.mean\(1\).*'bce'"),
        (lambda x, y: x.mean((1, 2, 3)), r"got \(2,\).*each image.*\.mean\(\).*'dice'"),
        (lambda x, y: x[:, 0, 0], r"got \(2, 5\); have it return the pixels in place"),
    ],
    ids=["class", "image", "other"],
)
def test_values_that_are_not_of_pixels_say_what_makes_them_so(criterion, message):
    pseudo = torch.zeros(2, 4, 5, dtype=torch.long)
    with pytest.raises(ShapeError, match=message):
        ConformalSupervision(criterion)(torch.randn(2, 3, 4, 5), pseudo)
