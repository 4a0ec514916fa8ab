"""Groups of images: exact formulas, exact laws on correlated groups, and what ignoring them costs.

The score of a pixel is ``Phi(sqrt(g) a_group + sqrt(r) b_image + sqrt(1 - g - r) e_pixel)``, which
is uniform, so that a threshold q covers a share q of pixels and the truth is known. Seeds are
fixed; under another seed each assertion would raise a false alarm in one run of 1000 (``ALARM``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom, norm

from conformal_plugin import (
    Calibration,
    Calibrator,
    ClassConditionalImageLevelCalibrator,
    ImageLevelCalibrator,
    ImageWiseCalibrator,
    PrecisionCalibrator,
    calibrate,
    calibrate_class_conditional,
    calibrate_class_conditional_image_level,
    calibrate_clustered,
    calibrate_image_level,
    calibrate_image_wise,
    calibrate_precision,
    choose,
)
from conformal_plugin.betting import betting_order, betting_pvalue
from conformal_plugin.errors import (
    CalibrationFileError,
    InputTypeError,
    OptionError,
    ShapeError,
    TooFewImagesError,
)
from conformal_plugin.precision import (
    PrecisionTarget,
    ThresholdPath,
)

ALARM = 1e-3
ALPHA = 0.1
PIXELS = 40


def drawn_groups(
    rng: np.random.Generator, sizes: Sequence[int], group: float = 0.6, image: float = 0.2
) -> tuple[np.ndarray, list[str]]:
    """Uniform scores ``(images, PIXELS)``, correlated in groups of these sizes; group names."""
    shared = np.repeat(rng.standard_normal(len(sizes)), sizes)[:, None]
    own = rng.standard_normal((len(shared), 1))
    noise = rng.standard_normal((len(shared), PIXELS))
    z = math.sqrt(group) * shared + math.sqrt(image) * own + math.sqrt(1 - group - image) * noise
    return ndtr(z), [f"group {g}" for g, size in enumerate(sizes) for _ in range(size)]


def maps_of(scores: np.ndarray, dtype: Any = np.float16) -> tuple[np.ndarray, np.ndarray]:
    p = (1 - scores).astype(dtype)
    return np.stack([p, 1 - p], axis=1)[:, :, None], np.zeros((len(scores), 1, PIXELS), np.uint8)


def literal(
    scores: np.ndarray, groups: Sequence[str], alpha: float, loss: Callable[[Any], Fraction]
) -> float:
    """The smallest candidate q whose groups' mean losses sum to at most alpha (G + 1) - 1."""
    names = sorted(set(groups))
    allowed = Fraction(str(alpha)) * (len(names) + 1) - 1
    for q in [*np.unique(scores)]:
        total = Fraction(0)
        for name in names:
            mine = [loss(row > q) for row, group in zip(scores, groups) if group == name]
            total += sum(mine, Fraction(0)) / len(mine)
        if total <= allowed:
            return float(q)
    return math.inf


def missed(row: Any) -> Fraction:
    return Fraction(int(row.sum()), len(row))


def falls_short(row: Any) -> Fraction:
    return Fraction(int(missed(row) > 1 - Fraction("0.9")))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("seed", range(4))
