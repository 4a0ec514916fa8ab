"""Each threshold is its formula's, found by trying every threshold in exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from conformal_plugin.calibration import (
    calibrate_class_conditional,
    calibrate_class_conditional_image_level,
    calibrate_clustered,
    calibrate_image_level,
    calibrate_image_wise,
)

K = 3
FLOATS = ("float16", "float32", "float64", "bfloat16")
UINT16 = ("uint16",) if hasattr(torch, "uint16") else ()  # torch 2.3 has it
DTYPES = (*FLOATS, "uint8", "int8", *UINT16, "int16")
KINDS = ("float16", "float32", "float64", "uint8")  # one of each way to count
ALPHAS = st.one_of(
    st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9]),
    st.floats(0.001, 0.999),
)
Images = list[tuple[torch.Tensor, torch.Tensor]]


@st.composite
def images(draw: st.DrawFn, dtype: str) -> Images:
    """Images of different sizes, with ties, ignored pixels and at least one label."""
    value = st.one_of(
        st.sampled_from([0.0, 1.0, 0.5, 1e-7, 1 - 1e-7, 2**-8, 2**-16]), st.floats(0, 1, width=32)
    )
    pairs = []
    for _ in range(draw(st.integers(1, 6))):
        height, width = draw(st.integers(1, 3)), draw(st.integers(1, 4))
        pixels = height * width
        values = draw(st.lists(value, min_size=K * pixels, max_size=K * pixels))
        real = torch.tensor(values, dtype=torch.float64)
        if dtype in FLOATS:
            scores = real.to(getattr(torch, dtype))
        else:
            top = np.iinfo(dtype).max
            scores = torch.from_numpy((real.numpy() * top).round().astype(dtype))
        truth = draw(st.lists(st.sampled_from([0, 1, 2, 255]), min_size=pixels, max_size=pixels))
        pairs.append(
            (
                scores.reshape(K, height, width),
                torch.tensor(truth, dtype=torch.uint8).reshape(height, width),
            )
        )
    pairs[0][1].view(-1)[0] = 0
    return pairs


def pixel_scores(pairs: Images, classes: set[int] | None = None) -> list[list[float]]:
    """Per image, the nonconformity of its pixels of ``classes``; images without any left out."""
    result = []
    for scores, truth in pairs:
        if scores.dtype.is_floating_point:
            s = 1.0 - scores.to(torch.float64).numpy()
        else:
            s = 1.0 - scores.numpy().astype(np.float64) / np.iinfo(scores.numpy().dtype).max
        used = [
            float(s[int(y), row, column])
            for (row, column), y in np.ndenumerate(truth.numpy())
            if y != 255 and (classes is None or int(y) in classes)
        ]
        if used:
            result.append(used)
    return result


def decimal(alpha: float) -> Fraction:
    return Fraction(str(alpha))


def risk_control(scores: list[list[float]], alpha: float) -> float:
    """inf{q : (sum_i L_i(q) + 1) / (K + 1) <= alpha}, trying every score (arXiv 2208.02814)."""
    for q in sorted({s for image in scores for s in image}):
        losses = sum(Fraction(sum(s > q for s in image), len(image)) for image in scores)
        if (losses + 1) / (len(scores) + 1) <= decimal(alpha):
            return q
    return math.inf


def hierarchical(scores: list[list[float]], alpha: float) -> float:
    """The 1 - alpha quantile of sum_ij delta(s_ij) / ((K + 1) M_i) + delta(inf) / (K + 1)."""
    atoms = sorted(
        (s, Fraction(1, (len(scores) + 1) * len(image))) for image in scores for s in image
    )
    mass = Fraction(0)
    for s, weight in atoms:
        mass += weight
        if mass >= 1 - decimal(alpha):
            return s
    return math.inf


def order_statistic(scores: list[float], alpha: float) -> float:
    rank = math.ceil((len(scores) + 1) * (1 - decimal(alpha)))
    return math.inf if rank > len(scores) else sorted(scores)[rank - 1]


def image_wise(scores: list[list[float]], alpha: float, tau: float) -> float:
    """Split conformal on each image's smallest q that covers a share tau."""
    own = [
        min(q for q in image if Fraction(sum(s <= q for s in image), len(image)) >= decimal(tau))
        for image in scores
    ]
    return order_statistic(own, alpha)


