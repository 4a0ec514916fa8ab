"""Coverage with confidence: the fixed sequence of bets, its order, streams, groups and refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from conformal_plugin import Calibration, ConfidenceCalibrator, calibrate_with_confidence
from conformal_plugin.betting import betting_order, betting_pvalue
from conformal_plugin.calibration import confident_images_needed
from conformal_plugin.calibration._place_credits import PLACES, covered_at_places
from conformal_plugin.errors import CalibrationFileError, OptionError, ShapeError
from conformal_plugin.scores import grid_named

DTYPES = ["float16", "float32", "float64", "uint8"]


def photos(images: int, seed: int = 0, dtype: str = "float16") -> tuple[list, list]:
    """Images of different sizes, with ignored pixels, mostly sure of the true class."""
    rng = np.random.default_rng(seed)
    maps, labels = [], []
    for _ in range(images):
        height, width = rng.integers(4, 12, 2)
        scores = rng.random((2, height, width)) ** 0.2
        if np.issubdtype(dtype, np.integer):
            scores = np.round(scores * np.iinfo(dtype).max)
        maps.append(scores.astype(dtype))
        labels.append(np.where(rng.random((height, width)) < 0.1, 255, rng.integers(0, 2)))
    return maps, labels


def true_scores(maps: list, labels: list) -> list[np.ndarray]:
    """The nonconformity of each image's labelled pixels, float64."""
    found = []
    for scores, truth in zip(maps, labels):
        real = scores.astype(np.float64)
        if scores.dtype.kind == "u":
            real /= np.iinfo(scores.dtype).max
        used = truth != 255
        found.append(1.0 - real.reshape(2, -1)[truth[used], np.flatnonzero(used)])
    return found


def by_hand(losses_at, names: list[str], alpha: float, delta: float) -> float:
    """Test the fixed thresholds one by one from the largest, until one fails."""
    last = math.inf
    order = betting_order(names)
    for place in PLACES.tolist():
        if betting_pvalue(losses_at(place)[order], alpha, aim=delta) > delta:
            break
        last = place
    return last


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_the_first_failure_of_a_fixed_sequence(dtype: str) -> None:
    maps, labels = photos(40, dtype=dtype)
    ids = [f"photo {i}" for i in range(40)]
    scores = true_scores(maps, labels)

    def losses_at(place: float) -> np.ndarray:
        return np.array([(s > place).mean() for s in scores])

    found = calibrate_with_confidence(maps, labels, 0.2, 0.1, ids=ids)
    expected = by_hand(losses_at, ids, 0.2, 0.1)
    if dtype in ("float32", "float64"):  # a bin of scores counts as covered where all of it is
        assert expected <= found.qhat <= PLACES[np.flatnonzero(expected == PLACES)[0] - 1]
    else:
        assert found.qhat == expected
    assert found.resolution == 0.0
    assert found.informative


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_a_code_is_covered_where_all_of_its_scores_are(dtype: str) -> None:
    grid = grid_named(dtype)
    one_each = np.ones(grid.size, dtype=np.int64)
    covered = covered_at_places(one_each, grid)
    for i in range(0, len(PLACES), 97):
        first = grid.size - int(covered[i])
        assert first == grid.size or 1.0 - grid.lower_edge(first) <= PLACES[i]
        assert first == 0 or 1.0 - grid.lower_edge(first - 1) > PLACES[i]


def test_places_are_exact_and_fine_at_both_ends() -> None:
    assert np.all(np.diff(PLACES) < 0)
    assert np.array_equal(PLACES, np.round(PLACES * 2**24) / 2**24)
    assert np.array_equal(np.sort(1 - PLACES), PLACES[::-1])
    near = PLACES[(PLACES < 0.5) & (PLACES > 1e-3)]
    assert np.max(near[:-1] / near[1:]) < 1.012


def test_groups_are_bet_on_as_one_observation() -> None:
    maps, labels = photos(90)
    groups = [f"video {i // 3 + 1}" for i in range(90)]
    names = list(dict.fromkeys(groups))
    scores = true_scores(maps, labels)

    def losses_at(place: float) -> np.ndarray:
        return np.array([(s > place).mean() for s in scores]).reshape(-1, 3).mean(axis=1)

    found = calibrate_with_confidence(maps, labels, 0.2, groups=groups)
    assert found.qhat == pytest.approx(by_hand(losses_at, names, 0.2, 0.1), abs=0.002)
    assert (found.n_groups, found.guarantee.unit) == (30, "group")
    assert "on average over the images of a group and over groups" in found.guarantee.statement
    few = calibrate_with_confidence(maps[:60], labels[:60], 0.1, groups=groups[:60])
    assert few.qhat == math.inf
    assert "needs at least 22 groups, and there are 20" in few.guarantee.statement


