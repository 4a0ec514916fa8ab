"""q-hat is the sorted order statistic: for every dtype, form of input and order of reading."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from conformal_plugin import Calibrator, calibrate
from conformal_plugin.calibration import conformal_rank
from conformal_plugin.errors import EmptyCalibrationError

K = 3
FLOATS = ("float16", "float32", "float64", "bfloat16")
INTEGERS = ("uint8", "int8", "int16", *(["uint16"] if hasattr(torch, "uint16") else []))
DTYPES = FLOATS + INTEGERS
ALPHAS = st.one_of(
    st.sampled_from([0.001, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.999]),
    st.floats(1e-6, 1 - 1e-6),
)


def score_tensor(values: list[float], dtype: str) -> torch.Tensor:
    """Values in [0, 1] as class scores of ``dtype``."""
    real = torch.tensor(values, dtype=torch.float64)
    if dtype in FLOATS:
        return real.to(getattr(torch, dtype))
    top = np.iinfo(dtype).max
    return torch.from_numpy((real.numpy() * top).round().astype(dtype))


def nonconformity(scores: torch.Tensor) -> np.ndarray:
    """1 - P in float64, the definition, by NumPy."""
    if scores.dtype.is_floating_point:
        return 1.0 - scores.to(torch.float64).numpy()
    values = scores.numpy()
    return 1.0 - values.astype(np.float64) / np.iinfo(values.dtype).max


def sorted_qhat(scores: np.ndarray, alpha: float) -> float:
    """The order statistic, by sorting."""
    rank = conformal_rank(len(scores), alpha)
    return math.inf if rank > len(scores) else float(np.sort(scores)[rank - 1])


@st.composite
def images(draw: st.DrawFn, dtype: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Some images of different sizes, with ties, ignored pixels and at least one label."""
    # A few values that recur make ties, extremes and neighbours likely; the rest are arbitrary.
    value = st.one_of(
        st.sampled_from([0.0, 1.0, 0.5, 1e-7, 1 - 1e-7, 2**-8, 2**-16]), st.floats(0, 1, width=32)
    )
    maps, labels = [], []
    for _ in range(draw(st.integers(1, 3))):
        height, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        pixels = height * width
        values = draw(st.lists(value, min_size=K * pixels, max_size=K * pixels))
        maps.append(score_tensor(values, dtype).reshape(K, height, width))
        truth = draw(st.lists(st.sampled_from([0, 1, 2, 255]), min_size=pixels, max_size=pixels))
        labels.append(torch.tensor(truth, dtype=torch.uint8).reshape(height, width))
    labels[0].view(-1)[0] = 0
    return maps, labels


def true_nonconformity(maps: list[torch.Tensor], labels: list[torch.Tensor]) -> np.ndarray:
    """The pooled calibration scores, pixel by pixel in plain Python."""
    pooled = []
    for scores, truth in zip(maps, labels):
        s = nonconformity(scores)
        for row in range(truth.shape[0]):
            for column in range(truth.shape[1]):
                if truth[row, column] != 255:
                    pooled.append(s[int(truth[row, column]), row, column])
    return np.array(pooled)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data(), alpha=ALPHAS)
