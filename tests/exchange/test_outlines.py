"""Polygons as masks: a pixel is inside where its middle is."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin.exchange._outlines import mask_of_outline, outline_of_box

HEIGHT, WIDTH = 40, 50


def winding_parity(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixel by pixel: how often a ray from its middle to the right crosses the outline."""
    inside = np.zeros(size, dtype=bool)
    corners = [*map(tuple, points.tolist())]
    for row, column in np.ndindex(size):
        x, y = column + 0.5, row + 0.5
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]]):
            if (y0 <= y) != (y1 <= y) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) > x:
                inside[row, column] ^= True
    return inside


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_a_ray_from_each_middle_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-10, 60, (rng.integers(3, 12), 2))
    found = mask_of_outline(points, (HEIGHT, WIDTH))
    np.testing.assert_array_equal(found, winding_parity(points, (HEIGHT, WIDTH)))
    assert found.any()


def test_polygons_that_share_an_edge_share_no_pixel() -> None:
    rng = np.random.default_rng(0)
    middle = rng.uniform(10, 30, 2)
    corners = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]])
    parts = [
        mask_of_outline(np.array([middle, corner, after]), (HEIGHT, WIDTH))
        for corner, after in zip(corners, np.roll(corners, -1, axis=0))
    ]
    assert (np.sum(parts, axis=0) == 1).all()


def test_squares_of_whole_pixels() -> None:
    square = np.array([[10, 5], [20, 5], [20, 15], [10, 15]])
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:15, 10:20] = True
    for points in (square, square[::-1], outline_of_box(10, 5, 20, 15, 0)):
        np.testing.assert_array_equal(mask_of_outline(points, (HEIGHT, WIDTH)), expected)
    assert not mask_of_outline(square[:2], (HEIGHT, WIDTH)).any()


def test_a_box_is_turned_clockwise() -> None:
    # What points up points to the right after a quarter.
    np.testing.assert_allclose(outline_of_box(0, 0, 2, 4, 90)[0], [3, 1])
    np.testing.assert_allclose(outline_of_box(0, 0, 2, 4, 90)[1], [3, 3])
