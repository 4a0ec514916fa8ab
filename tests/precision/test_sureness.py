"""The path for an annotator that unlabelled maps show to be surer than it should be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from conformal_plugin import filter
from conformal_plugin.errors import EmptyCalibrationError, OptionError, ScoreError, ShapeError
from conformal_plugin.files import open_map
from conformal_plugin.precision import ThresholdPath, is_surer, path_for, sure_share

DEFAULT, SURER = (ThresholdPath.capped_foreground_first(surer=surer) for surer in (False, True))


def maps(sure: float, images: int = 20, sharper: float = 1.0) -> np.ndarray:
    """Three classes; a share of the pixels is scored with odds of a thousand, others with three."""
    rng = np.random.default_rng(0)
    odds = np.where(rng.random((images, 1, 20, 20)) < sure, 1000.0, 3.0) ** sharper
    seen = rng.integers(0, 3, (images, 20, 20))
    scores = np.where(np.eye(3)[seen].transpose(0, 3, 1, 2) > 0, odds, 1.0)
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def same(one: ThresholdPath, other: ThresholdPath) -> bool:
    return one.starts == other.starts and np.array_equal(one.background, other.background)


def test_lines_of_much_surer_annotators_come_first() -> None:
    assert DEFAULT.line(DEFAULT.starts[2]).stop - DEFAULT.starts[2] == SURER.starts[1]
    for mine, theirs in ((0, 2), (1, 6), (2, 1), (3, 3), (4, 4), (5, 5)):
        here, there = SURER.line(SURER.starts[mine]), DEFAULT.line(DEFAULT.starts[theirs])
        for name in ("background", "foreground", "caps"):
            assert np.array_equal(getattr(SURER, name)[here], getattr(DEFAULT, name)[there])
    assert SURER.scouts == DEFAULT.scouts


def test_the_share_is_of_pixels_that_the_first_thresholds_label() -> None:
    for image in maps(0.3, images=3):
        labels = filter(image, DEFAULT.qhat(0, 3, 1), background=1)
        share = (labels != 255).mean()
        assert 0.1 < share < 0.9
        assert sure_share(image, background=1) == pytest.approx(share)
        assert sure_share(torch.from_numpy(image), background=1) == pytest.approx(share)


def test_maps_that_nearly_all_fill_the_cap_take_the_path_of_surer_annotators() -> None:
    assert same(path_for(maps(0.5)), SURER)
    assert same(path_for(maps(0.1)), DEFAULT)
    assert same(path_for(maps(0.0, sharper=8.0)), SURER)  # the same opinion, put more strongly
    assert is_surer([0.21] * 87 + [0.20] * 13)
    assert not is_surer([0.21] * 86 + [0.20] * 14)


def test_one_image_a_batch_a_stream_volumes_and_parts_are_looked_at_alike(tmp_path) -> None:
    sure, unsure = maps(0.5), maps(0.1, images=4)

    def stream() -> Iterator[np.ndarray]:
        yield from (sure[:10], *sure[10:])

    volumes = sure.reshape(4, 5, 3, 20, 20).transpose(0, 2, 1, 3, 4)
    np.save(tmp_path / "a.npy", sure[0])
    for masks in (sure, list(sure), stream(), sure[0], volumes, open_map(tmp_path / "a.npy")):
        assert same(path_for(masks), SURER)
    assert same(path_for([*sure[:20], *unsure]), DEFAULT)
    assert sure_share(volumes[:1]) == pytest.approx(np.mean([sure_share(one) for one in sure[:5]]))


def test_no_map_and_bad_ones_are_refused() -> None:
    with pytest.raises(EmptyCalibrationError, match="no unlabelled map"):
        path_for([])
    with pytest.raises(OptionError, match="background must be a class from 0 to 2, got 3"):
        path_for(maps(0.5), background=3)
    damaged = maps(0.5, images=2)
    damaged[1, 0, 0, 0] = np.nan
    with pytest.raises(ScoreError):
        path_for(damaged)
    with pytest.raises(ShapeError):
        path_for(np.ones((4, 4)))