def test_calibrate_gives_the_sorted_order_statistic(
    dtype: str, data: st.DataObject, alpha: float
) -> None:
    maps, labels = data.draw(images(dtype))
    expected = sorted_qhat(true_nonconformity(maps, labels), alpha)
    result = calibrate(maps, labels, alpha)
    assert result.qhat == expected
    assert result.resolution == 0.0


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data(), alpha=ALPHAS)
def test_one_pass_is_exact_or_rounded_up_within_the_stated_bound(
    dtype: str, data: st.DataObject, alpha: float
) -> None:
    maps, labels = data.draw(images(dtype))
    expected = sorted_qhat(true_nonconformity(maps, labels), alpha)
    result = calibrate(iter(maps), iter(labels), alpha)
    if dtype in ("float32", "float64") and math.isfinite(expected):
        assert result.resolution == 2.0**-16 <= 1.6e-5
        assert expected <= result.qhat <= expected + result.resolution
        assert "rounded up by at most 1.5e-05" in repr(result)
    else:
        assert result.qhat == expected
        assert result.resolution == 0.0
        assert "rounded" not in repr(result)


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@given(data=st.data(), alpha=ALPHAS, order=st.permutations([0, 1, 2, 3]))
def test_merging_is_associative_and_commutative_to_the_bit(
    dtype: str, data: st.DataObject, alpha: float, order: list[int]
) -> None:
    maps, labels = data.draw(images(dtype))
    parts = [[], [], [], []]
    for i, pair in enumerate(zip(maps, labels)):
        parts[data.draw(st.integers(0, 3), label=f"part of image {i}")].append(pair)
    whole = Calibrator()
    whole.update(maps, labels)

    def counted(part: list[tuple[torch.Tensor, torch.Tensor]]) -> Calibrator:
        calibrator = Calibrator()
        calibrator.update([m for m, _ in part], [t for _, t in part])
        return calibrator

    left = Calibrator()
    for i in order:
        left.merge(counted(parts[i]))
    first, second = counted(parts[order[0]]), counted(parts[order[2]])
    right = second.merge(counted(parts[order[3]])).merge(first.merge(counted(parts[order[1]])))
    assert left.result(alpha) == right.result(alpha) == whole.result(alpha)
    states = [calibrator.state() for calibrator in (left, right, whole)]
    for name in states[0]:
        assert np.array_equal(states[0][name], states[1][name])
        assert np.array_equal(states[0][name], states[2][name])


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bfloat16"])
@given(data=st.data(), alpha=ALPHAS)
def test_numpy_and_torch_agree_to_the_bit(dtype: str, data: st.DataObject, alpha: float) -> None:
    maps, labels = data.draw(images(dtype))
    as_numpy = calibrate([m.numpy() for m in maps], [t.numpy() for t in labels], alpha)
    assert as_numpy == calibrate(maps, labels, alpha)


def test_arrays_batches_points_and_iterables_agree() -> None:
    rng = np.random.default_rng(3)
    maps = rng.dirichlet(np.ones(5), (4, 6, 7)).transpose(0, 3, 1, 2).astype(np.float32)
    labels = rng.integers(0, 5, (4, 6, 7)).astype(np.uint8)
    labels[2, :3] = 255
    batch = calibrate(maps, labels, 0.1)
    images = calibrate(list(maps), list(labels), 0.1)
    flat = calibrate(maps.transpose(0, 2, 3, 1).reshape(-1, 5), labels.reshape(-1), 0.1)
    assert batch == images
    assert flat.qhat == batch.qhat
    assert (batch.n_images, flat.n_images) == (4, flat.n_pixels)
    assert batch.n_pixels == flat.n_pixels == 4 * 42 - 21
    assert batch.pixels_per_class.tolist() == [int((labels == c).sum()) for c in range(5)]
    assert batch.images_per_class.tolist() == [
        sum(bool((image == c).any()) for image in labels) for c in range(5)
    ]


def test_separate_points_carry_an_exact_guarantee_and_images_a_heuristic_one() -> None:
    rng = np.random.default_rng(4)
    points = calibrate(rng.random((50, 3)), rng.integers(0, 3, 50), 0.1)
    assert (points.guarantee.unit, points.guarantee.exact) == ("point", True)
    maps = calibrate(rng.random((2, 3, 5, 5)), rng.integers(0, 3, (2, 5, 5)), 0.1)
    assert (maps.guarantee.unit, maps.guarantee.exact) == ("pixel", False)
    assert "Heuristic" in maps.guarantee.statement
    assert "90 %" in maps.guarantee.statement


