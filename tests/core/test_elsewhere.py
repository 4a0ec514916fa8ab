"""What maps on a GPU are given to, tried on a CPU: the same results to the bit."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conformal_plugin import (
    Calibrator,
    calibrate,
    calibrate_image_level,
    choose,
    evaluate,
    filter,
    prediction_sets,
)
from conformal_plugin._choices import RULES
from conformal_plugin.errors import ConformalError
from conformal_plugin.labelling import label_maps
from conformal_plugin.scores import _arrays

DTYPES = ["float16", "bfloat16", "float32", "float64", "uint8", "int16"]
CLASSES = 5
PER_CLASS = [0.2, 0.7, 0.5, 0.9, 0.4]
NONE_OF_ONE = [0.2, -1.0, 0.5, 0.9, 0.4]


@contextmanager
def on_another_device() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_arrays, "all_elsewhere", True)
        yield


def both(function: Callable[[], Any]) -> tuple[Any, Any]:
    """What the ways of a CPU's maps and of others come to, refusals included."""

    def answer() -> Any:
        try:
            return function()
        except ConformalError as error:
            return f"{type(error).__name__}: {error}"

    here = answer()
    with on_another_device():
        return here, answer()


def assert_equal(function: Callable[[], Any]) -> Any:
    here, there = both(function)
    if isinstance(here, Tensor):
        assert here.dtype == there.dtype
        assert torch.equal(here, there)
    else:
        assert here == there
    return here


def maps_of(name: str, images: int = 3, height: int = 9, width: int = 11) -> tuple[Tensor, Tensor]:
    """Maps with scores of 0, -0 and 1 and with classes that tie, and labels, some ignored."""
    draw = torch.Generator().manual_seed(0)
    shape = (images, CLASSES, height, width)
    maps = torch.rand(shape, generator=draw, dtype=torch.float64)
    maps[:, :, 0] = 0.0
    maps[:, 1, 0, ::2] = -0.0
    maps[:, 2, 0, ::3] = 1.0
    maps[:, :, 1] = maps[:, :1, 1]
    maps[:, 1:, 2] = maps[:, 1:2, 2]
    labels = torch.randint(CLASSES, (images, height, width), generator=draw)
    labels[torch.rand(labels.shape, generator=draw) < 0.2] = 255
    dtype = getattr(torch, name)
    top = 1 if dtype.is_floating_point else torch.iinfo(dtype).max
    return (maps * top).to(dtype), labels.to(torch.uint8)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("qhat", [0.4, PER_CLASS, NONE_OF_ONE])
@pytest.mark.parametrize("background", [0, 2, CLASSES - 1])
def test_labels_and_measurements(name: str, rule: str, qhat: Any, background: int) -> None:
    maps, labels = maps_of(name)
    options: dict[str, Any] = {"rule": rule, "background": background}
    found = assert_equal(lambda: filter(maps, qhat, **options))
    assert len(found.unique()) > 2
    assert_equal(lambda: filter(maps[0], qhat, **options, ignore_index=-1))
    assert_equal(lambda: evaluate(maps, labels, qhat, **options))


@pytest.mark.parametrize("name", DTYPES)
def test_prediction_sets(name: str) -> None:
    maps, _ = maps_of(name)
    for qhat in (0.4, math.inf, PER_CLASS, NONE_OF_ONE):
        assert_equal(lambda qhat=qhat: prediction_sets(maps, qhat))
        one = assert_equal(lambda qhat=qhat: prediction_sets(maps[1], qhat))
        assert one.shape == maps[1].shape


@pytest.mark.parametrize("name", DTYPES)
def test_calibrations(name: str) -> None:
    maps, labels = maps_of(name)
    for alpha in (0.05, 0.3, 0.9, 1e-9):
        assert_equal(lambda alpha=alpha: calibrate(maps, labels, alpha))
    assert_equal(lambda: calibrate_image_level(maps, labels, 0.3))
    points = maps.movedim(1, -1).reshape(-1, CLASSES)
    assert_equal(lambda: calibrate(points, labels.flatten(), 0.1))
    assert_equal(lambda: evaluate(points, labels.flatten(), 0.4))


