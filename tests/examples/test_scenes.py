"""The generated scenes: the same every time, and two domains that differ."""

from __future__ import annotations

import numpy as np
from scenes import CLASSES, CLIP_ART, PHOTO, SIZE, draw_many


def test_the_same_seed_draws_the_same_scenes() -> None:
    photos, labels = draw_many(PHOTO, 3, seed=5)
    again, labels_again = draw_many(PHOTO, 3, seed=5)
    other, _ = draw_many(PHOTO, 3, seed=6)
    np.testing.assert_array_equal(photos, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert (photos != other).any()


def test_scenes_hold_every_class_and_clutter_is_background() -> None:
    photos, labels = draw_many(PHOTO, 40, seed=1)
    assert photos.shape == (40, 3, SIZE, SIZE)
    assert photos.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) == set(range(len(CLASSES)))
    assert 0.5 < (labels == 0).mean() < 0.9


def test_photos_are_rougher_and_duller_than_clip_art() -> None:
    clip_art, _ = draw_many(CLIP_ART, 30, seed=1)
    photos, _ = draw_many(PHOTO, 30, seed=1)

    def roughness(images: np.ndarray) -> float:
        return float(np.abs(np.diff(images.astype(float), axis=-1)).mean())

    assert roughness(photos) > 1.5 * roughness(clip_art)