@pytest.mark.parametrize("layout", ["transposed", "strided", "reversed", "big-endian", "read-only"])
def test_any_memory_layout(layout: str) -> None:
    rng = np.random.default_rng(5)
    maps = rng.random((4, 6, 8)).astype(np.float32)
    labels = rng.integers(0, 4, (6, 8))
    expected = calibrate(maps, labels, 0.2)
    if layout == "transposed":
        maps = np.ascontiguousarray(maps.transpose(1, 2, 0)).transpose(2, 0, 1)
    elif layout == "strided":
        maps = np.repeat(maps, 2, axis=2)[:, :, ::2]
    elif layout == "reversed":
        maps = np.ascontiguousarray(maps[:, ::-1])[:, ::-1]
    elif layout == "big-endian":
        maps = maps.astype(">f4")
    else:
        maps.flags.writeable = False
    assert calibrate(maps, labels, 0.2) == expected


@pytest.mark.parametrize(
    ("n", "alpha", "rank"),
    [
        (1, 0.5, 1),
        (1, 0.49, 2),
        (19, 0.05, 19),
        (18, 0.05, 19),
        (9, 0.1, 9),
        (9, 0.7, 3),  # 10 * (1 - 0.7) is 3.0000000000000004 in floating point
        (20, np.float32(0.05), 20),
        (10**12, 0.1, 9 * 10**11 + 1),
    ],
)
def test_rank_is_exact_arithmetic(n: int, alpha: float, rank: int) -> None:
    assert conformal_rank(n, alpha) == rank


@given(n=st.integers(1, 10**9), thousandths=st.integers(1, 999))
def test_rank_formula(n: int, thousandths: int) -> None:
    exact = (n + 1) * (1 - Fraction(thousandths, 1000))
    assert conformal_rank(n, thousandths / 1000) == math.ceil(exact)


def test_too_few_pixels_give_an_infinite_threshold_never_the_largest_score() -> None:
    scores = np.array([[0.8, 0.2]] * 18)
    assert calibrate(scores, np.zeros(18, int), 0.05).qhat == math.inf
    scores = np.array([[0.8, 0.2]] * 19)
    assert calibrate(scores, np.zeros(19, int), 0.05).qhat == pytest.approx(0.2)


def test_nothing_labelled_is_refused() -> None:
    with pytest.raises(EmptyCalibrationError, match="every label is 255 or nothing was passed"):
        calibrate(np.full((2, 3, 3), 0.5), np.full((3, 3), 255))
    with pytest.raises(EmptyCalibrationError):
        Calibrator().result(0.1)


def test_negative_zero_counts_as_zero() -> None:
    scores = np.array([[-0.0, 1.0]] * 3)
    for dtype in (np.float16, np.float32, np.float64):
        assert calibrate(scores.astype(dtype), np.zeros(3, int), 0.5).qhat == 1.0


def test_many_float32_scores_in_one_bin_are_told_apart_by_the_second_reading() -> None:
    rng = np.random.default_rng(6)
    # All scores lie within 2**-17 of each other, above a bin's lower edge.
    near = (0.5 + rng.random(5000) * 2.0**-17).astype(np.float32)
    scores = np.stack([near, 1 - near], axis=1)
    labels = np.zeros(5000, int)
    exact = calibrate(scores, labels, 0.3)
    assert exact.qhat == sorted_qhat(1.0 - near.astype(np.float64), 0.3)
    streamed = Calibrator()
    streamed.update(scores, labels)
    assert streamed.result(0.3).qhat == 0.5 > exact.qhat


def test_float64_scores_below_float32_precision_are_told_apart() -> None:
    rng = np.random.default_rng(7)
    near = 0.25 + rng.random(2000) * 1e-13
    scores = np.stack([near, 1 - near], axis=1)
    for alpha in (0.05, 0.37, 0.9):
        result = calibrate(scores, np.zeros(2000, int), alpha)
        assert result.qhat == sorted_qhat(1.0 - near, alpha)


def test_state_round_trip(tmp_path) -> None:
    rng = np.random.default_rng(8)
    calibrator = Calibrator(ignore_index=-1)
    calibrator.update(rng.random((3, 4, 4)).astype(np.float16), rng.integers(-1, 3, (4, 4)))
    np.savez(tmp_path / "state.npz", **calibrator.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        again = Calibrator.from_state(state)
    assert again.result(0.2) == calibrator.result(0.2)
    assert Calibrator.from_state(Calibrator().state()).n_pixels == 0
