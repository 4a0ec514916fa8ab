"""Every calibrator merges to the bit, goes on from its state, and counts repeated images once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from conformal_plugin import Calibrator, calibrate
from conformal_plugin.calibration import (
    ClassClusters,
    ClassConditionalCalibrator,
    ClassConditionalImageLevelCalibrator,
    ClusteredCalibrator,
    ImageLevelCalibrator,
    ImageWiseCalibrator,
    calibrate_class_conditional,
    calibrate_class_conditional_image_level,
    calibrate_clustered,
    calibrate_image_level,
    calibrate_image_wise,
)
from conformal_plugin.errors import (
    CalibrationFileError,
    InputTypeError,
    OptionError,
    ScoreError,
    ShapeError,
)

K = 4
CLUSTERS = (0, 1, 0, -1)
MAKERS: dict[str, Callable[[], Any]] = {
    "pooled": Calibrator,
    "image-level": ImageLevelCalibrator,
    "image-wise": lambda: ImageWiseCalibrator(0.8),
    "class-conditional": lambda: ClassConditionalCalibrator(min_images=3),
    "class-conditional-image-level": lambda: ClassConditionalImageLevelCalibrator(few="leave-out"),
    "clustered": lambda: ClusteredCalibrator(CLUSTERS),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "pooled": calibrate,
    "image-level": calibrate_image_level,
    "image-wise": lambda s, y, a, **options: calibrate_image_wise(s, y, a, 0.8, **options),
    "class-conditional": lambda s, y, a, **options: calibrate_class_conditional(
        s, y, a, min_images=3, **options
    ),
    "class-conditional-image-level": lambda s, y, a, **options: (
        calibrate_class_conditional_image_level(s, y, a, few="leave-out", **options)
    ),
    "clustered": lambda s, y, a, **options: calibrate_clustered(
        s, y, a, clusters=ClassClusters(CLUSTERS), **options
    ),
}
every_kind = pytest.mark.parametrize("kind", list(MAKERS))


def photos(count: int, dtype: str, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images of different sizes, some with ignored pixels, not all with every class."""
    rng = np.random.default_rng(seed)
    maps, labels = [], []
    for _ in range(count):
        height, width = rng.integers(3, 9, 2)
        maps.append(rng.dirichlet(np.ones(K), (height, width)).transpose(2, 0, 1).astype(dtype))
        truth = rng.integers(0, rng.integers(1, K + 1), (height, width))
        labels.append(np.where(rng.random(truth.shape) < 0.1, 255, truth))
    return maps, labels


