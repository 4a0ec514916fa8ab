"""Evaluation against counts made by hand, streaming and merging."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import conformal_plugin as cp
from conformal_plugin import Evaluator, evaluate
from conformal_plugin._choices import RULES
from conformal_plugin.errors import EmptyCalibrationError, OptionError

K = 4


def some_images(seed: int, dtype: str = "float32") -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    maps, labels = [], []
    for _ in range(4):
        shape = (int(rng.integers(1, 9)), int(rng.integers(1, 9)))
        scores = np.round(rng.random((K, *shape)) * 16) / 16
        maps.append((scores * 255).astype(dtype) if dtype == "uint8" else scores.astype(dtype))
        labels.append(rng.choice([0, 1, 2, 3, 255], shape).astype(np.int64))
    labels[0][0, 0] = 1
    return maps, labels


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@given(seed=st.integers(0, 10**6), qhat=st.floats(0, 0.99))
def test_measures_what_the_definitions_say(rule: str, dtype: str, seed: int, qhat: float) -> None:
    maps, labels = some_images(seed, dtype)
    result = evaluate(maps, labels, qhat, rule=rule)
    confusion = np.zeros((K, K + 1), int)
    sizes = np.zeros(K + 1, int)
    per_image = []
    for scores, truth in zip(maps, labels):
        sets = cp.prediction_sets(scores, qhat)
        kept = np.full(truth.shape, 255)
        kept[...] = by_sets(scores, sets, rule)
        used = truth != 255
        hits = 0
        for at in zip(*np.nonzero(used)):
            confusion[truth[at], K if kept[at] == 255 else kept[at]] += 1
            sizes[sets[(slice(None), *at)].sum()] += 1
            hits += int(sets[(truth[at], *at)])
        if used.any():
            per_image.append(hits / used.sum())
    assert np.array_equal(result.confusion, confusion)
    assert np.array_equal(result.set_sizes, sizes)
    assert np.array_equal(result.image_coverage, per_image)
    n = confusion.sum()
    assert (result.n_pixels, result.n_images) == (n, len(per_image))
    assert result.set_size == pytest.approx(sizes @ np.arange(K + 1) / n)
    assert result.kept == pytest.approx(confusion[:, :K].sum() / n)
    if result.kept_pixels:
        assert result.precision == pytest.approx(np.trace(confusion) / confusion[:, :K].sum())
    else:
        assert math.isnan(result.precision)


def by_sets(scores: np.ndarray, sets: np.ndarray, rule: str) -> np.ndarray:
    masked = np.where(sets, scores.astype(float), -1.0)
    if rule == "singleton":
        return np.where(sets.sum(0) == 1, sets.argmax(0), 255)
    if rule == "most-probable":
        return np.where(sets.any(0), masked.argmax(0), 255)
    background = np.where(sets[0], 0, 255)
    return np.where(sets[1:].any(0), masked[1:].argmax(0) + 1, background)


def test_intersection_over_union_by_hand() -> None:
    # Two classes and five pixels: kept right, kept wrong, dropped of each.
    masks = np.array([[[0.9, 0.9, 0.1, 0.1, 0.9]], [[0.1, 0.1, 0.1, 0.9, 0.1]]])
    labels = np.array([[0, 1, 0, 1, 0]])
    result = evaluate(masks, labels, 0.5, rule="most-probable")
    assert result.confusion.tolist() == [[2, 0, 1], [1, 1, 0]]
    assert result.iou_per_class().tolist() == [2 / 4, 1 / 2]
    assert result.iou_per_class(dropped="ignore").tolist() == [2 / 3, 1 / 2]
    assert result.miou() == 0.5
    assert result.miou([1]) == 0.5
    assert result.precision_per_class.tolist() == [2 / 3, 1.0]
    assert result.kept_per_class.tolist() == [2 / 3, 1.0]
    assert (result.coverage, result.precision, result.kept) == (3 / 5, 3 / 4, 4 / 5)


def test_classes_without_true_pixels_do_not_count_unless_asked_for() -> None:
    masks = np.zeros((3, 1, 2))
    masks[0] = 0.9
    result = evaluate(masks, np.zeros((1, 2), int), 0.5)
    assert result.miou() == 1.0
    assert np.isnan(result.iou_per_class()[2])
    with pytest.raises(OptionError, match=r"indices in 0 ... 2, got \[3\]"):
        result.miou([3])
    with pytest.raises(OptionError, match="'miss' or 'ignore', got 'drop'"):
        result.miou(dropped="drop")


@given(seed=st.integers(0, 10**6), order=st.permutations(range(4)))
def test_streaming_and_merging_in_any_order_is_the_same(seed: int, order: list[int]) -> None:
    maps, labels = some_images(seed)
    whole = evaluate(maps, labels, 0.6)
    streamed = Evaluator(0.6)
    merged = Evaluator(0.6)
    for i in order:
        streamed.update(maps[i], labels[i])
        part = Evaluator(0.6)
        part.update([torch.from_numpy(maps[i])], [torch.from_numpy(labels[i])])
        merged.merge(part)
    assert streamed.result() == merged.result() == whole
    assert streamed.result().to_dict().keys() == whole.to_dict().keys()


def test_points_count_as_images() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random((20, 3)), rng.integers(0, 3, 20)
    result = evaluate(scores, labels, 0.5)
    assert result.n_images == result.n_pixels == 20
    assert set(result.image_coverage) <= {0.0, 1.0}
    assert result.image_coverage.mean() == result.coverage


def test_the_raw_annotator_is_argmax() -> None:
    maps, labels = some_images(5)
    result = evaluate(maps, labels, math.inf, rule="most-probable")
    right = sum(
        int((scores.argmax(0) == truth)[truth != 255].sum()) for scores, truth in zip(maps, labels)
    )
    assert result.kept == 1.0
    assert result.coverage == 1.0
    assert result.precision == right / result.n_pixels


def test_evaluators_with_other_settings_do_not_merge() -> None:
    with pytest.raises(OptionError, match="differ in qhat, rule"):
        Evaluator(0.5).merge(Evaluator(0.6, rule="singleton"))
    per_class = np.array([0.1, 0.2])
    Evaluator(per_class).merge(Evaluator(per_class.copy()))


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(EmptyCalibrationError, match="nothing to evaluate"):
        evaluate(np.full((2, 2, 2), 0.5), np.full((2, 2), 255), 0.5)


def test_readable() -> None:
    maps, labels = some_images(1)
    text = repr(evaluate(maps, labels, 0.5))
    for word in ("coverage=", "kept=", "precision=", "miou_kept=", "n_images="):
        assert word in text
