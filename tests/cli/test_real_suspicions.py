"""Doubts about labels on real photos: none where all is well, and all kinds where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conformal_plugin import LabelMap
from conformal_plugin.evaluation import LabelDoubts
from conformal_plugin.files import label_files, map_files, read_ids

pytestmark = pytest.mark.real

SETS = {
    "voc-animals": "labeled_92",
    "polyps-kvasir": "labeled_80",
    "driving-camvid": "labeled_60",
}


@pytest.fixture(params=SETS)
def labelled(voc: Path, request):
    """Every fourth labelled photo of a data set: its name, ids, maps and labels."""
    folder = voc.parent / request.param
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    listed = read_ids(folder / "splits" / f"{SETS[request.param]}.txt")
    listed = listed.take(range(0, len(listed), 4))
    maps = list(map_files(folder / "probs", listed))
    return request.param, listed.ids, maps, list(label_files(folder / "labels", listed))


def doubts(labelled, change=lambda number, label: label):
    _, ids, maps, labels = labelled
    found = LabelDoubts()
    for number, (name, scores, label) in enumerate(zip(ids, maps, labels)):
        found.look(name, scores, change(number, label))
    return found.found()


def test_labels_that_are_right_raise_no_doubt(labelled):
    assert doubts(labelled) == []


def test_labels_counted_from_1_are_told(labelled):
    name, _, maps, _ = labelled
    found = doubts(labelled, lambda _, label: np.where(label == 255, 0, label + 1).astype(np.int32))
    if len(maps[0]) == 2:  # 2 is then no class: nothing is left to be told by the fit
        assert found == []
    else:
        assert any("--label-map reduce-zero-label" in text for text in found), name


def test_labels_without_the_background_of_the_maps_are_told(labelled):
    _, _, maps, _ = labelled

    def one_less(_, label):
        return np.where((label == 0) | (label == 255), 255, label.astype(np.int32) - 1)

    found = doubts(labelled, one_less)
    expected = "0 and 255 alone" if len(maps[0]) == 2 else "--label-map one-more"
    assert any(expected in text for text in found)


@pytest.mark.parametrize("labelled", ["polyps-kvasir"], indirect=True)
def test_masks_of_0_and_255_are_told(labelled):
    found = doubts(labelled, lambda _, label: label * 255)
    assert "--label-map binary" in found[0]
    assert doubts(labelled, lambda _, label: LabelMap.of("binary")(label * 255)) == []


@pytest.mark.parametrize("axis", [0, 1])
def test_masks_that_are_all_mirrored_are_told(labelled, axis):
    found = doubts(labelled, lambda _, label: np.flip(label, axis))
    assert f"numpy.flip(label, ({axis},))" in found[-1]


def test_volumes_of_photos_that_are_mirrored_are_told(labelled):
    """Six volumes of as many photos in a row, cut to one size."""
    _, _, maps, labels = labelled
    height, width = (min(label.shape[axis] for label in labels) for axis in (0, 1))
    for axes in ((), (0,), (1,), (2,), (1, 2)):
        found = LabelDoubts()
        for start in range(0, 12, 2):
            some = slice(start, start + 2)
            scores = np.stack([np.asarray(one)[:, :height, :width] for one in maps[some]], 1)
            truth = np.stack([label[:height, :width] for label in labels[some]])
            found.look(str(start), scores[None], np.flip(truth, axes))
        assert bool(found.found()) == bool(axes), axes


@pytest.mark.parametrize("labelled", ["driving-camvid"], indirect=True)
def test_masks_upside_down_are_told(labelled):
    """Streets have an up; of what lies about the middle one cannot tell."""
    found = doubts(labelled, lambda number, label: np.rot90(label, 2 if number % 5 == 0 else 0))
    assert found[0].startswith("3 of 15 labels")