def same_states(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


@every_kind
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_merging_is_associative_and_commutative_to_the_bit(kind: str, dtype: str) -> None:
    maps, labels = photos(9, dtype)
    whole = MAKERS[kind]()
    whole.update(maps, labels, range(9))

    def part(i: int) -> Any:
        calibrator = MAKERS[kind]()
        calibrator.update(
            maps[3 * i : 3 * i + 3], labels[3 * i : 3 * i + 3], range(3 * i, 3 * i + 3)
        )
        return calibrator

    for a, b, c in itertools.permutations(range(3)):
        left = part(a).merge(part(b)).merge(part(c))
        right = part(a).merge(part(b).merge(part(c)))
        assert same_states(left.state(), whole.state())
        assert same_states(right.state(), whole.state())
        assert left.result(0.2) == whole.result(0.2)
    empty = MAKERS[kind]()
    assert same_states(empty.merge(whole).state(), whole.state())
    assert same_states(whole.merge(MAKERS[kind]()).state(), empty.state())


@every_kind
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_function_stream_and_second_reading_agree(kind: str, dtype: str) -> None:
    maps, labels = photos(12, dtype, seed=1)
    expected = FUNCTIONS[kind](maps, labels, 0.15)
    stream = MAKERS[kind]()
    for scores, truth in reversed(list(zip(maps, labels))):
        stream.update(torch.from_numpy(scores), torch.from_numpy(truth))
    assert stream.exact_result(maps, labels, 0.15) == expected
    if dtype == "float16":
        assert stream.result(0.15) == expected


@every_kind
def test_state_round_trip(kind: str, tmp_path) -> None:
    maps, labels = photos(5, "float16", seed=2)
    calibrator = MAKERS[kind]()
    calibrator.update(maps, labels, list("abcde"))
    calibrator.update(maps[0], labels[0], ["a"])
    np.savez(tmp_path / "state.npz", **calibrator.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        again = type(calibrator).from_state(state)
    assert same_states(again.state(), calibrator.state())
    again.update(maps[1], labels[1], ["b"])
    assert again.result(0.3).n_repeats == 2
    assert again.result(0.3).n_images == 5
    fresh = MAKERS[kind]()
    assert same_states(type(fresh).from_state(fresh.state()).state(), fresh.state())


def test_a_state_of_another_kind_is_refused() -> None:
    with pytest.raises(CalibrationFileError, match="state of a Calibrator.*Calibrator.from_state"):
        ImageLevelCalibrator.from_state(Calibrator().state())
    calibrator = ImageLevelCalibrator()
    calibrator.update(*photos(1, "float16"))
    state = calibrator.state()
    del state["credits"]
    with pytest.raises(CalibrationFileError, match="damaged .*credits"):
        ImageLevelCalibrator.from_state(state)


def test_calibrators_that_do_not_fit_do_not_merge() -> None:
    with pytest.raises(InputTypeError, match="ImageLevelCalibrator merges with its own kind.*Wise"):
        ImageLevelCalibrator().merge(ImageWiseCalibrator())  # type: ignore[type-var]
    with pytest.raises(OptionError, match="tau 0.5 and 0.9"):
        ImageWiseCalibrator(0.5).merge(ImageWiseCalibrator(0.9))
    with pytest.raises(OptionError, match="few pool and fail"):
        ClassConditionalCalibrator().merge(ClassConditionalCalibrator(few="fail"))


@every_kind
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_repeated_images_are_counted_once(kind: str, dtype: str) -> None:
    maps, labels = photos(10, dtype, seed=3)
    once = FUNCTIONS[kind](maps, labels, 0.2, ids=[f"img{i}" for i in range(10)])
    assert once == FUNCTIONS[kind](maps, labels, 0.2)
    order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3]
    repeated = FUNCTIONS[kind](
        [maps[i] for i in order], [labels[i] for i in order], 0.2, ids=iter(order)
    )
    assert repeated.n_repeats == 4
    assert repeated.n_images == 10
    assert np.array_equal(repeated.qhat, once.qhat)
    assert repeated.n_pixels == once.n_pixels
    assert "n_images=10 (4 repeats left out)" in repr(repeated)
    assert "repeats" not in repr(once)


def test_repeats_in_batches_and_among_points_are_left_out() -> None:
    rng = np.random.default_rng(4)
    batch, truth = rng.random((4, 3, 5, 5)).astype(np.float16), rng.integers(0, 3, (4, 5, 5))
    result = calibrate(batch, truth, 0.2, ids=["a", "b", "a", "c"])
    assert result.qhat == calibrate(batch[[0, 1, 3]], truth[[0, 1, 3]], 0.2).qhat
    points, classes = rng.random((6, 3)), rng.integers(0, 3, 6)
    result = calibrate(points, classes, 0.3, ids=[1, 2, 3, 1, 2, 1])
    assert (result.n_images, result.n_repeats) == (3, 3)
    assert result.qhat == calibrate(points[:3], classes[:3], 0.3).qhat
    assert calibrate(points[:1], classes[:1], 0.5, ids=np.array([7])).n_images == 1


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ("ab", InputTypeError, r"one id per image, got str; for a single image pass \[id\]"),
        (7, InputTypeError, "got int"),
        (["a"], ShapeError, "ids ended after 1 while images went on"),
        (["a", "b", "c"], ShapeError, "more ids than the 2 images"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids: Any, error: type[Exception], message: str) -> None:
    maps, labels = photos(2, "float16")
    for call in (
        lambda: calibrate(maps, labels, ids=ids),
        lambda: Calibrator().update(maps, labels, ids),
    ):
        with pytest.raises(error, match=message):
            call()


def test_the_same_image_on_both_sides_of_a_merge_is_refused() -> None:
    maps, labels = photos(3, "float16")
    first, second = Calibrator(), Calibrator()
    first.update(maps[:2], labels[:2], ["a", "b"])
    second.update(maps[1:], labels[1:], ["b", "c"])
    before = first.state()
    with pytest.raises(OptionError, match="1 images were counted on both sides.*'b' among them"):
        first.merge(second)
    assert same_states(first.state(), before)


def test_ids_of_a_refused_update_do_not_count_as_seen() -> None:
    maps, labels = photos(2, "float16")
    calibrator = ImageLevelCalibrator()
    with pytest.raises(ScoreError, match="image 1"):
        calibrator.update([maps[0], np.full_like(maps[1], 2)], labels, ["a", "b"])
    calibrator.update(maps, labels, ["a", "b"])
    assert calibrator.n_images == 2
    assert calibrator.result(0.5).n_repeats == 0


@every_kind
def test_bad_input_is_refused_and_data_that_changes_too(kind: str) -> None:
    maps, labels = photos(4, "float32")
    with pytest.raises(ScoreError, match="image 2"):
        FUNCTIONS[kind]([*maps[:2], maps[2] + 1, maps[3]], labels, 0.2)

    class Augmented:
        readings = 0

        def __iter__(self):
            self.readings += 1
            return iter(photos(40, "float32", seed=self.readings)[0])

    truth = photos(40, "float32", seed=1)[1]
    with pytest.raises((OptionError, ShapeError)):
        FUNCTIONS[kind](Augmented(), truth, 0.2)
