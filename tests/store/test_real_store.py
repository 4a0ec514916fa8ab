"""What the store costs on real maps: never more than stated, and far smaller than .npz."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import calibrate, filter
from conformal_plugin.files import label_files, map_files, read_ids, rounded
from conformal_plugin.files._store_codec import FLOAT16, decode, encode

pytestmark = pytest.mark.real
PHOTOS = 24


@pytest.fixture(scope="module")
def split(voc):
    """Labelled maps and labels, unlabelled maps, and what their .npz take."""
    labelled = read_ids(voc / "splits" / "labeled_92.txt").ids[:PHOTOS]
    unlabelled = read_ids(voc / "splits" / "unlabeled_345.txt").ids[:PHOTOS]
    maps = list(map_files(voc / "probs", labelled))
    labels = list(label_files(voc / "labels", labelled))
    size = sum((voc / "probs" / f"{name}.npz").stat().st_size for name in labelled)
    return maps, labels, list(map_files(voc / "probs", unlabelled)), size


@pytest.mark.parametrize(("precision", "share"), [(8, 0.20), (11, 0.35), (FLOAT16, 0.55)])
def test_the_size_beside_npz(split, precision, share):
    maps, _, _, size = split
    assert sum(len(encode(scores, precision=precision)) for scores in maps) < share * size


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_float16_costs_nothing(split, alpha):
    maps, labels, others, _ = split
    again = [decode(encode(scores, precision=FLOAT16), "a")[0] for scores in maps]
    calibration = calibrate(maps, labels, alpha)
    assert calibrate(again, labels, alpha) == calibration
    for scores in others:
        kept = decode(encode(scores, precision=FLOAT16), "a")[0]
        np.testing.assert_array_equal(filter(kept, calibration), filter(scores, calibration))


@pytest.mark.parametrize("precision", [8, 11])
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_rounding_costs_what_is_stated(split, alpha, precision):
    maps, labels, others, _ = split
    before = calibrate(maps, labels, alpha).qhat
    after = calibrate([rounded(scores, precision) for scores in maps], labels, alpha).qhat
    assert abs(after - before) <= 2.0 ** -(precision + 1)
    # The threshold that comes out is the threshold rounded.
    least = 1 - after
    assert least == float(rounded(np.full((1, 1, 1), 1 - before), precision)[0, 0, 0])
    differing = 0
    for scores in others:
        kept = rounded(scores, precision)
        different = filter(scores, before) != filter(kept, after)
        differing += int(different.sum())
        at_threshold = (kept == np.float16(least)).any(axis=0)
        foreground = np.sort(kept[1:], axis=0)
        tied = foreground[-1] == foreground[-2]
        assert (at_threshold | tied)[different].all()
    if precision == 11 and before < 0.5:
        assert differing == 0