def parts(pairs: Images) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return [m for m, _ in pairs], [t for _, t in pairs]


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data(), alpha=ALPHAS)
def test_image_level_is_risk_control_and_hierarchical_conformal_prediction(
    dtype: str, data: st.DataObject, alpha: float
) -> None:
    pairs = data.draw(images(dtype))
    scores = pixel_scores(pairs)
    expected = risk_control(scores, alpha)
    assert hierarchical(scores, alpha) == expected
    result = calibrate_image_level(*parts(pairs), alpha)
    assert result.qhat == expected
    assert (result.resolution, result.n_images) == (0.0, len(scores))
    assert math.isinf(result.qhat) == (decimal(alpha) < Fraction(1, len(scores) + 1))


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=20)
@given(data=st.data(), alpha=ALPHAS, tau=st.sampled_from([0.01, 0.3, 0.5, 0.75, 0.9, 1.0, 1]))
def test_image_wise_is_the_order_statistic_of_the_images(
    dtype: str, data: st.DataObject, alpha: float, tau: float
) -> None:
    pairs = data.draw(images(dtype))
    scores = pixel_scores(pairs)
    result = calibrate_image_wise(*parts(pairs), alpha, tau)
    assert result.qhat == image_wise(scores, alpha, tau)
    assert math.isinf(result.qhat) == (len(scores) < 1 / decimal(alpha) - 1)


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=20)
@given(data=st.data(), alpha=ALPHAS, few=st.sampled_from(["pool", "leave-out"]))
def test_class_conditional_thresholds_are_each_class_alone(
    dtype: str, data: st.DataObject, alpha: float, few: str
) -> None:
    pairs = data.draw(images(dtype))
    everything = pixel_scores(pairs)
    flat = [s for image in everything for s in image]
    by_pixel = calibrate_class_conditional(*parts(pairs), alpha, few=few, min_images=1)
    by_image = calibrate_class_conditional_image_level(*parts(pairs), alpha, few=few)
    for c in range(K):
        own = pixel_scores(pairs, {c})
        pixels = [s for image in own for s in image]
        for result, alone, pooled in (
            (by_pixel, order_statistic(pixels, alpha), order_statistic(flat, alpha)),
            (by_image, risk_control(own, alpha), risk_control(everything, alpha)),
        ):
            fallback = pooled if few == "pool" else -math.inf
            # The heuristic one pools a threshold of 1 too; an exact promise would not survive it.
            hopeless = few == "pool" and result is by_pixel and alone >= 1.0
            assert result.qhat[c] == (fallback if math.isinf(alone) or hopeless else alone)
            named = result.pooled_classes if few == "pool" else result.left_out_classes
            assert (c in named) == (math.isinf(alone) or hopeless)
            assert result.images_per_class[c] == len(own)
            assert result.pixels_per_class[c] == len(pixels)


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=20)
@given(data=st.data(), alpha=ALPHAS)
def test_clustered_thresholds_are_each_cluster_alone(
    dtype: str, data: st.DataObject, alpha: float
) -> None:
    pairs = data.draw(images(dtype))
    result = calibrate_clustered(*parts(pairs), alpha, clusters=[0, -1, 0])
    pooled = risk_control(pixel_scores(pairs), alpha)
    alone = risk_control(pixel_scores(pairs, {0, 2}), alpha)
    shared = pooled if math.isinf(alone) else alone
    assert result.qhat.tolist() == [shared, pooled, shared]
    assert result.pooled_classes == ((0, 1, 2) if math.isinf(alone) else (1,))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=20)
@given(data=st.data(), alpha=ALPHAS)
def test_one_pass_rounds_up_within_the_stated_bound(
    dtype: str, data: st.DataObject, alpha: float
) -> None:
    pairs = data.draw(images(dtype))
    maps, labels = parts(pairs)
    for calibrate in (
        calibrate_image_level,
        calibrate_image_wise,
        calibrate_class_conditional,
        calibrate_class_conditional_image_level,
    ):
        exact = np.array(calibrate(maps, labels, alpha).qhat)
        once = calibrate(iter(maps), iter(labels), alpha)
        finite = np.isfinite(exact)
        assert once.resolution == (2.0**-16 if finite.any() else 0.0)
        above = np.array(once.qhat)[finite] - exact[finite]
        assert ((above >= 0) & (above <= once.resolution)).all()
        assert np.array_equal(np.array(once.qhat)[~finite], exact[~finite])


def test_ties_with_the_bound_are_found_where_all_images_have_one_size() -> None:
    # 35 pixels: no power of two divides into that, so every share is rounded.
    rng = np.random.default_rng(1)
    values = rng.permutation(19 * 35) / 1000 + 0.1
    scores = np.zeros((19, 2, 5, 7))
    scores[:, 0] = 1 - values.reshape(19, 5, 7)
    labels = np.zeros((19, 5, 7), int)
    # (K + 1) alpha - 1 = 1 image's worth may be missed: exactly 35 of the 665 pixels.
    expected = float(np.sort(1 - scores[:, 0].ravel())[-36])
    assert calibrate_image_level(scores, labels, 0.1).qhat == expected
    labels[0, 0, :3] = 255
    mixed = calibrate_image_level(scores, labels, 0.1).qhat
    pairs = [(torch.from_numpy(s), torch.from_numpy(y)) for s, y in zip(scores, labels)]
    assert mixed == risk_control(pixel_scores(pairs), 0.1)


def test_where_sizes_have_no_common_multiple_rounding_is_upward_and_below_a_ten_billionth() -> None:
    rng = np.random.default_rng(2)
    sizes = [97, 89, 83, 79, 73, 71, 67, 61, 59, 53, 47, 43]  # primes: their multiple is 4e21
    maps = [rng.random((2, 1, size)) for size in sizes]
    labels = [np.zeros((1, size), int) for size in sizes]
    pairs = [(torch.from_numpy(m), torch.from_numpy(t)) for m, t in zip(maps, labels)]
    scores = pixel_scores(pairs)
    for alpha in (0.1, 0.2, 0.5):
        qhat = calibrate_image_level(maps, labels, alpha).qhat
        stricter = alpha - len(sizes) * 2.0**-36
        assert risk_control(scores, alpha) <= qhat <= risk_control(scores, stricter)


def test_separate_points_make_all_of_them_split_conformal_prediction() -> None:
    rng = np.random.default_rng(3)
    scores, labels = rng.random((57, 3)), rng.integers(0, 3, 57)
    expected = order_statistic((1 - scores[np.arange(57), labels]).tolist(), 0.1)
    assert calibrate_image_level(scores, labels, 0.1).qhat == expected
    assert calibrate_image_wise(scores, labels, 0.1, 0.5).qhat == expected
    by_pixel = calibrate_class_conditional(scores, labels, 0.1)
    by_image = calibrate_class_conditional_image_level(scores, labels, 0.1)
    assert np.array_equal(by_pixel.qhat, by_image.qhat)
    assert (by_pixel.guarantee.unit, by_pixel.guarantee.exact) == ("point", True)
