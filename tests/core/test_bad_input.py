"""Every bad input is refused with what was expected, what came and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import conformal_plugin as cp
from conformal_plugin import errors
from conformal_plugin.scores import RecentReadings

SCORES = np.full((3, 4, 5), 0.3, dtype=np.float32)
LABELS = np.zeros((4, 5), dtype=np.uint8)


def spoiled(value: float) -> np.ndarray:
    scores = SCORES.copy()
    scores[0, 1, 2] = value
    return scores


def labels_with(value: int) -> np.ndarray:
    labels = LABELS.astype(np.int64)
    labels[0, :2] = value
    return labels


CALIBRATION_CASES: list[tuple[str, Callable[[], Any], type[Exception], list[str]]] = [
    (
        "NaN",
        lambda: (spoiled(math.nan), LABELS),
        errors.ScoreError,
        ["[0, 1]", "1 NaN", "find where"],
    ),
    (
        "above 1",
        lambda: (spoiled(1.5), LABELS),
        errors.ScoreError,
        ["1 outside, between 1.5", "clip"],
    ),
    ("below 0", lambda: (spoiled(-0.25), LABELS), errors.ScoreError, ["-0.25", "softmax"]),
    ("infinite", lambda: (spoiled(math.inf), LABELS), errors.ScoreError, ["inf"]),
    (
        "negative integer",
        lambda: ((SCORES * 0 - 1).astype(np.int8), LABELS),
        errors.ScoreError,
        ["outside, between -1 and -1"],
    ),
    (
        "label too large",
        lambda: (SCORES, labels_with(3)),
        errors.LabelError,
        ["0 ... 2", "found 3 (2 pixels)", "number of classes"],
    ),
    ("label negative", lambda: (SCORES, labels_with(-1)), errors.LabelError, ["found -1", "255"]),
    ("palette colours", lambda: (SCORES, labels_with(220)), errors.LabelError, ["220", "indices"]),
    (
        "float labels",
        lambda: (SCORES, LABELS.astype(float)),
        errors.InputTypeError,
        ["must be integers", "float64", "int64"],
    ),
    ("bool labels", lambda: (SCORES, LABELS > 0), errors.InputTypeError, ["bool"]),
    (
        "integer logits",
        lambda: (SCORES.astype(np.int64), LABELS),
        errors.InputTypeError,
        ["8- or 16-bit", "int64", "float32"],
    ),
    (
        "one channel",
        lambda: (SCORES[:1], LABELS),
        errors.ShapeError,
        ["at least two classes", "(1, 4, 5)", "from_foreground"],
    ),
    (
        "one channel in a batch",
        lambda: (SCORES[None, :1], LABELS[None]),
        errors.ShapeError,
        ["from_foreground"],
    ),
    ("one dimension", lambda: (SCORES[0, 0], LABELS[0]), errors.ShapeError, ["(K, H, W)", "(5,)"]),
    (
        "five dimensions",
        lambda: (SCORES[None, None], LABELS),
        errors.ShapeError,
        ["(1, 1, 3, 4, 5)"],
    ),
    (
        "no pixel",
        lambda: (SCORES[:, :0], LABELS[:0]),
        errors.ShapeError,
        ["at least one pixel", "(3, 0, 5)"],
    ),
    (
        "other size",
        lambda: (SCORES, LABELS.T),
        errors.ShapeError,
        ["(4, 5)", "(3, 4, 5)", "got (5, 4)", "resize"],
    ),
    (
        "channels last",
        lambda: (SCORES.transpose(1, 2, 0), LABELS),
        errors.ShapeError,
        ["order of the axes"],
    ),
    ("no array", lambda: (0.5, LABELS), errors.InputTypeError, ["arrays", "float"]),
    (
        "labels as a list",
        lambda: (SCORES, [[0] * 5] * 4),
        errors.InputTypeError,
        ["labels", "list"],
    ),
    ("text", lambda: ("maps/", LABELS), errors.InputTypeError, ["str"]),
    (
        "NumPy strings",
        lambda: (SCORES.astype("U3"), LABELS),
        errors.InputTypeError,
        ["<U3", "astype"],
    ),
    (
        "labels end early",
        lambda: ([SCORES] * 3, [LABELS] * 2),
        errors.ShapeError,
        ["ended after 2 images"],
    ),
    (
        "scores end early",
        lambda: ([SCORES] * 2, [LABELS] * 3),
        errors.ShapeError,
        ["ended after 2 images"],
    ),
    (
        "second image bad",
        lambda: ([SCORES, spoiled(7.0)], [LABELS] * 2),
        errors.ScoreError,
        ["image 1 (counted from 0)", "7"],
    ),
    (
        "number of classes changes",
        lambda: ([SCORES, SCORES[:2]], [LABELS] * 2),
        errors.ShapeError,
        ["3 came first, now 2", "annotator"],
    ),
    (
        "all ignored",
        lambda: (SCORES, LABELS + 255),
        errors.EmptyCalibrationError,
        ["every label is 255"],
    ),
    ("nothing", lambda: ([], []), errors.EmptyCalibrationError, ["nothing was passed"]),
    (
        "devices differ",
        lambda: (torch.from_numpy(SCORES), torch.from_numpy(LABELS).to("meta")),
        errors.DeviceMismatchError,
        ["scores are on cpu", "labels on meta", ".to(device)"],
    ),
]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [case[1:] for case in CALIBRATION_CASES],
    ids=[case[0] for case in CALIBRATION_CASES],
)
def test_calibrate_and_evaluate_refuse(
    make: Callable[[], Any], error: type[Exception], words: list[str]
) -> None:
    scores, labels = make()
    for call in (lambda: cp.calibrate(scores, labels), lambda: cp.evaluate(scores, labels, 0.9)):
        with pytest.raises(error) as caught:
            call()
        for word in words:
            assert word in str(caught.value)


def test_calibrate_refuses_scores_of_two_dtypes() -> None:
    with pytest.raises(errors.InputTypeError, match="float32 came first, now float16; convert"):
        cp.calibrate([SCORES, SCORES.astype(np.float16)], [LABELS] * 2)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5, math.nan, math.inf, "0.1", None, True, [0.1]])
def test_alpha_outside_the_open_interval_is_refused_before_anything_is_read(alpha: Any) -> None:
    def never_read() -> Any:
        raise AssertionError("the data was read before alpha was checked")
        yield

    with pytest.raises(errors.AlphaError) as caught:
        cp.calibrate(never_read(), never_read(), alpha)
    for word in ("strictly between 0 and 1", "0.05", repr(alpha)):
        assert word in str(caught.value)


def test_a_refused_update_counts_nothing() -> None:
    calibrator = cp.Calibrator()
    calibrator.update(SCORES, LABELS)
    before = calibrator.state()
    with pytest.raises(errors.ScoreError):
        calibrator.update(np.stack([SCORES, spoiled(2.0)]), np.stack([LABELS, LABELS]))
    for name, value in calibrator.state().items():
        assert np.array_equal(value, before[name])
    evaluator = cp.Evaluator(0.9)
    evaluator.update(SCORES, LABELS)
    expected = evaluator.result()
    with pytest.raises(errors.LabelError):
        evaluator.update([SCORES, SCORES], [LABELS, labels_with(9)])
    assert evaluator.result() == expected


def test_an_ignore_index_that_is_a_class_is_refused() -> None:
    many = np.zeros((300, 1, 1), dtype=np.float32)
    for call in (
        lambda: cp.calibrate(many, np.zeros((1, 1), int)),
        lambda: cp.filter(many, 0.5),
        lambda: cp.evaluate(many, np.zeros((1, 1), int), 0.5),
    ):
        with pytest.raises(
            errors.LabelError, match="ignore_index 255 is a class of the 300 .*65535"
        ):
            call()
    with pytest.raises(errors.OptionError, match="ignore_index must be an integer, got 2.5"):
        cp.Calibrator(ignore_index=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [math.nan, -0.2, 1.2])
def test_filter_and_sets_check_every_class(bad: float) -> None:
    masks = np.full((3, 300, 300), 0.3)
    masks[2, 299, 299] = bad
    for call in (cp.filter, cp.prediction_sets):
        with pytest.raises(errors.ScoreError, match="scores must lie in"):
            call(masks, 0.5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"rule": "best"},
            errors.OptionError,
            "foreground-first, most-probable, singleton, got 'best'",
        ),
        ({"background": 3}, errors.OptionError, "0 ... 2, got 3; .*most-probable"),
        ({"background": -1}, errors.OptionError, "got -1"),
        ({"background": 0.5}, errors.OptionError, "got 0.5"),
        ({"ignore_index": 2}, errors.LabelError, "ignore_index 2 is a class"),
        ({"ignore_index": 2**40}, errors.LabelError, "must fit 32 bits"),
        ({"qhat": math.nan}, errors.OptionError, "no NaN"),
        ({"qhat": "0.5x"}, errors.OptionError, "got '0.5x'"),
        ({"qhat": None}, errors.OptionError, "Calibration"),
        ({"qhat": True}, errors.OptionError, "got True"),
        ({"qhat": [0.1, 0.2]}, errors.ShapeError, r"one per class, 3 here, got shape \(2,\)"),
        ({"qhat": np.zeros((3, 1))}, errors.ShapeError, r"\(3, 1\)"),
    ],
)
def test_filter_refuses_options(options: dict, error: type[Exception], message: str) -> None:
    arguments = {"masks": SCORES, "qhat": 0.5} | options
    with pytest.raises(error, match=message):
        cp.filter(**arguments)


def test_filter_takes_maps_alone() -> None:
    with pytest.raises(
        errors.ShapeError, match=r"\(N, K, H, W\) or \(N, K, D, H, W\), got \(5, 3\)"
    ):
        cp.filter(np.zeros((5, 3)), 0.5)
    with pytest.raises(errors.ShapeError, match="from_foreground"):
        cp.filter(np.zeros((1, 5, 5)), 0.5)
    with pytest.raises(errors.InputTypeError, match="masks must be a NumPy array.* got list"):
        cp.filter([[0.5]], 0.5)


def test_a_calibration_of_other_classes_is_refused() -> None:
    calibration = cp.calibrate(SCORES, LABELS, 0.5)
    with pytest.raises(errors.ShapeError, match="made with 3 classes and the masks have 4"):
        cp.filter(np.full((4, 2, 2), 0.5), calibration)


@pytest.mark.parametrize("qhat", [1.0, math.inf, 1.7, [0.2, 1.0, 0.3]])
def test_uninformative_thresholds_are_refused_with_the_remedy(qhat: Any) -> None:
    with pytest.raises(errors.UninformativeThresholdError) as caught:
        cp.filter(SCORES, qhat)
    assert "every class is in every prediction set" in str(caught.value) or "[1]" in str(
        caught.value
    )
    assert "larger alpha or more labelled images" in str(caught.value)


def test_uninformative_calibrations_say_why() -> None:
    few = cp.calibrate(SCORES, LABELS, 0.01)
    assert few.qhat == math.inf
    assert not few.informative
    with pytest.raises(errors.UninformativeThresholdError, match="0.01 is too small for 20 calib"):
        cp.filter(SCORES, few)
    missed = np.zeros_like(SCORES)
    missed[1] = 1.0
    blind = cp.calibrate(missed, LABELS, 0.5)
    assert blind.qhat == 1.0
    with pytest.raises(
        errors.UninformativeThresholdError, match="true class that the annotator scores 0"
    ):
        cp.filter(missed, blind)


def test_full_sets_everywhere_are_refused() -> None:
    with pytest.raises(errors.UninformativeThresholdError, match="every one of the 3 classes"):
        cp.filter(SCORES, 0.9)
    informative = SCORES.copy()
    informative[2, 0, 0] = 0.05
    assert (cp.filter(informative, 0.9) == 1).all()


def test_data_that_changes_between_readings_is_refused() -> None:
    class Augmented:
        """Scores that differ each time they are read."""

        readings = 0

        def __iter__(self):
            self.readings += 1
            rng = np.random.default_rng(10 + self.readings)
            return iter([rng.random((3, 40, 50)).astype(np.float32)])

    scores, labels = Augmented(), [np.zeros((40, 50), int)]
    calibrator = cp.Calibrator()
    calibrator.update(scores, labels)
    with pytest.raises(errors.OptionError, match="same each time it is read, without random aug"):
        calibrator.exact_result(scores, labels, 0.1)


def test_more_than_a_little_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small data is held, so that it is read once; of large data the second reading is the same."""

    class Counted:
        read = 0

        def __iter__(self):
            for image in images:
                self.read += 1
                yield image

    rng = np.random.default_rng(0)
    images = [rng.random((3, 40, 50)).astype(np.float32) for _ in range(3)]
    labels = [rng.integers(0, 3, (40, 50)) for _ in images]
    small, large = Counted(), Counted()
    remembered = cp.calibrate(small, labels, 0.1)
    assert small.read == 3
    monkeypatch.setattr(RecentReadings.__init__, "__defaults__", (3 * 40 * 50,))
    assert cp.calibrate(large, labels, 0.1) == remembered
    assert 6 < large.read <= 9  # those that were held before it became too much, and twice all


def test_calibrators_that_do_not_fit_do_not_merge() -> None:
    with pytest.raises(errors.OptionError, match="ignore_index 255 and -1"):
        cp.Calibrator().merge(cp.Calibrator(ignore_index=-1))
