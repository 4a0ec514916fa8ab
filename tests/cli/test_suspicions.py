"""Labels that were read wrongly are told by how the scores fit them, in all commands."""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import LabelMap, label_doubts
from conformal_plugin.errors import ShapeError
from conformal_plugin.evaluation import LabelDoubts
from conformal_plugin.files import _map_reader, open_map, write_label


def made(root, classes, images=6, size=(24, 32), encode=lambda labels: labels, right=0.8):
    """Maps that are right for most pixels, and masks that hold ``encode(classes)``."""
    rng = np.random.default_rng(8)
    names = [f"im{number}" for number in range(images)]
    (root / "m").mkdir(parents=True)
    for name in names:
        labels = np.kron(rng.integers(0, classes, (4, 4)), np.ones((size[0] // 4, size[1] // 4)))
        labels = labels.astype(int)
        seen = np.where(rng.random(labels.shape) < right, labels, rng.integers(0, classes, size))
        scores = np.full((classes, *size), 0.3 / (classes - 1), np.float32)
        np.put_along_axis(scores, seen[None], 0.7, 0)
        np.save(root / "m" / f"{name}.npy", scores)
        write_label(root / "l" / f"{name}.png", np.asarray(encode(labels)).astype(np.uint8))
    return argparse.Namespace(maps=root / "m", labels=root / "l", ids=names)


def said(run, data, *more, command="calibrate"):
    """What ``command`` warns of."""
    options = {
        "calibrate": ["--alpha", 0.3, "-o", data.maps.parent / "c.json"],
        "evaluate": ["--qhat", 0.5],
        "choose": ["--alpha", 0.3],
        "report": ["--calibration", data.maps.parent / "c.json", "--out", data.maps.parent / "r"],
    }[command]
    done = run(command, "--maps", data.maps, "--labels", data.labels, "--quiet", *options, *more)
    assert done.code == 0, done.err
    return done.err


COMMANDS = ("calibrate", "evaluate", "choose", "report")


@pytest.mark.parametrize("command", COMMANDS)
def test_masks_of_0_and_255(run, tmp_path, command):
    pytest.importorskip("jinja2")
    data = made(tmp_path, 2, encode=lambda labels: 255 * labels)
    if command == "report":
        said(run, data)
    assert "--label-map binary" in said(run, data, command=command)
    if command == "report":
        said(run, data, "--label-map", "binary")
    mended = [] if command == "report" else ["--label-map", "binary"]
    assert "warning: the true labels" not in said(run, data, *mended, command=command)


@pytest.mark.parametrize("command", COMMANDS)
def test_labels_counted_from_1_with_the_top_class_absent(run, tmp_path, command):
    pytest.importorskip("jinja2")
    # The last class occurs nowhere, so that no label is out of range.
    data = made(tmp_path, 5, encode=lambda labels: np.where(labels < 4, labels + 1, 0))
    if command == "report":
        said(run, data)
    assert "--label-map reduce-zero-label" in said(run, data, command=command)


def test_where_a_label_map_was_passed_nothing_is_said(run, tmp_path):
    data = made(tmp_path, 5, encode=lambda labels: np.where(labels < 4, labels + 1, 0))
    assert said(run, data, "--label-map", "reduce-zero-label") == ""


def look(classes, encode, numbers=range(6), scores_of=lambda scores: scores):
    doubts = LabelDoubts()
    for number in numbers:
        rng = np.random.default_rng(number)
        labels = rng.integers(0, classes, (16, 24))
        scores = np.full((classes, 16, 24), 0.1, np.float32)
        np.put_along_axis(scores, labels[None], 0.8, 0)
        doubts.look(f"im{number}", scores_of(scores), encode(labels))
    return doubts


def test_ids_of_cityscapes_that_are_all_possible_train_ids():
    (text,) = look(19, lambda c: np.array([7, 8, 11, 12, 13, 17] + 13 * [255])[c]).found()
    assert "--label-map cityscapes" in text
    assert LabelMap.of("cityscapes")(np.array([17])).tolist() == [5]


def test_maps_with_a_background_that_masks_do_not_count():
    (text,) = look(6, lambda c: np.where(c > 0, c - 1, 255)).found()
    assert "--label-map one-more" in text


@pytest.mark.parametrize("classes", [2, 3, 19])
def test_labels_that_are_right_raise_no_doubt(classes):
    assert look(classes, lambda labels: labels).found() == []


@pytest.mark.parametrize("classes", [3, 6, 19])
def test_an_annotator_that_sees_background_alone_raises_no_doubt(classes):
    def blind(scores):
        scores[0] = 0.9
        return scores

    assert look(classes, lambda labels: labels, scores_of=blind).found() == []


def test_labels_of_one_class():
    (text,) = look(3, np.zeros_like).found()
    assert "class 0 alone" in text


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_mask_that_was_drawn_on_a_turned_photo(turn):
    doubts = LabelDoubts()
    rng = np.random.default_rng(0)
    for number in range(8):
        labels = np.kron(rng.integers(0, 3, (4, 4)), np.ones((4, 4), int))
        scores = np.eye(3, dtype=np.float16)[labels].transpose(2, 0, 1)
        doubts.look(f"im{number}", scores, np.rot90(labels, turn if number == 5 else 0))
    (text,) = doubts.found()
    assert text.startswith("1 of 8 labels")
    assert "im5" in text
    assert "--follow-exif" in text


def test_masks_of_a_small_object_on_one_mirrored_photo():
    doubts = LabelDoubts()
    for number in range(6):
        labels = np.zeros((40, 60), int)
        labels[4:14, 4 + number : 20 + number] = 1
        scores = np.stack([labels == 0, labels == 1]).astype(np.float32)
        doubts.look(f"im{number}", scores, labels[:, ::-1] if number == 2 else labels)
    (text,) = doubts.found()
    assert text.startswith("1 of 6 labels")
    assert "numpy.flip(label, (1,))): im2." in text


@pytest.mark.parametrize("right", [0.6, 0.9])
def test_masks_that_are_all_mirrored(tmp_path, run, right):
    data = made(tmp_path, 4, images=8, right=right, encode=np.fliplr)
    assert "all in all, as numpy.flip(label, (1,))." in said(run, data)


def test_masks_of_0_and_1_exchanged():
    (text,) = look(2, lambda labels: 1 - labels).found()
    assert text.endswith("or pass --label-map 0=1,1=0")


def test_classes_in_another_order():
    order = np.array([0, 3, 1, 2, 4])
    (text,) = look(5, lambda labels: order[labels]).found()
    assert "(1 as 2, 2 as 3, 3 as 1)" in text
    assert "right for 100 %" in text
    assert text.endswith("or pass --label-map 0=0,1=2,2=3,3=1,4=4")
    mended = LabelMap.of("0=0,1=2,2=3,3=1,4=4")
    assert look(5, lambda labels: mended(order[labels])).found() == []
    (text,) = look(30, lambda labels: (labels + 7) % 30).found()
    assert text.endswith("or pass --label-map FILE.json")


def test_an_annotator_that_takes_one_class_for_another_raises_no_doubt():
    def confused(scores):
        scores[1] = scores[[1, 2]].max(0)  # calls all of class 2 class 1
        scores[2] = 0
        return scores

    assert look(4, lambda labels: labels, scores_of=confused).found() == []


def test_a_palette_of_vocs_colours_at_other_indices(run, tmp_path):
    data = made(tmp_path, 3)
    for path in data.labels.iterdir():
        with Image.open(path) as image:
            image.convert("RGB").quantize(3).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        error = said(run, data, command="evaluate")
    assert error.count("colours of PASCAL VOC at other indices") == 1


AXES = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]


@pytest.mark.parametrize("flipped", AXES)
@pytest.mark.parametrize("together", [False, True])
def test_volumes_mirrored_along_any_axes(flipped, together):
    doubts, turned = LabelDoubts(), {0, 1, 2, 3, 4, 5} if together else {3}
    rng = np.random.default_rng(1)
    for number in range(6):
        labels = np.zeros((8, 20, 24), int)  # organs: few of the voxels
        for organ in (1, 2):
            z, y, x = (int(rng.integers(0, side // 2)) for side in labels.shape)
            labels[z : z + 3, y : y + 6, x : x + 8] = organ
        scores = np.moveaxis(np.eye(3, dtype=np.float16)[labels], -1, 0)
        given = np.flip(labels, flipped) if number in turned else labels
        doubts.look(f"patient{number}", scores[None], given)
    (text,) = doubts.found()
    assert f"numpy.flip(label, {flipped})" in text
    assert "between LPS and RAS" in text
    assert text.startswith("the labels fit" if together else "1 of 6 labels")


def test_volumes_with_two_axes_exchanged():
    doubts = LabelDoubts()
    labels = np.zeros((6, 16, 16), int)
    labels[1:4, 2:7, 8:15] = 1
    scores = np.stack([labels == 0, labels == 1]).astype(np.float16)
    doubts.look("patient", scores[None], labels.transpose(0, 2, 1))
    (text,) = doubts.found()
    assert "label.transpose(0, 2, 1)" in text


def test_what_ranks_have_seen_of_turned_labels():
    parts = []
    for rank in range(2):
        doubts = LabelDoubts()
        for number in range(3):
            rng = np.random.default_rng(3 * rank + number)
            labels = np.kron(rng.integers(0, 3, (4, 4)), np.ones((4, 4), int))
            scores = np.eye(3, dtype=np.float16)[labels].transpose(2, 0, 1)
            doubts.look(f"im{rank}{number}", scores, labels[::-1])
        parts.append(doubts)
    (text,) = LabelDoubts.of_ranks(parts).found()
    assert "far better, all in all, as numpy.flip(label, (0,))." in text


def volumes(encode, turn=0):
    """Four volumes of three classes in blocks, and what is read of their labels."""
    rng = np.random.default_rng(2)
    for _ in range(4):
        blocks = rng.integers(0, 4, (3, 4, 5))
        labels = blocks.repeat(2, 0).repeat(7, 1).repeat(6, 2)
        scores = 0.7 * np.eye(5, dtype=np.float32)[labels] + np.float32(0.06)
        yield np.moveaxis(scores, -1, 0)[None], np.rot90(encode(labels), turn, (1, 2))[None]


MISREAD = {
    "binary": (lambda labels: np.where(labels > 1, 255, 0), 0, "--label-map binary"),
    "counted from 1": (lambda labels: labels + 1, 0, "--label-map reduce-zero-label"),
    "turned": (lambda labels: labels, 2, "between LPS and RAS"),
    "right": (lambda labels: labels, 0, ""),
}


@pytest.mark.parametrize("kind", MISREAD)
def test_labels_of_volumes(tmp_path, kind):
    encode, turn, told = MISREAD[kind]
    pairs = list(volumes(encode, turn))
    found = label_doubts([scores for scores, _ in pairs], [labels for _, labels in pairs])
    assert len(found) == bool(told)
    assert told in "".join(found)
    batch = tuple(np.concatenate(arrays) for arrays in zip(*pairs))
    assert label_doubts(*batch) == found
    opened = []
    for number, (scores, _) in enumerate(pairs):
        np.save(tmp_path / f"{number}.npy", scores[0])
        opened.append(open_map(tmp_path / f"{number}.npy"))
    assert label_doubts(opened, [labels[0] for _, labels in pairs]) == found


def test_labels_of_images_in_python():
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 2, (4, 5)), np.ones((5, 5), int))
    scores = np.stack([labels == 0, labels == 1]).astype(np.float32)
    assert label_doubts(scores, labels) == []
    (text,) = label_doubts(scores, 255 * labels)
    assert 'LabelMap.of("binary")' in text
    turned = np.rot90(labels, 2).copy()
    (text,) = label_doubts([scores] * 2, [labels, turned], ids=["upright", "upside down"])
    assert "1 of 2 labels fit" in text
    assert "numpy.flip(label, (0, 1))): upside down." in text
    assert label_doubts(scores.reshape(2, -1).T, 255 * labels.ravel()) == []  # of no image
    with pytest.raises(ShapeError):
        label_doubts(scores, labels[:-1])


@pytest.mark.parametrize("command", ["calibrate", "evaluate", "choose"])
def test_labels_of_maps_that_are_read_part_by_part(run, tmp_path, monkeypatch, command):
    monkeypatch.setattr(_map_reader, "LARGE_MAP_BYTES", 1000)
    data = made(tmp_path, 2, encode=lambda labels: 255 * labels)
    assert "--label-map binary" in said(run, data, command=command)


def test_doubts_of_ranks_are_those_of_one():
    def shifted(labels):
        return np.where(labels < 4, labels + 1, 0)

    parts = [look(5, shifted, numbers) for numbers in (range(0), range(2), range(2, 6))]
    assert LabelDoubts.of_ranks(parts).found() == look(5, shifted).found() != []


def test_palettes_that_differ_are_refused_by_the_command(run, tmp_path):
    data = made(tmp_path, 3)
    for number, colours in enumerate(([0, 0, 0, 9, 9, 9, 7, 7, 7], [0, 0, 0, 7, 7, 7, 9, 9, 9])):
        path = data.labels / f"im{number}.png"
        with Image.open(path) as image:
            image.putpalette(colours)
            image.save(path)
    (tmp_path / "list.txt").write_text("im0\nim1\n")
    done = run(
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "-o", tmp_path / "c.json"),
        *("--ids", tmp_path / "list.txt", "--quiet"),
    )
    assert done.code == 2
    assert "#090909" in done.err
    assert "--label-map" in done.err
    assert said(run, data, "--ids", tmp_path / "list.txt", "--label-map", "indices") == ""