def test_merging_and_states_are_the_same_to_the_bit() -> None:
    maps, labels = photos(30)
    ids = [f"p{i}" for i in range(30)]
    groups = {name: name[:2] for name in ids}
    for belongs in (None, groups):
        whole = ConfidenceCalibrator(0.2)
        whole.update(maps, labels, ids, belongs)
        for order in itertools.permutations(range(3)):
            merged = ConfidenceCalibrator(0.2)
            for part in order:
                other = ConfidenceCalibrator(0.2)
                mine = slice(part, None, 3)
                other.update(maps[mine], labels[mine], ids[mine], belongs)
                merged.merge(ConfidenceCalibrator.from_state(other.state()))
            assert merged.result(0.3) == whole.result(0.3)
            for name in ("place_names", "place_images", "place_credits"):
                assert np.array_equal(merged.state()[name], whole.state()[name]), name
        exact = whole.exact_result(maps, labels, 0.3, ids=ids, groups=belongs)
        assert exact == whole.result(0.3)


def test_without_ids_images_are_numbered_as_they_come() -> None:
    maps, labels = photos(30)
    whole = calibrate_with_confidence(maps, labels, 0.2)
    numbered = calibrate_with_confidence(maps, labels, 0.2, ids=range(30))
    stream = ConfidenceCalibrator()
    for scores, truth in zip(maps, labels):
        stream.update(scores, truth)
    parts = [ConfidenceCalibrator(), ConfidenceCalibrator()]
    parts[0].update(maps[:13], labels[:13])
    parts[1].update(maps[13:], labels[13:])
    merged = parts[0].merge(parts[1])
    assert whole == numbered == stream.result(0.2) == merged.result(0.2)
    backwards = calibrate_with_confidence(maps[::-1], labels[::-1], 0.2, ids=range(29, -1, -1))
    assert backwards.qhat == whole.qhat


def test_an_image_without_a_labelled_pixel_is_no_observation() -> None:
    maps, labels = photos(25)
    whole = calibrate_with_confidence(maps, labels, 0.2)
    blank = [*labels, np.full(maps[0].shape[1:], 255)]
    more = calibrate_with_confidence([*maps, maps[0]], blank, 0.2)
    assert more.qhat == whole.qhat
    assert more.n_images == 25


def test_images_that_miss_nothing_are_enough_when_the_formula_says_so() -> None:
    assert confident_images_needed(0.05) == math.ceil(math.log(0.1) / math.log(0.95))
    assert confident_images_needed(0.1, 0.01) == math.ceil(math.log(0.01) / math.log(0.9))
    needed = confident_images_needed(0.1)
    maps, labels = [np.full((2, 3, 3), 0.5)] * needed, [np.zeros((3, 3), int)] * needed
    assert calibrate_with_confidence(maps, labels, 0.1).qhat == 0.5
    short = calibrate_with_confidence(maps[1:], labels[1:], 0.1)
    assert short.qhat == math.inf
    assert f"needs at least {needed} images, and there are {needed - 1}" in (
        short.guarantee.statement
    )
    assert f"qhat=inf (needs at least {needed} images)" in repr(short)
    with pytest.raises(OptionError, match="more than 1,048,576 images"):
        confident_images_needed(1e-7)


def test_more_confidence_and_less_to_miss_ask_for_a_higher_threshold() -> None:
    maps, labels = photos(200)

    def qhat(alpha: float, delta: float) -> float:
        return float(calibrate_with_confidence(maps, labels, alpha, delta).qhat)

    assert qhat(0.2, 0.01) > qhat(0.2, 0.1) > qhat(0.3, 0.1)


def test_it_says_what_it_promises_and_keeps_it_in_its_file() -> None:
    maps, labels = photos(60)
    found = calibrate_with_confidence(maps, labels, 0.2, 0.05)
    assert found.guarantee.exact
    assert (found.guarantee.name, found.guarantee.unit, found.delta) == (
        "confidence",
        "image",
        0.05,
    )
    assert found.guarantee.statement == (
        "With probability at least 95 % over the calibration images, at least 80 % of a new "
        "image's pixels have their true class in the prediction set on average over images, if all "
        "images are independent draws of one distribution."
    )
    again = Calibration.from_json(found.to_json())
    assert again == found
    assert again.delta == 0.05
    volumes = [scores[None, :, None] for scores in maps]
    of_volumes = calibrate_with_confidence(volumes, [truth[None, None] for truth in labels], 0.2)
    assert of_volumes.guarantee.unit == "volume"


def test_what_is_refused() -> None:
    maps, labels = photos(4)
    for delta in (0, 1, True, "0.1"):
        with pytest.raises(OptionError, match="delta"):
            calibrate_with_confidence(maps, labels, 0.1, delta)
    with pytest.raises(ShapeError, match="separate points"):
        calibrate_with_confidence(np.full((9, 2), 0.5), np.zeros(9, int), 0.1)
    calibrator = ConfidenceCalibrator()
    calibrator.update(maps[:2], labels[:2], ids=["a", "b"])
    with pytest.raises(OptionError, match="some images came with ids and some without"):
        calibrator.update(maps[2:], labels[2:])
    assert calibrator.n_images == 2
    with pytest.raises(OptionError, match="delta"):
        calibrator.merge(ConfidenceCalibrator(0.2))
    state = calibrator.state()
    state["place_credits"] = state["place_credits"][:, 1:]
    with pytest.raises(CalibrationFileError, match="other thresholds"):
        ConfidenceCalibrator.from_state(state)
