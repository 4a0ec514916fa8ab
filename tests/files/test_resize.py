"""Resized maps keep kind, dtype and range; sizes that differ are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from conformal_plugin.errors import ShapeError
from conformal_plugin.files import require_axes, require_classes_first, require_size, resize_map

SIDES = st.integers(1, 9)


@given(
    st.sampled_from([np.float16, np.float32, np.float64, np.uint8]),
    st.tuples(SIDES, SIDES),
    st.tuples(SIDES, SIDES),
    st.integers(0, 99),
)
def test_range_and_dtype_stay(dtype, size, target, seed):
    scores = np.random.default_rng(seed).random((3, *size)).round()
    scores = (scores * 255 if dtype == np.uint8 else scores).astype(dtype)
    resized = resize_map(scores, target)
    assert isinstance(resized, np.ndarray)
    assert resized.dtype == dtype
    assert resized.shape == (3, *target)
    assert resized.min() >= scores.min()
    assert resized.max() <= scores.max()


def test_it_is_bilinear_between_pixel_centres():
    scores = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])
    assert resize_map(scores, (1, 4))[0, 0].tolist() == [0.0, 0.25, 0.75, 1.0]


def test_the_same_size_is_the_same_map():
    scores = np.zeros((2, 3, 4))
    assert resize_map(scores, (3, 4)) is scores


def test_scores_outside_the_range_are_not_hidden():
    assert resize_map(np.array([[[0.0, 3.0]]]), (1, 4)).max() == 3.0
    assert np.isnan(resize_map(np.array([[[0.0, np.nan]]]), (1, 4))).any()


def test_another_size_is_refused_with_both():
    require_size(np.zeros((2, 3, 4)), (3, 4), "a", "label")
    with pytest.raises(
        ShapeError, match=r"image a: the map is 3 x 4 .* the photo 6 x 8;.*--resize"
    ):
        require_size(np.zeros((2, 3, 4)), (6, 8), "a", "photo")
    with pytest.raises(ShapeError, match="turned by 90 degrees"):
        require_size(np.zeros((2, 3, 4)), (4, 3), "a", "photo")


@pytest.mark.parametrize(
    ("shape", "size", "said"),
    [
        ((32, 48, 4), (32, 48), r"look like \(H, W, K\).*moveaxis"),
        ((16, 24, 4), (32, 48), r"look like \(H, W, K\)"),
        ((4, 32, 48), (48, 32), "turned by 90 degrees"),
        ((4, 16, 24), (481, 320), "turned by 90 degrees"),
        ((5, 32, 48, 4), (5, 32, 48), r"look like \(D, H, W, K\).*moveaxis\(scores, 3, 0\)"),
        ((5, 4, 32, 48), (5, 32, 48), r"look like \(D, K, H, W\).*moveaxis\(scores, 1, 0\)"),
        ((4, 5, 32, 48), (5, 48, 32), "in another order"),
        ((4, 48, 32, 5), (5, 32, 48), "in another order"),
    ],
)
def test_axes_that_resizing_would_make_garbage_of(shape, size, said):
    scores = np.zeros(shape, np.float32)
    for check in (require_axes, require_size):
        with pytest.raises(ShapeError, match=f"image x: .*{said}") as refused:
            check(scores, size, "x", "label")
        assert "--resize" not in str(refused.value)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((4, 32, 48), (32, 48)),
        ((4, 16, 24), (32, 48)),
        ((4, 16, 16), (32, 32)),
        ((32, 32, 32), (32, 32)),
        ((21, 30, 40), (32, 48)),
        ((4, 5, 32, 48), (10, 32, 48)),
    ],
)
def test_axes_that_may_be_right_are_left_alone(shape, size):
    require_axes(np.zeros(shape, np.float32), size, "x", "label")


def test_probabilities_with_the_classes_last_are_told_by_their_sums():
    last = np.random.default_rng(0).dirichlet(np.ones(4), (20, 30)).astype(np.float16)
    with pytest.raises(
        ShapeError, match=r"image x: .*\(20, 30, 4\).*along axis 2.*\(K, H, W\): save.*moveaxis"
    ):
        require_classes_first(last, "x")
    require_classes_first(np.ascontiguousarray(last.transpose(2, 0, 1)), "x")
    require_classes_first((last * 255).astype(np.uint8), "x")
    require_classes_first(last * 0.5, "x")
    require_classes_first(last[:3], "x")  # three classes, twenty rows and four columns, perhaps


@pytest.mark.parametrize(("axis", "axes"), [(3, r"\(D, H, W, K\)"), (1, r"\(D, K, H, W\)")])
@pytest.mark.parametrize("depth", [4, 6])  # with 4 classes the shape is right, too
def test_probabilities_of_volumes_whose_classes_are_not_first(axis, axes, depth):
    scores = np.random.default_rng(0).dirichlet(np.ones(4), (depth, 20, 30)).astype(np.float32)
    with pytest.raises(ShapeError, match=rf"along axis {axis}, .*like {axes}; .*\(K, D, H, W\)"):
        require_classes_first(np.moveaxis(scores, -1, axis), "x")
    require_classes_first(np.moveaxis(scores, -1, 0), "x")
