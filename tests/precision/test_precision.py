"""Precision control from end to end: what is promised, in which order, and what is refused."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conformal_plugin.calibration import Calibration, Calibrator
from conformal_plugin.errors import (
    CalibrationFileError,
    EmptyCalibrationError,
    OptionError,
    ShapeError,
)
from conformal_plugin.evaluation import evaluate
from conformal_plugin.labelling import filter as keep
from conformal_plugin.precision import (
    PrecisionCalibrator,
    PrecisionTarget,
    ThresholdPath,
    calibrate_precision,
)
from conformal_plugin.training import ConformalSupervision

IMAGES, SIDE = 60, 8


def photos(
    seed: int, count: int, *, wrong: float = 0.02, side: int = SIDE
) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
    """Images of three classes; in a share ``wrong`` of them everything is mistaken for class 0."""
    rng = np.random.default_rng(seed)
    scores, labels = [], []
    for _ in range(count):
        truth = rng.integers(0, 3, (side, side))
        seen = np.zeros_like(truth) if rng.random() < wrong else truth
        sure = rng.uniform(0.5, 1.0, truth.shape)
        maps = np.repeat(((1 - sure) / 2)[None], 3, axis=0)
        np.put_along_axis(maps, seen[None], sure[None], axis=0)
        scores.append(maps.astype(np.float32))
        labels.append(truth)
    return scores, labels


@pytest.fixture(scope="module")
def counted() -> PrecisionCalibrator:
    calibrator = PrecisionCalibrator()
    calibrator.update(*photos(0, IMAGES), ids=range(IMAGES))
    return calibrator


@pytest.mark.parametrize(
    ("rule", "weighting", "test"),
    [
        ("foreground-first", "share", "betting"),
        ("foreground-first", "pixel", "betting"),
        ("foreground-first", "macro", "hoeffding-bentkus"),
        ("most-probable", "share", "hoeffding-bentkus"),
        ("singleton", "macro", "betting"),
    ],
)
def test_what_is_certified_holds_on_new_images(rule: str, weighting: str, test: str) -> None:
    calibration = calibrate_precision(
        *photos(0, IMAGES),
        0.3,
        rule=rule,
        weighting=weighting,
        test=test,
        max_pixels=SIDE**2 if weighting == "pixel" else None,
    )
    result = evaluate(*photos(1, 60), calibration, rule=rule)
    assert result.kept > 0.2
    assert result.precision >= 0.7
    assert calibration.guarantee.exact
    assert calibration.guarantee.unit == "image"
    assert calibration.guarantee.name == f"precision-{weighting}"
    assert rule in calibration.guarantee.statement
    assert "at least 90 %" in calibration.guarantee.statement
    assert (calibration.alpha, calibration.n_images) == (0.3, IMAGES)
    assert calibration.n_pixels == IMAGES * SIDE**2
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_the_promise_is_of_the_population_and_tells_what_is_not_promised() -> None:
    scores, labels = photos(0, IMAGES, wrong=0.1)
    calibration = calibrate_precision(scores, labels, 0.3)
    statement = calibration.guarantee.statement
    assert "in the population of images that these come from" in statement
    result = evaluate(scores, labels, calibration)
    foreground = result.confusion[:, 1:-1]  # in none of these images is a foreground label wrong
    assert foreground.sum() == np.trace(foreground[1:])
    assert "on the calibration images themselves 0.0 % of its kept labels are wrong" in statement
    assert f"of all kept labels {100 * (1 - result.precision):.1f} %" in statement


def test_a_bound_read_off_the_images_is_no_theorem() -> None:
    read_off = calibrate_precision(*photos(0, IMAGES), 0.3, weighting="pixel")
    known = calibrate_precision(*photos(0, IMAGES), 0.3, weighting="pixel", max_pixels=SIDE**2)
    assert not read_off.guarantee.exact
    assert "Heuristic: the bound on the images' sizes was read off" in read_off.guarantee.statement
    assert known.guarantee.exact
    assert "Heuristic" not in known.guarantee.statement
    assert np.array_equal(read_off.qhat, known.qhat)


def test_of_the_certified_places_the_one_that_keeps_most_is_taken() -> None:
    # Under the singleton rule a loose threshold leaves more than one class, and keeps nothing.
    path = ThresholdPath.plain([0.2, 0.45, 0.9])
    calibration = calibrate_precision(
        *photos(0, IMAGES), 0.3, rule="singleton", weighting="macro", path=path
    )
    assert calibration.qhat == 0.45


def test_looser_promises_keep_at_least_as_much(counted: PrecisionCalibrator) -> None:
    kept = [
        evaluate(*photos(1, 20), counted.result(epsilon, delta)).kept
        for epsilon, delta in ((0.1, 0.1), (0.2, 0.05), (0.2, 0.1), (0.3, 0.3))
    ]
    assert kept == sorted(kept)
    assert kept[1] > 0


def test_thresholds_work_for_filter_and_training(counted: PrecisionCalibrator) -> None:
    calibration = counted.result(0.2)
    scores = torch.from_numpy(np.stack(photos(1, 2)[0]))
    labels = keep(scores, calibration)
    assert int((labels != 255).sum()) > 0
    logits = torch.zeros(2, 3, SIDE, SIDE, requires_grad=True)
    supervise = ConformalSupervision(torch.nn.CrossEntropyLoss(ignore_index=255), num_classes=3)
    from_labels = supervise(logits, labels)
    on_the_fly = ConformalSupervision(
        torch.nn.CrossEntropyLoss(ignore_index=255), calibration=calibration, num_classes=3
    )(logits, scores)
    assert from_labels.item() == pytest.approx(on_the_fly.item())


def test_keep_nothing_is_said_plainly_and_keeps_nothing(counted: PrecisionCalibrator) -> None:
    calibration = counted.result(0.01)
    assert calibration.qhat == -math.inf
    statement = calibration.guarantee.statement
    assert statement.startswith("Keep nothing: at no threshold do these 60 images show")
    assert "at most a share 0.01 of the kept labels is wrong" in statement
    scores, labels = photos(1, 2)
    for rule in ("foreground-first", "most-probable", "singleton"):
        assert (keep(scores[0], calibration.qhat, rule=rule) == 255).all()
    assert evaluate(scores, labels, calibration).kept_pixels == 0
    assert Calibration.from_json(calibration.to_json()).qhat == -math.inf
    smallest = PrecisionTarget(0.01).smallest_epsilon(counted.counts(), counted.path)
    assert smallest is not None
    assert f"could be certified with these images is about {smallest:g}" in statement
    assert np.all(np.asarray(counted.result(smallest).qhat) > 0)
    assert counted.result(smallest - 0.001).qhat == -math.inf


def test_the_promised_rule_is_the_default_and_no_other_passes_silently() -> None:
    scores, labels = photos(1, 90, wrong=0.0)
    calibration = calibrate_precision(scores, labels, 0.1, rule="singleton", background=2)
    assert (calibration.rule, calibration.background) == ("singleton", 2)
    assert "rule='singleton'" in repr(calibration)
    assert Calibration.from_json(calibration.to_json()) == calibration
    maps = scores[0]
    promised = keep(maps, calibration)
    assert np.array_equal(promised, keep(maps, calibration.qhat, rule="singleton"))
    assert np.array_equal(promised, keep(maps, calibration, rule="singleton", background=2))
    assert evaluate(maps, labels[0], calibration).rule == "singleton"
    supervise = ConformalSupervision(torch.nn.CrossEntropyLoss(), calibration=calibration)
    assert (supervise.rule, supervise.background) == ("singleton", 2)
    for options in ({"rule": "most-probable"}, {"background": 0}):
        with pytest.raises(OptionError, match="calibrate for it, or pass the calibration's qhat"):
            keep(maps, calibration, **options)
        with pytest.raises(OptionError, match="the calibration is for"):
            evaluate(maps, labels[0], calibration, **options)
        with pytest.raises(OptionError, match="the calibration is for"):
            ConformalSupervision(torch.nn.CrossEntropyLoss(), calibration=calibration, **options)


def test_a_saved_calibrator_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    scores, labels = photos(2, 40)
    names = [f"photo {i}" for i in range(40)]
    path = ThresholdPath.one_threshold()
    whole = PrecisionCalibrator(rule="most-probable", background=1, path=path)
    whole.update(scores, labels, names)
    half = PrecisionCalibrator(rule="most-probable", background=1, path=path)
    half.update(scores[:20], labels[:20], names[:20])
    np.savez(tmp_path / "state.npz", **half.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as stored:
        again = PrecisionCalibrator.from_state({name: stored[name] for name in stored.files})
    again.update(scores[10:], labels[10:], names[10:])  # ten of them for the second time
    assert again.n_images == 40
    assert again.result(0.1) == whole.result(0.1)
    assert np.array_equal(again.counts().wrong, whole.counts().wrong)
    empty = PrecisionCalibrator.from_state(PrecisionCalibrator().state())
    empty.update(scores, labels)
    unnamed = PrecisionCalibrator.from_state(empty.state())
    unnamed.update(scores, labels)
    assert unnamed.n_images == 80  # without ids, the numbering goes on


def test_a_damaged_or_foreign_state_is_refused() -> None:
    state = PrecisionCalibrator().state()
    with pytest.raises(CalibrationFileError, match="state of a PrecisionCalibrator, and a Calibr"):
        Calibrator.from_state(state)
    with pytest.raises(CalibrationFileError, match="damaged .*starts"):
        PrecisionCalibrator.from_state({k: v for k, v in state.items() if k != "path_starts"})


def test_no_epsilon_at_all_is_said_too() -> None:
    scores, labels = photos(0, 1, wrong=1.0)
    statement = calibrate_precision(scores, labels, 0.05).guarantee.statement
    assert "no epsilon could be certified with these images" in statement


def test_losses_mean_epsilon_exactly_where_the_promise_does(counted: PrecisionCalibrator) -> None:
    counts, epsilon = counted.counts(), 0.05
    for weighting in ("share", "pixel"):
        target = PrecisionTarget(epsilon, weighting=weighting)
        losses, size = target.losses(counts, counted.path), target.sizes(counts, counted.path)
        assert (counts.kept <= size).all()
        excess = (counts.wrong / size).mean(axis=0) - epsilon * (counts.kept / size).mean(axis=0)
        assert losses.mean(axis=0) - epsilon == pytest.approx(excess)
        assert losses.min() >= 0
        assert losses.max() <= 1
    macro = PrecisionTarget(epsilon, weighting="macro").losses(counts, counted.path)
    assert macro[counts.kept == 0].max(initial=0.0) == 0.0


def test_order_batches_ranks_and_repeats_do_not_matter(counted: PrecisionCalibrator) -> None:
    scores, labels = photos(0, IMAGES)
    order = list(range(IMAGES)) + [3, 3, 40]  # hosts repeat the labelled ids
    random.Random(0).shuffle(order)
    ranks = [PrecisionCalibrator() for _ in range(3)]
    for position, i in enumerate(order):
        ranks[position % 3].update(scores[i], labels[i], ids=[i])
    merged = ranks[2].merge(ranks[0]).merge(ranks[1]).merge(PrecisionCalibrator())
    assert merged.n_images == IMAGES
    for weighting in ("share", "macro"):
        for epsilon in (0.05, 0.1, 0.2):
            one, other = (c.result(epsilon, weighting=weighting) for c in (counted, merged))
            assert one == other


def test_images_without_a_label_do_not_count_and_do_not_shift_numbers() -> None:
    scores, labels = photos(0, 3)
    labels[0][:] = 255
    calibrator = PrecisionCalibrator()
    calibrator.update(scores[:2], labels[:2])
    calibrator.update(scores[2:], labels[2:])
    assert calibrator.n_images == 2
    assert sorted(calibrator.counts().ids) == ["1", "2"]


def test_one_count_serves_iterators_and_batches() -> None:
    scores, labels = photos(0, 20, wrong=0.0)
    batch = calibrate_precision(np.stack(scores), np.stack(labels), 0.4)
    assert batch == calibrate_precision(iter(scores), iter(labels), 0.4)
    assert np.all(np.asarray(batch.qhat) > 0)


def test_options_that_are_refused() -> None:
    scores, labels = photos(0, 2)
    for name in ("epsilon", "delta"):
        for wrong in (0, 1, math.nan, "0.1", True):
            with pytest.raises(OptionError, match=f"{name} must be a number strictly between 0"):
                calibrate_precision(scores, labels, **{"epsilon": 0.1, name: wrong})
    for options, message in (
        ({"rule": "best"}, "rule must be one of foreground-first, most-probable, singleton"),
        ({"weighting": "micro"}, "weighting must be one of share, pixel, macro, got 'micro'"),
        ({"test": "clt"}, "test must be one of betting, hoeffding-bentkus, got 'clt'"),
        ({"background": 3}, "background must be a class index in 0 ... 2, got 3"),
        ({"max_pixels": 64}, "max_pixels belongs to weighting='pixel'"),
        ({"max_pixels": 63, "weighting": "pixel"}, "max_pixels is 63 and an image has 64"),
        ({"max_pixels": 0, "weighting": "pixel"}, "max_pixels must be a positive integer, got 0"),
        ({"max_pixels": 64.0, "weighting": "pixel"}, "must be a positive integer, got 64.0"),
        (
            {"rule": "singleton", "path": ThresholdPath.foreground_first()},
            "takes one threshold for all classes, and this path sets background apart",
        ),
    ):
        with pytest.raises(OptionError, match=message):
            calibrate_precision(scores, labels, 0.1, **options)


def test_ids_that_are_refused() -> None:
    scores, labels = photos(0, 3)
    with pytest.raises(ShapeError, match="ids ended after 2 images"):
        calibrate_precision(scores, labels, 0.1, ids=["a", "b"])
    with pytest.raises(ShapeError, match="ids went on after 3 images"):
        calibrate_precision(scores, labels, 0.1, ids=["a", "b", "c", "d"])
    with pytest.raises(OptionError, match="id 'a' names two images that differ"):
        calibrate_precision(scores, labels, 0.1, ids=["a", "b", "a"])
    named, unnamed = PrecisionCalibrator(), PrecisionCalibrator()
    named.update(scores[:1], labels[:1], ids=["a"])
    unnamed.update(scores[:1], labels[:1])
    with pytest.raises(OptionError, match="cannot merge images without ids"):
        named.merge(unnamed)
    with pytest.raises(OptionError, match="some images came with ids and some without"):
        named.update(scores[1:], labels[1:])
    assert named.n_images == 1
    other = PrecisionCalibrator(rule="most-probable")
    with pytest.raises(OptionError, match="another rule, background, ignore_index, of or path"):
        named.merge(other)
    with pytest.raises(ShapeError, match="same number of classes: 3 came first, now 2"):
        named.update(np.full((2, 2, 2), 0.5), np.zeros((2, 2), dtype=int), ids=["d"])


def test_an_empty_set_is_refused() -> None:
    scores, labels = photos(0, 2)
    with pytest.raises(EmptyCalibrationError, match="holds no labelled pixel"):
        calibrate_precision(scores, [np.full_like(y, 255) for y in labels], 0.1)
    with pytest.raises(EmptyCalibrationError, match="every label is 255 or nothing was passed"):
        PrecisionCalibrator().result(0.1)