def test_q_hat_is_the_literal_formula(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    scores, groups = drawn_groups(rng, rng.integers(1, 6, 12))
    if seed % 2:
        scores = scores.round(1)  # ties, at which a rounded sum would go wrong
    maps, labels = maps_of(scores, dtype)
    nonconformity = 1 - maps[:, 0, 0].astype(np.float64)
    level = calibrate_image_level(maps, labels, 0.2, groups=groups)
    assert level.qhat == literal(nonconformity, groups, 0.2, missed)
    wise = calibrate_image_wise(maps, labels, 0.2, 0.9, groups=groups)
    assert wise.qhat == literal(nonconformity, groups, 0.2, falls_short)
    for result in (level, wise):
        assert (result.n_groups, result.n_images) == (12, len(maps))
        assert (result.guarantee.unit, result.guarantee.exact) == ("group", True)
        assert "new exchangeable group" in result.guarantee.statement
    by_class = calibrate_class_conditional_image_level(maps, labels, 0.2, groups=groups)
    assert by_class.qhat[0] == level.qhat
    assert by_class.groups_per_class is not None
    assert by_class.groups_per_class.tolist() == [12, 0]
    assert calibrate_clustered(maps, labels, 0.2, clusters=[0, 0], groups=groups).qhat[0] == (
        level.qhat
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_groups_of_one_image_are_no_groups(dtype: Any) -> None:
    scores, _ = drawn_groups(np.random.default_rng(1), [1] * 30)
    maps, labels = maps_of(scores, dtype)
    alone = [f"alone {i}" for i in range(30)]
    for function in (
        calibrate,
        calibrate_image_level,
        calibrate_image_wise,
        calibrate_class_conditional,
        calibrate_class_conditional_image_level,
    ):
        plain, grouped = (function(maps, labels, ALPHA, groups=g) for g in (None, alone))
        assert np.array_equal(plain.qhat, grouped.qhat)
        assert plain.n_effective == grouped.n_effective
        assert np.array_equal(plain.images_per_class, grouped.groups_per_class)
        assert (plain.n_groups, grouped.n_groups) == (None, 30)
    options: dict[str, Any] = {"ids": alone}
    bets = [calibrate_precision(maps, labels, 0.4, groups=g, **options) for g in (None, alone)]
    assert np.array_equal(bets[0].qhat, bets[1].qhat)


COUNTERS = [
    Calibrator,
    ImageLevelCalibrator,
    ImageWiseCalibrator,
    ClassConditionalImageLevelCalibrator,
]


@pytest.mark.parametrize("kind", COUNTERS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_streams_merges_and_saved_states_count_the_same(kind: Any, dtype: Any) -> None:
    rng = np.random.default_rng(2)
    scores, groups = drawn_groups(rng, [3, 1, 4, 1, 5, 2, 6, 5, 3, 5])
    maps, labels = maps_of(scores, dtype)
    whole = kind()
    whole.update(maps, labels, groups=groups)
    # A group's images lie on both sides, in another order.
    parts = [kind(), kind()]
    for place, number in enumerate(rng.permutation(len(maps)).tolist()):
        part = parts[place % 2]
        part.update(maps[number], labels[number], [number], {str(number): groups[number]})
        if place == 11:
            parts[0] = kind.from_state(parts[0].state())
    merged = parts[0].merge(parts[1])
    again = kind.from_state({name: value.copy() for name, value in merged.state().items()})
    for alpha in (0.1, 0.15, 0.3):
        expected = whole.result(alpha)
        for counted in (merged, again):
            assert counted.result(alpha) == expected
    exact = whole.exact_result(maps, labels, 0.15, groups=groups)
    functions = dict(zip(COUNTERS, (calibrate, calibrate_image_level, calibrate_image_wise, None)))
    function = functions[kind] or calibrate_class_conditional_image_level
    assert exact == function(maps, labels, 0.15, groups=groups)
    assert exact == function(list(maps), list(labels), 0.15, groups=groups)


def test_separate_points_may_come_in_groups() -> None:
    rng = np.random.default_rng(3)
    scores, groups = drawn_groups(rng, [7, 2, 9, 5, 1, 8, 4, 6, 3, 5])
    points = np.stack([1 - scores[:, 0], scores[:, 0]], axis=1)
    labels = np.zeros(len(points), dtype=np.int64)
    result = calibrate_image_level(points, labels, 0.2, groups=groups)
    assert result.qhat == literal(1 - points[:, :1], groups, 0.2, missed)
    heuristic = calibrate(points, labels, 0.2, groups=groups)
    assert heuristic.qhat == calibrate(points, labels, 0.2).qhat
    assert (heuristic.guarantee.exact, heuristic.guarantee.unit) == (False, "pixel")
    assert heuristic.n_effective is not None
    assert heuristic.n_effective < len(points)
    streamed = Calibrator()
    streamed.update(points, labels, groups=groups)
    assert streamed.exact_result(points, labels, 0.2, groups=groups) == heuristic


def test_old_files_load_and_new_ones_say_what_they_are_of() -> None:
    scores, groups = drawn_groups(np.random.default_rng(4), [2] * 12)
    maps, labels = maps_of(scores)
    plain, grouped = (calibrate(maps, labels, ALPHA, groups=g) for g in (None, groups))
    assert "group" not in plain.to_json()
    assert Calibration.from_json(plain.to_json()) == plain
    assert Calibration.from_json(grouped.to_json()) == grouped
    assert "24 images in 12 groups" in repr(grouped).replace("n_images=24", "24 images")
    damaged = grouped.to_json().replace('"n_groups": 12', '"n_groups": 0')
    with pytest.raises(CalibrationFileError, match="n_groups"):
        Calibration.from_json(damaged)
    calibrator = ImageLevelCalibrator()
    calibrator.update(maps, labels)
    assert int(calibrator.state()["version"]) == 1
    assert not any(name.startswith("group") for name in calibrator.state())
    calibrator = ImageLevelCalibrator()
    calibrator.update(maps, labels, groups=groups)
    assert int(calibrator.state()["version"]) == 2
    cut = calibrator.state()
    cut["group_codes"] = cut["group_codes"][:-1]
    with pytest.raises(CalibrationFileError, match="damaged"):
        ImageLevelCalibrator.from_state(cut)


def test_groups_that_cannot_be_are_refused() -> None:
    scores, groups = drawn_groups(np.random.default_rng(5), [2] * 5)
    maps, labels = maps_of(scores)
    with pytest.raises(ShapeError, match="groups ended after 9"):
        calibrate_image_level(maps, labels, ALPHA, groups=groups[:-1])
    with pytest.raises(ShapeError, match="more groups than the 10 images"):
        calibrate_image_level(maps, labels, ALPHA, groups=[*groups, "z"])
    with pytest.raises(InputTypeError, match="one group per image"):
        calibrate(maps, labels, ALPHA, groups="patient")
    with pytest.raises(OptionError, match="groups by id need the images' ids"):
        calibrate(maps, labels, ALPHA, groups={"0": "a"})
    with pytest.raises(OptionError, match="1 ids have no group, '1' for one"):
        calibrate(maps, labels, ALPHA, ids=range(10), groups={"0": "a"})
    with pytest.raises(OptionError, match="an image has no group"):
        calibrate(maps, labels, ALPHA, groups=[None, *groups[1:]])
    for calibrator in (ImageLevelCalibrator(), PrecisionCalibrator()):
        calibrator.update(maps[:4], labels[:4], list("abcd"), groups[:4])
        with pytest.raises(OptionError, match="some images came with groups and some without"):
            calibrator.update(maps[4:], labels[4:], list("efghij"))
    level = ImageLevelCalibrator()
    level.update(maps.astype(np.float32), labels, groups=groups)
    with pytest.raises(OptionError, match="groups must be given where images are counted"):
        level.exact_result(maps, labels, 0.4)
    with pytest.raises(OptionError, match="1 images of the group 'group 4' where 2"):
        level.exact_result(maps[:-1].astype(np.float32), labels[:-1], 0.4, groups=groups[:-1])


def test_few_groups_are_few_whatever_the_images() -> None:
    scores, groups = drawn_groups(np.random.default_rng(6), [10] * 8)
    maps, labels = maps_of(scores)
    assert math.isfinite(float(calibrate_image_level(maps, labels, ALPHA).qhat))
    result = calibrate_image_level(maps, labels, ALPHA, groups=groups)
    assert math.isinf(float(result.qhat))
    assert "needs at least 9 groups, and there are 8" in result.guarantee.statement
    assert "needs at least 9 groups" in repr(result)
    with pytest.raises(TooFewImagesError, match="at least 9 groups of every class"):
        calibrate_class_conditional_image_level(maps, labels, ALPHA, few="fail", groups=groups)
    assert calibrate_class_conditional(maps, labels, ALPHA, groups=groups).pooled_classes == (0, 1)


def least_hits(trials: int, probability: float) -> int:
    return int(binom.ppf(ALARM, trials, probability))


GROUPS, REPEATS = 20, 250


def sizes_of(rng: np.random.Generator) -> np.ndarray:
    """Mostly one or two images, sometimes many: what an image says depends on its group."""
    return np.where(rng.random(GROUPS) < 0.8, rng.integers(1, 3, GROUPS), 15)


def test_a_random_image_of_a_new_group_is_covered_as_promised() -> None:
    """One pixel of one image of one new group a repeat: trials with an exact law."""
    rng = np.random.default_rng(7)
    hits, wise_hits, truth = 0, 0, []
    for _ in range(REPEATS):
        scores, groups = drawn_groups(rng, sizes_of(rng))
        maps, labels = maps_of(scores)
        level = float(calibrate_image_level(maps, labels, ALPHA, groups=groups).qhat)
        wise = float(calibrate_image_wise(maps, labels, ALPHA, 0.9, groups=groups).qhat)
        new = drawn_groups(rng, [1])[0][0]
        hits += int(new[0] <= level)
        wise_hits += int((new <= wise).mean() >= 0.9)
        truth.append(min(level, 1.0))
    assert hits >= least_hits(REPEATS, 1 - ALPHA)
    assert wise_hits >= least_hits(REPEATS, 1 - ALPHA)
    coverage = np.array(truth)
    # And not by being loose: risk control overshoots by at most 2 / (G + 1).
    high = 1 - ALPHA + 2 / (GROUPS + 1)
    spread = coverage.std(ddof=1) / math.sqrt(REPEATS)
    assert 1 - ALPHA - norm.isf(ALARM) * spread <= coverage.mean()
    assert coverage.mean() <= high + norm.isf(ALARM) * spread


def test_ignoring_groups_breaks_the_promise_and_naming_them_keeps_it() -> None:
    """Half of the groups are single photos, half videos of 12 frames that are scored better.

    Most images are frames, so that their mean says too good a thing of a random group's image.
    """
    rng = np.random.default_rng(8)
    means: dict[str, list[float]] = {"ignored": [], "named": []}
    for _ in range(150):
        sizes = np.where(rng.random(GROUPS) < 0.5, 1, 12)
        scores, groups = drawn_groups(rng, sizes)
        easy = np.repeat(sizes, sizes)[:, None] > 1
        scores = np.where(easy, scores**8, scores)
        maps, labels = maps_of(scores)
        for name, given in (("ignored", None), ("named", groups)):
            q = min(float(calibrate_image_level(maps, labels, ALPHA, groups=given).qhat), 1.0)
            means[name].append(0.5 * q ** (1 / 8) + 0.5 * q)
    low = {
        name: 1 - ALPHA - norm.isf(ALARM) * np.std(values, ddof=1) / math.sqrt(len(values))
        for name, values in means.items()
    }
    assert np.mean(means["named"]) >= low["named"]
    assert np.mean(means["ignored"]) < low["ignored"]


def swapped(
    rng: np.random.Generator, groups: int, frames: int, rate: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Sure maps of groups whose frames are all wrong, or all right, together."""
    wrong = np.repeat(rng.random(groups) < rate, frames)
    scores = np.full((groups * frames, 2, 1, 8), 0.02, dtype=np.float32)
    scores[:, 1] = 0.98
    labels = np.where(wrong, 0, 1)[:, None, None] * np.ones((1, 1, 8), dtype=int)
    return scores, labels, [f"g{g}" for g in range(groups) for _ in range(frames)]


def test_precision_certifies_groups_at_its_level_and_frames_above_it() -> None:
    """All frames of a group are wrong together, with exactly epsilon: nothing may be certified."""
    rng = np.random.default_rng(9)
    runs, epsilon, delta = 120, 0.2, 0.1
    certified = {"ignored": 0, "named": 0}
    for _ in range(runs):
        maps, labels, groups = swapped(rng, 25, 6, epsilon)
        for name, given in (("ignored", None), ("named", groups)):
            result = calibrate_precision(
                maps, labels, epsilon, delta, rule="most-probable", groups=given
            )
            certified[name] += int(np.isfinite(result.qhat))
    most = int(binom.isf(ALARM, runs, delta))
    assert certified["named"] <= most < certified["ignored"]
    assert result.guarantee.unit == "group"
    assert "over the calibration groups" in result.guarantee.statement or (
        "150 images of 25 groups" in result.guarantee.statement
    )


def test_precision_with_groups_travels_in_states_and_merges() -> None:
    maps, labels, groups = swapped(np.random.default_rng(10), 40, 3, 0.05)
    ids = [f"i{i}" for i in range(len(maps))]
    whole = PrecisionCalibrator()
    whole.update(maps, labels, ids, dict(zip(ids, groups)))
    halves = [PrecisionCalibrator(), PrecisionCalibrator()]
    for half, part in zip(halves, (slice(None, None, 2), slice(1, None, 2))):
        half.update(maps[part], labels[part], ids[part], groups[part])
    merged = PrecisionCalibrator.from_state(halves[1].state()).merge(halves[0])
    assert merged.n_groups == whole.n_groups == 40
    assert merged.result(0.3) == whole.result(0.3)
    assert whole.result(0.3).n_groups == 40
    assert int(whole.state()["version"]) == 3
    with pytest.raises(OptionError, match="or one in two groups"):
        whole.update(maps[:1], labels[:1], ids[:1], ["another"])
    chosen = whole.counts().subset(ids[:6])
    assert chosen.n_groups == 2


def test_large_groups_are_not_bet_on_first() -> None:
    """Large groups without an error, small ones with twice epsilon: the bets may not see size."""
    rng = np.random.default_rng(12)
    sizes = np.where(rng.random(200) < 0.5, 30, 1)
    groups = [f"g{g}" for g, size in enumerate(sizes) for _ in range(size)]
    calibrator = PrecisionCalibrator(rule="most-probable", path=ThresholdPath.plain([0.1]))
    maps = np.full((len(groups), 2, 1, 1), 0.5, dtype=np.float32)
    ids = [f"i{i}" for i in range(len(groups))]
    calibrator.update(maps, np.zeros((len(groups), 1, 1), dtype=int), ids, groups)
    order = list(dict.fromkeys(calibrator.counts().groups or ()))
    assert order == [f"g{g}" for g in betting_order([f"g{g}" for g in range(200)])]
    large = np.array([sizes[int(name[1:])] > 1 for name in order])
    # Any half of the order holds as many large groups as chance gives.
    in_first_half = int(large[:100].sum())
    assert abs(in_first_half - large.sum() / 2) < 4 * math.sqrt(100 / 4)
    # Images of one group stand together, by a hash of their ids.
    assert calibrator.counts().n_groups == 200
    runs = sum(a != b for a, b in zip(calibrator.counts().groups, calibrator.counts().groups[1:]))
    assert runs == 199


def test_scouts_are_groups() -> None:
    """Seven groups choose where to start, and none of their frames is bet on."""
    maps, labels, groups = swapped(np.random.default_rng(13), 40, 3, 0.05)
    calibrator = PrecisionCalibrator(rule="most-probable")
    calibrator.update(maps, labels, groups=groups)
    counts, path, target = calibrator.counts(), calibrator.path, PrecisionTarget(0.3)
    assert path.scouts == 7
    wrong = (counts.wrong > 0)[:, -1].reshape(40, 3)[:, 0].astype(float)
    # Everything is kept where no cap binds: a group's loss is whether it is wrong.
    p = betting_pvalue(wrong[7:], 0.3)
    assert (target.certified(counts, path) == len(path) - 1) == (p <= 0.1)
    few = counts.taken(range(21))
    assert few.n_groups == 7
    assert PrecisionTarget(0.9).certified(few, path) is None
    assert PrecisionTarget(0.9, planned=40).certified(few, path) is None


def test_the_images_at_hand_are_single_ones() -> None:
    maps, labels, groups = swapped(np.random.default_rng(14), 40, 3, 0.0)
    with pytest.raises(OptionError, match="leave groups or unlabelled_images out"):
        calibrate_precision(maps, labels, 0.3, groups=groups, unlabelled_images=100)
    calibrator = PrecisionCalibrator()
    calibrator.update(maps, labels, groups=groups)
    with pytest.raises(OptionError, match="leave groups or unlabelled_images out"):
        calibrator.result(0.3, unlabelled_images=100)


def test_choose_deals_whole_groups() -> None:
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 2, (24, 8, 8))
    right = (labels[:, None] == np.arange(2)[:, None, None]).astype(np.float32)
    maps = 0.6 * right + 0.4 * rng.random((24, 2, 8, 8), dtype=np.float32)
    groups = [f"g{i % 6}" for i in range(24)]
    choice = choose(maps, labels, groups=groups)
    assert (choice.folds, choice.n_groups, choice.n_images) == (6, 6, 24)
    assert "24 images of 6 groups" in choice.verdict
    # The same as of images that are a group's pixels side by side.
    order = [[i for i in range(24) if groups[i] == f"g{g}"] for g in range(6)]
    wide = np.stack([np.concatenate(list(maps[o]), axis=2) for o in order])
    wide_labels = np.stack([np.concatenate(list(labels[o]), axis=1) for o in order])
    pooled = choose(wide, wide_labels)
    assert [c.miou for c in choice.candidates] == [c.miou for c in pooled.candidates]
    assert [c.miou_se for c in choice.candidates] == [c.miou_se for c in pooled.candidates]
    with pytest.raises(TooFewImagesError, match="label more groups"):
        choose(maps, labels, groups=["one"] * 24)
