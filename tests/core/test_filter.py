"""Pseudo-labels and prediction sets against the definition, written out in NumPy."""

from __future__ import annotations

import math

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import conformal_plugin as cp
from conformal_plugin import filter, prediction_sets
from conformal_plugin._choices import RULES
from conformal_plugin.errors import UninformativeThresholdError
from conformal_plugin.labelling import label_maps, least_scores
from conformal_plugin.scores import grid_of

DTYPES = ("float16", "float32", "float64", "bfloat16", "uint8", "int8", "int16") + (
    ("uint16",) if hasattr(torch, "uint16") else ()
)


def by_definition(scores: np.ndarray, qhat, rule: str, background: int, ignore: int) -> np.ndarray:
    """One image's labels: float64 scores (K, H, W), the rules word by word."""
    thresholds = np.broadcast_to(np.asarray(qhat, float), scores.shape[0])
    members = 1.0 - scores <= thresholds[:, None, None]
    labels = np.full(scores.shape[1:], ignore, dtype=np.int64)
    for at in np.ndindex(*labels.shape):
        inside = [c for c in range(scores.shape[0]) if members[(c, *at)]]
        foreground = [c for c in inside if c != background]
        if rule == "singleton":
            if len(inside) == 1:
                labels[at] = inside[0]
            continue
        candidates = foreground if rule == "foreground-first" and foreground else inside
        if candidates:
            labels[at] = max(candidates, key=lambda c: (scores[(c, *at)], -c))
    return labels


def make(dtype: str, seed: int, shape=(5, 6, 7)) -> tuple[torch.Tensor, np.ndarray]:
    """Scores with many ties in ``dtype``, and as float64."""
    rng = np.random.default_rng(seed)
    real = np.round(rng.random(shape) * 8) / 8 * (rng.random(shape) < 0.8)
    if "float" in dtype:
        tensor = torch.from_numpy(real).to(getattr(torch, dtype))
        return tensor, tensor.double().numpy()
    top = np.iinfo(dtype).max
    values = np.round(real * top).astype(dtype)
    return torch.from_numpy(values), values.astype(np.float64) / top


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=st.integers(0, 10**6), qhat=st.floats(0, 0.999), background=st.integers(0, 4))
def test_labels_follow_the_rules(
    rule: str, dtype: str, seed: int, qhat: float, background: int
) -> None:
    tensor, real = make(dtype, seed)
    labels = filter(tensor, qhat, rule=rule, background=background)
    assert labels.dtype == torch.uint8
    assert np.array_equal(labels.numpy(), by_definition(real, qhat, rule, background, 255))


@pytest.mark.parametrize("rule", RULES)
@given(
    seed=st.integers(0, 10**6),
    qhat=st.lists(
        st.one_of(st.floats(0, 0.999), st.just(-math.inf)), min_size=5, max_size=5
    ).filter(lambda q: min(q) < 0.9),
)
def test_one_threshold_per_class(rule: str, seed: int, qhat: list[float]) -> None:
    tensor, real = make("float32", seed)
    labels = filter(tensor, qhat, rule=rule)
    assert np.array_equal(labels.numpy(), by_definition(real, qhat, rule, 0, 255))


@given(seed=st.integers(0, 10**6), qhat=st.floats(-0.5, 1.5))
def test_prediction_sets_follow_the_definition(seed: int, qhat: float) -> None:
    for dtype in DTYPES:
        tensor, real = make(dtype, seed)
        sets = prediction_sets(tensor, qhat)
        assert sets.dtype == torch.bool
        assert np.array_equal(sets.numpy(), 1.0 - real <= qhat)


