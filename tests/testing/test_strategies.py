"""The strategies give what their names say, and the package takes all of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st

from conformal_plugin import Calibrator, calibrate, evaluate
from conformal_plugin.errors import OptionError, ShapeError
from conformal_plugin.testing import correlated_scores, maps_from_scores
from conformal_plugin.testing.strategies import (
    CorrelatedImages,
    LabelledImages,
    correlated_images,
    label_maps,
    labelled_images,
    probability_maps,
)


@given(labelled_images())
@settings(max_examples=25)
def test_labelled_images_are_valid_input(data: LabelledImages) -> None:
    assert len(data.scores) == len(data.labels)
    calibration = calibrate(data.scores, data.labels, 0.2, ignore_index=data.ignore_index)
    valid = sum(int((label != data.ignore_index).sum()) for label in data.labels)
    assert calibration.n_pixels == valid >= 1
    assert calibration.num_classes == data.num_classes
    result = evaluate(data.scores, data.labels, calibration, ignore_index=data.ignore_index)
    assert result.covered >= min(valid, int(np.ceil((valid + 1) * 0.8)))
    merged = Calibrator(ignore_index=data.ignore_index)
    for scores, labels in zip(data.scores, data.labels):
        part = Calibrator(ignore_index=data.ignore_index)
        part.update(scores, labels)
        merged.merge(part)
    assert merged.n_pixels == valid


CASES = {
    "sizes": lambda d: len({s.shape for s in d.scores}) > 1,
    "all ignored": lambda d: any((y == 255).all() for y in d.labels),
    "some ignored": lambda d: any((y == 255).any() and (y != 255).any() for y in d.labels),
    "rare": lambda d: any(y.size > 3 and 1 in np.bincount(y.ravel()) for y in d.labels),
    "ties": lambda d: any(s.size > 8 and len(np.unique(s)) < s.size / 2 for s in d.scores),
    "uint8": lambda d: d.scores[0].dtype == np.uint8,
    "float16": lambda d: d.scores[0].dtype == np.float16,
}


def test_awkward_cases_are_among_them() -> None:
    met = set()

    @given(labelled_images())
    def look(data: LabelledImages) -> None:
        met.update(name for name, holds in CASES.items() if holds(data))

    look()
    assert met == set(CASES)


@given(st.data(), st.sampled_from([np.float16, np.float32, np.float64, np.uint8]), st.booleans())
@settings(max_examples=20)
def test_probability_maps(data: st.DataObject, dtype: type, ties: bool) -> None:
    maps = data.draw(probability_maps((3, 2, 4), dtype=dtype, ties=ties))
    assert maps.shape == (3, 2, 4)
    assert maps.dtype == dtype
    assert maps.min() >= 0
    assert maps.max() <= (255 if dtype == np.uint8 else 1)
    assert not ties or len(np.unique(maps)) <= 5


@given(label_maps((3, 3), 4, ignore_index=9))
@settings(max_examples=20)
def test_label_maps(labels: np.ndarray) -> None:
    assert labels.shape == (3, 3)
    assert set(np.unique(labels)) <= {0, 1, 2, 3, 9}


@given(correlated_images(6, (3, 4), num_classes=3))
@settings(max_examples=10)
def test_correlated_images_hold_the_scores_they_tell(data: CorrelatedImages) -> None:
    assert data.scores.shape == (6, 3, 3, 4)
    true = np.take_along_axis(data.scores, data.labels[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(1 - true, data.nonconformity, atol=1e-12)
    assert (data.true_coverage(0.3), data.true_coverage(np.inf)) == (0.3, 1.0)
    assert calibrate(data.scores, data.labels, 0.1).n_pixels == 72


def test_correlated_scores_have_their_law() -> None:
    scores = correlated_scores(4000, 8, correlation=0.3, seed=0)
    # One pixel of each image is an independent draw, uniform by construction.
    assert scipy.stats.kstest(scores[:, 3], "uniform").pvalue > 1e-4
    normal = scipy.stats.norm.ppf(scores)
    r = np.corrcoef(normal[:, 0], normal[:, 1])[0, 1]
    # Fisher's transformation: three standard deviations and a half.
    assert abs(np.arctanh(r) - np.arctanh(0.3)) < 3.5 / np.sqrt(4000 - 3)
    assert np.ptp(correlated_scores(5, 4, correlation=1.0), axis=1).max() < 1e-12


def test_maps_from_scores_with_ignored_pixels() -> None:
    maps = maps_from_scores([[0.2, 0.4]], [[2, 255]], 3)
    np.testing.assert_allclose(maps[:, 0, 0], [0.1, 0.1, 0.8])
    np.testing.assert_allclose(maps[:, 0, 1], [1 / 3] * 3)
    with pytest.raises(ShapeError, match="same shape"):
        maps_from_scores([[0.2]], [[0, 1]], 3)
    with pytest.raises(OptionError, match="at least 2"):
        maps_from_scores([[0.2]], [[0]], 1)
    with pytest.raises(OptionError, match=r"correlation must lie in \[0, 1\]"):
        correlated_scores(2, 2, correlation=1.5)


def test_without_hypothesis_the_message_says_how_to_get_it(
    fresh_python: Callable[..., None],
) -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from conformal_plugin.errors import MissingExtraError\n"
        "import conformal_plugin.testing as testing\n"
        "testing.assert_coverage, testing.correlated_scores\n"
        "try:\n    import conformal_plugin.testing.strategies\n"
        "except MissingExtraError as error:\n"
        "    sys.exit(0 if 'conformal-plugin[test]' in str(error) else 2)\n"
        "sys.exit(3)"
    )
    fresh_python(code)