def test_choose() -> None:
    maps, labels = maps_of("float32", images=6)
    assert_equal(lambda: choose(list(maps), list(labels), alphas=(0.1, 0.3), folds=3).to_json())


def with_bad_scores(maps: Tensor) -> Tensor:
    maps = maps.clone()
    maps[0, 1, 3] = math.nan
    maps[0, 1, 4] = -0.25
    maps[0, 1, 5] = 1.5
    return maps


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_what_is_no_score_or_label_is_refused_in_the_same_words(name: str) -> None:
    maps, labels = maps_of(name)
    bad = with_bad_scores(maps)
    for function in (
        lambda: filter(bad, 0.4),
        lambda: prediction_sets(bad, PER_CLASS),
        lambda: evaluate(bad, labels, 0.4),
        lambda: calibrate(bad, labels),
        lambda: calibrate(maps, labels.long().masked_fill(labels == 3, CLASSES)),
        lambda: calibrate(maps, labels.long().masked_fill(labels == 3, -1)),
    ):
        message = assert_equal(function)
        assert message.startswith(("ScoreError", "LabelError"))


@pytest.mark.parametrize("qhat", [0.9, [0.9, 0.8, 0.95, 0.9, 0.99]])
def test_sets_that_leave_nothing_out_are_refused(qhat: Any) -> None:
    maps, _ = maps_of("float32")
    full = maps.clamp(min=0.25)
    assert assert_equal(lambda: filter(full, qhat)).startswith("UninformativeThresholdError")
    full[2, 4, -1, -1] = 0.005  # out of its set, which has the least bound of all
    assert isinstance(assert_equal(lambda: filter(full, qhat)), Tensor)


def test_a_score_between_the_bounds_of_two_classes_is_looked_at_by_class() -> None:
    maps = torch.full((1, 2, 2, 2), 0.5)
    for qhat, full in (([0.6, 0.9], True), ([0.4, 0.9], False)):
        maps[0, 1, 0, 0] = 0.2  # in the second class's set alone
        refused = isinstance(assert_equal(lambda qhat=qhat: filter(maps, qhat)), str)
        assert refused == full


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("qhat", [0.4, PER_CLASS])
def test_a_score_that_is_none_is_in_no_set(rule: str, qhat: Any) -> None:
    """In training on a GPU, where scores are not looked at."""
    maps, _ = maps_of("float32")
    least = [1 - q for q in (qhat if isinstance(qhat, list) else [qhat] * CLASSES)]
    bad = maps.clone()
    bad[:, :, 3] = math.nan
    labels = label_maps(bad, least, rule=rule, background=0, ignore_index=255)
    rest = label_maps(maps, least, rule=rule, background=0, ignore_index=255)
    assert bool((labels[:, 3] == 255).all())
    assert torch.equal(labels[:, 4:], rest[:, 4:])


def test_all_is_done_by_the_calling_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread has another current stream, which does not wait for what is on this one's."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    threads = set()
    gather = torch.Tensor.gather

    def watched(*args: Any) -> Tensor:
        threads.add(threading.get_ident())
        return gather(*args)

    monkeypatch.setattr(torch.Tensor, "gather", watched)
    maps, labels = maps_of("float32")
    try:
        with on_another_device():
            calibrate(maps, labels)
            calibrate(iter(maps), iter(labels))
            evaluate(maps, labels, 0.4)
            choose(list(maps), list(labels), alphas=(0.1,), folds=3)
    finally:
        torch.set_num_threads(before)
    assert threads == {threading.get_ident()}


def test_a_stream_counts_the_same() -> None:
    maps, labels = maps_of("float32")

    def streamed() -> Any:
        calibrator = Calibrator()
        for image, truth in zip(maps, labels):
            calibrator.update(image, truth)
        return {name: np.asarray(value).tolist() for name, value in calibrator.state().items()}

    assert_equal(streamed)
