"""Whether the device gives what the CPU gives, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from material import ALPHA, IGNORE, QHAT, Size, made, with_odd_scores
from report import Report
from setting import Deadline, Setting, device_path
from torch import Tensor

from conformal_plugin import (
    Calibrator,
    calibrate,
    calibrate_class_conditional,
    calibrate_image_level,
    evaluate,
    filter,
    prediction_sets,
)
from conformal_plugin._choices import RULES
from conformal_plugin.errors import ConformalError

__all__ = ["run"]

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.uint8)
Question = Callable[[Tensor, Tensor], Any]


def run(setting: Setting, report: Report) -> None:
    deadline = Deadline(setting.seconds)
    many = _DTYPES[:1] if setting.small else _DTYPES
    cases = [(21, dtype) for dtype in _DTYPES] + [(150, dtype) for dtype in many]
    for classes, dtype in cases:
        what = f"{str(dtype).removeprefix('torch.')}, {classes} classes"
        if deadline.passed():
            report.check(what, False, "no time was left for it")
            continue
        wrong, asked = _differences(setting, dtype, classes)
        report.check(what, not wrong, ", ".join(wrong) or f"{asked} results equal")


def _differences(setting: Setting, dtype: torch.dtype, classes: int) -> tuple[list[str], int]:
    """What comes out differently, and how much was asked."""
    side = 12 if setting.small else 257
    # Made in floating point; integer maps are these in steps of 1 / 255.
    real = dtype if dtype.is_floating_point else torch.float32
    maps, labels = made(Size(2, classes, side, side + 1), real, setting.device)
    maps = with_odd_scores(maps)
    if not dtype.is_floating_point:
        maps = (maps * 255).to(dtype)
    questions = dict(_questions(classes))
    here = maps.cpu(), labels.cpu()
    wrong = []
    for name, question in questions.items():
        expected = _answer(question, *here)
        with device_path(setting):
            found = _answer(question, maps, labels)
        if not _same(expected, found):
            wrong.append(name)
    return wrong, len(questions)


def _questions(classes: int) -> Iterator[tuple[str, Question]]:
    per_class = [QHAT + 0.5 * c / classes for c in range(classes)]
    for rule in RULES:
        yield f"filter, {rule}", lambda m, y, r=rule: filter(m, QHAT, rule=r)
        yield f"evaluate, {rule}", lambda m, y, r=rule: evaluate(m, y, QHAT, rule=r)
        yield (
            f"filter, {rule}, thresholds per class",
            lambda m, y, r=rule: filter(m, per_class, rule=r, background=2),
        )
    yield "evaluate, argmax", lambda m, y: evaluate(m, y, math.inf, rule="most-probable")
    yield "evaluate, thresholds per class", lambda m, y: evaluate(m, y, per_class)
    for name, qhat in {"one": QHAT, "infinite": math.inf, "per class": per_class}.items():
        yield f"prediction_sets, {name}", lambda m, y, q=qhat: prediction_sets(m, q)
    for alpha in (ALPHA, 0.3, 1e-9):
        yield f"calibrate, alpha {alpha}", lambda m, y, a=alpha: calibrate(m, y, a)
    yield "Calibrator", _streamed
    yield "calibrate_image_level", lambda m, y: calibrate_image_level(m, y, 0.4)
    yield "calibrate_class_conditional", lambda m, y: calibrate_class_conditional(m, y, 0.3)
    yield "a score that is none", lambda m, y: filter(_spoilt(m), QHAT)
    yield "a true score that is none", lambda m, y: calibrate(_spoilt(m), y)
    yield "a label that is none", lambda m, y: calibrate(m, torch.full_like(y, IGNORE - 1))
    yield "a threshold that says nothing", lambda m, y: filter(torch.ones_like(m), QHAT)


def _streamed(maps: Tensor, labels: Tensor) -> Any:
    calibrator = Calibrator()
    for image, truth in zip(maps, labels):
        calibrator.update(image, truth)
    return [value for _, value in sorted(calibrator.state().items())]


def _spoilt(maps: Tensor) -> Tensor:
    """With a class whose scores are negative or above 1, or NaN."""
    maps = maps.to(torch.float32) if not maps.is_floating_point() else maps.clone()
    maps[0, 1] = 1.5
    maps[0, 1, 0] = math.nan
    maps[0, 1, 1] = -0.25
    return maps


def _answer(question: Question, maps: Tensor, labels: Tensor) -> Any:
    """What the package answers, refusals included."""
    try:
        return question(maps, labels)
    except ConformalError as error:
        return f"{type(error).__name__}: {error}"


def _same(expected: Any, found: Any) -> bool:
    if isinstance(expected, Tensor):
        return (
            isinstance(found, Tensor)
            and expected.dtype == found.dtype
            and torch.equal(expected, found.cpu())
        )
    if isinstance(expected, list):
        return len(expected) == len(found) and all(map(np.array_equal, expected, found))
    return bool(expected == found)