@pytest.mark.parametrize("rule", RULES)
def test_images_larger_than_a_block_and_batches(rule: str) -> None:
    rng = np.random.default_rng(1)
    batch = np.round(rng.random((3, 4, 301, 257)) * 16).astype(np.float32) / 16
    expected = np.stack([by_definition(image.astype(float), 0.7, rule, 0, 255) for image in batch])
    labels = filter(batch, 0.7, rule=rule)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, expected)
    channels_last = np.ascontiguousarray(batch.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(filter(channels_last, 0.7, rule=rule), expected)
    assert np.array_equal(filter(batch[:, :, ::-1], 0.7, rule=rule), expected[:, ::-1])
    torch_labels = filter(
        torch.from_numpy(batch).to(memory_format=torch.channels_last), 0.7, rule=rule
    )
    assert np.array_equal(torch_labels.numpy(), expected)


def test_ties_go_to_the_lowest_class() -> None:
    masks = np.full((4, 2, 2), 0.25)
    masks[0, 0, 0] = 0.2
    assert (filter(masks, 0.76) == 1).all()
    assert filter(masks, 0.76, rule="most-probable").tolist() == [[1, 0], [0, 0]]
    assert (filter(masks, 0.76, background=1, rule="foreground-first")[1] == 0).all()


@pytest.mark.parametrize(
    ("num_classes", "ignore_index", "dtype"),
    [
        (255, 255, torch.uint8),
        (256, -1, torch.int16),
        (300, 65535, torch.int32),
        (3, -1, torch.int16),
        (3, 254, torch.uint8),
    ],
)
def test_label_dtype_is_the_smallest_that_fits(
    num_classes: int, ignore_index: int, dtype: torch.dtype
) -> None:
    masks = torch.zeros(num_classes, 1, 3)
    masks[num_classes - 1, 0, 0] = 0.9
    masks[0, 0, 1] = 0.9
    labels = filter(masks, 0.5, ignore_index=ignore_index)
    assert labels.dtype == dtype
    assert labels.tolist() == [[num_classes - 1, 0, ignore_index]]


def test_kind_of_array_comes_back() -> None:
    masks = np.array([[[0.6, 0.9, 0.2]], [[0.4, 0.1, 0.2]]], dtype=np.float32)
    expected = [[1, 0, 255]]
    assert isinstance(filter(masks, 0.65), np.ndarray)
    assert isinstance(filter(torch.from_numpy(masks), 0.65), torch.Tensor)
    other = array_api_strict.asarray(masks)
    labels = filter(other, 0.65)
    assert type(labels) is type(other)
    assert labels.dtype == array_api_strict.uint8
    assert np.asarray(labels).tolist() == expected
    sets = prediction_sets(other, 0.65)
    assert sets.dtype == array_api_strict.bool
    truth = array_api_strict.asarray(np.array([[1, 0, 0]]))
    assert cp.calibrate(other, truth, 0.4) == cp.calibrate(masks, np.array([[1, 0, 0]]), 0.4)


def test_a_calibration_a_number_and_an_array_agree() -> None:
    rng = np.random.default_rng(2)
    masks = rng.random((3, 9, 9)).astype(np.float16)
    calibration = cp.calibrate(masks, rng.integers(0, 3, (9, 9)), 0.4)
    labels = filter(masks, calibration)
    assert np.array_equal(labels, filter(masks, calibration.qhat))
    assert np.array_equal(labels, filter(masks, np.full(3, calibration.qhat)))
    assert np.array_equal(labels, filter(masks, torch.full((3,), calibration.qhat).double()))


def test_the_calibration_pixel_at_the_quantile_is_covered() -> None:
    """float64 scores whose 1 - P is inexact: the border belongs to the set, as by sorting."""
    rng = np.random.default_rng(3)
    for dtype in (np.float32, np.float64, np.float16):
        points = (rng.random((99, 2)) ** 5).astype(dtype)
        result = cp.calibrate(points, np.zeros(99, int), 0.1)
        covered = prediction_sets(points.T[:, None, :], result)[0, 0]
        scores = 1.0 - points[:, 0].astype(np.float64)
        assert int(covered.sum()) == int((scores <= np.sort(scores)[89]).sum()) >= 90
        assert not covered.all()


@pytest.mark.parametrize("name", [name for name in DTYPES if name != "uint16"])
@pytest.mark.parametrize("rule", RULES)
def test_both_ways_to_label_agree(name: str, rule: str) -> None:
    """What a GPU and the training step run, and what a CPU runs, on scores full of ties."""
    rng, dtype = np.random.default_rng(0), getattr(torch, name)
    for trial in range(30):
        classes = int(rng.integers(2, 6))
        scores = torch.from_numpy(rng.integers(0, 9, (2, classes, 3, 7)) / 8)
        top = torch.iinfo(dtype).max if not dtype.is_floating_point else 1
        maps = (scores * top).to(dtype)
        if trial % 3 == 0:
            maps = maps.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # channels last
        if trial % 5 == 0 and dtype.is_floating_point:
            maps = torch.where(maps == 0, -maps, maps)  # -0.0 is 0
        qhat = rng.choice([-math.inf, 0.0, 0.25, 0.5, 0.875], classes)
        options = {"rule": rule, "background": int(rng.integers(classes)), "ignore_index": 255}
        least = least_scores(qhat if trial % 2 else float(qhat[0]), grid_of(maps), classes)
        expected = label_maps(maps, least, **options)
        try:
            found = filter(maps, qhat if trial % 2 else float(qhat[0]), **options)
        except UninformativeThresholdError:
            continue
        assert torch.equal(found, expected)


def test_labels_are_the_same_on_one_thread_and_on_many() -> None:
    maps = torch.from_numpy(np.random.default_rng(1).random((3, 5, 300, 400), dtype=np.float32))
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(filter(maps, [0.2, 0.3, 0.3, 0.4, 0.3]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
    assert torch.equal(found[0], filter(maps.flip(0), [0.2, 0.3, 0.3, 0.4, 0.3]).flip(0))
