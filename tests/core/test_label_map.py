"""What the values of masks mean: every numbering that users have, there and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image

from conformal_plugin import Calibration, LabelMap, calibrate
from conformal_plugin.errors import LabelError, OptionError, SourceFileError
from conformal_plugin.files import (
    LabelReader,
    label_files,
    read_label,
    read_label_map,
    voc_palette,
    write_label,
)

NAMES = ("cityscapes", "ade20k", "reduce-zero-label", "binary", "binary-threshold", "voc-colours")


@pytest.mark.parametrize(
    ("name", "values", "classes"),
    [
        ("cityscapes", [7, 11, 33, 0, 34 - 5, -1], [0, 2, 18, 255, 255, 255]),
        ("ade20k", [0, 1, 150, 255], [255, 0, 149, 255]),
        ("reduce-zero-label", [0, 1, 171], [255, 0, 170]),
        ("binary", [0, 255, 1], [0, 1, 1]),
        ("binary-threshold", [0, 127, 128, 255], [0, 0, 1, 1]),
        ("0=ignore,1=0,2=1", [0, 1, 2], [255, 0, 1]),
        ("255=1", [0, 255], [0, 1]),
        ("254=ignore,253=ignore", [0, 5, 253, 254], [0, 5, 255, 255]),
        ("3=0,*=ignore", [3, 4, 200], [0, 255, 255]),
    ],
)
def test_values_become_classes(name, values, classes):
    label_map = LabelMap.of(name)
    assert label_map(np.int16([values])).tolist() == [classes]
    assert label_map(torch.tensor([values])).tolist() == [classes]
    assert label_map(np.int16([values]), -1).tolist() == [[-1 if c == 255 else c for c in classes]]
    if min(values) >= 0:
        assert label_map(np.uint8([values])).dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "value"), [("255=1", 1), ("ade20k", 151), ("binary", 3), ("0=0,*=refuse", 7)]
)
def test_a_value_without_a_meaning_or_with_two_is_refused(text, value):
    with pytest.raises(
        LabelError, match=rf"masks hold {value}.*={value}|masks hold {value}.*ignore"
    ):
        LabelMap.of(text)(np.array([[value]]))


@pytest.mark.parametrize("text", [*NAMES, "0=ignore,1=0", "#804080=0,#ffffff=ignore", "indices"])
def test_a_label_map_is_read_back_from_its_text(text):
    label_map = LabelMap.of(text)
    assert LabelMap.of(label_map.text) == label_map
    assert hash(LabelMap.of(label_map.text)) == hash(label_map)
    assert "LabelMap.of" in repr(label_map)
    assert label_map.classes <= set(range(256))


@pytest.mark.parametrize(
    "text",
    [
        "no such name",
        "5",
        "1=",
        "=1",
        "x=1",
        "1=x",
        "1=-2",
        "1=70000",
        "*=3",
        "1=0,#804080=1",
        "#80=1",
    ],
)
def test_what_is_no_label_map(text):
    with pytest.raises(OptionError):
        LabelMap.of(text)


def test_what_is_no_label():
    with pytest.raises(LabelError, match="takes integers"):
        LabelMap.of("binary")(np.zeros((2, 2), np.float32))
    with pytest.raises(LabelError, match="no labels"):
        LabelMap.of("binary")(np.array([[0, 10**6]]))
    with pytest.raises(OptionError, match="of colours"):
        LabelMap.of("voc-colours")(np.uint8([[0]]))
    with pytest.raises(OptionError, match="a class is a whole number"):
        LabelMap({(1, 2, 3): True})


@given(st.data())
def test_numbers_come_back(data):
    """Classes to numbers and to classes again is where one began, for every invertible map."""
    values = data.draw(st.lists(st.integers(0, 300), min_size=2, max_size=12, unique=True))
    classes = data.draw(st.permutations(range(len(values) - 1)))
    entries = {values[0]: "ignore", **dict(zip(values[1:], classes)), "*": "refuse"}
    label_map = LabelMap(entries)
    labels = np.array([[*classes, 255]])
    numbers = label_map.back(labels)
    assert numbers.tolist() == [[*values[1:], values[0]]]
    assert label_map(numbers).tolist() == labels.tolist()


def test_dropped_pixels_need_a_number_that_is_no_class():
    label_map = LabelMap.of("binary")
    labels = np.uint8([[0, 1, 255]])
    with pytest.raises(OptionError, match="--dropped"):
        label_map.back(labels)
    with pytest.raises(OptionError, match="cannot hold 255"):
        label_map.back(labels, dropped=255)
    assert label_map.back(labels, dropped=127).tolist() == [[0, 255, 127]]
    with pytest.raises(LabelError, match=r"stands for \[2\]"):
        label_map.back(np.uint8([[2]]), dropped=127)
    with pytest.raises(OptionError, match="as a palette"):
        LabelMap.of("voc-colours").back(labels)
    assert LabelMap.of("7=0").back(np.uint8([[0, 3, 255]])).tolist() == [[7, 3, 255]]


def test_what_has_no_colour_gets_one_that_no_class_has():
    of_voc = {f"#{bytes(voc_palette()[3 * i : 3 * i + 3]).hex()}": i for i in (0, 1, 255)}
    for named in ({"#000000": 0, "#0ac81e": 1}, {"#e0e0c0": 0, "#000001": 7}, of_voc):
        palette = np.frombuffer(LabelMap(named).palette(), np.uint8).reshape(256, 3)
        assert len(np.unique(palette, axis=0)) == 256
        assert all(f"#{bytes(palette[k]).hex()}" == colour for colour, k in named.items())
    assert LabelMap({"#000000": 0}).palette() == bytes(voc_palette())


def test_colours_become_classes_and_a_palette(tmp_path):
    label_map = LabelMap({"#000000": 0, (128, 64, 128): 1, "#ffffff": "ignore"})
    pixels = np.uint8([[[0, 0, 0], [128, 64, 128], [255, 255, 255]]])
    Image.fromarray(pixels).save(tmp_path / "rgb.png")
    Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p.png")
    for name in ("rgb.png", "p.png"):
        assert read_label(tmp_path / name, label_map).tolist() == [[0, 1, 255]]
    with pytest.raises(LabelError, match=r"rgb\.png.*#804080"):
        read_label(tmp_path / "rgb.png", LabelMap({"#000000": 0}))
    assert label_map.palette()[3:6] == bytes((128, 64, 128))
    assert label_map.palette()[-3:] == b"\xff\xff\xff"
    with pytest.raises(SourceFileError, match="--label-map"):
        read_label(tmp_path / "rgb.png")


def test_a_grey_mask_saved_in_colour(tmp_path):
    grey = np.uint8([[0, 255]])
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "x.png")
    assert read_label(tmp_path / "x.png", LabelMap.of("binary")).tolist() == [[0, 1]]


def with_palette_of_its_own(path, labels):
    """The colours of VOC, numbered as they come."""
    used, places = np.unique(labels, return_inverse=True)
    image = Image.fromarray(places.reshape(np.shape(labels)).astype(np.uint8))
    image.putpalette(b"".join(voc_palette()[3 * c : 3 * c + 3] for c in used))
    image.save(path)


def test_palettes_that_differ_from_file_to_file(tmp_path):
    """As a program writes them that chooses palettes anew for each file."""
    labels = {"a": [[0, 1, 3]], "b": [[1, 3, 3]]}
    for name, one in labels.items():
        with_palette_of_its_own(tmp_path / f"{name}.png", one)
    with (
        pytest.warns(UserWarning, match="PASCAL VOC at other indices"),
        pytest.raises(SourceFileError, match=r"has the colour #.*--label-map.*indices"),
    ):
        list(label_files(tmp_path, ["a", "b"]))
    voc = label_files(tmp_path, ["a", "b"], label_map=LabelMap.of("voc-colours"))
    assert [one.tolist() for one in voc] == list(labels.values())
    assert len(list(label_files(tmp_path, ["a", "b"], label_map=LabelMap.of("indices")))) == 2
    with pytest.warns(UserWarning, match="PASCAL VOC at other indices"):
        read_label(tmp_path / "b.png")


def test_palettes_that_agree(tmp_path):
    read = LabelReader()
    for number, labels in enumerate(([[0, 1]], [[1, 2]], [[255, 3]])):
        write_label(tmp_path / f"{number}.png", np.uint8(labels))
        assert read(tmp_path / f"{number}.png").tolist() == labels
    image = Image.fromarray(np.uint8([[0, 255]]), mode=None)
    image.putpalette(bytes(voc_palette()[:765]) + b"\xff\xff\xff")  # another colour for void
    image.save(tmp_path / "void.png")
    assert read(tmp_path / "void.png").tolist() == [[0, 255]]


def test_label_maps_in_files(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"0": "ignore", "7": 0, "*": "ignore"}))
    assert read_label_map(path) == LabelMap.of("0=ignore,7=0,*=ignore")
    assert read_label_map("binary") == LabelMap.of("binary")
    for text, problem in (
        ("[1]", SourceFileError),
        ("{", SourceFileError),
        ('{"x": 1}', OptionError),
    ):
        path.write_text(text)
        with pytest.raises(problem, match=r"map\.json"):
            read_label_map(path)
    with pytest.raises(SourceFileError, match="cannot read"):
        read_label_map(tmp_path / "none.json")


def test_a_calibration_remembers_its_label_map(tmp_path):
    label_map = LabelMap.of("binary")
    labels = np.uint8([[0, 255, 255, 0]])
    scores = np.float32([[[0.9, 0.2, 0.3, 0.8]], [[0.1, 0.8, 0.7, 0.2]]])
    plain = calibrate(scores, label_map(labels), alpha=0.3)
    calibration = plain.with_label_map(label_map)
    assert calibration != plain
    assert "label_map" not in plain.to_json()
    calibration.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == calibration
    assert Calibration.load(tmp_path / "c.json").label_map == label_map


@pytest.mark.parametrize(("grey", "mode"), [(None, "P"), (8, "L"), (16, "I;16")])
def test_labels_are_written_as_code_reads_them(tmp_path, grey, mode):
    path = tmp_path / "x.png"
    write_label(path, np.uint8([[0, 20, 255]]), grey=grey)
    with Image.open(path) as image:
        assert image.mode in {mode, "I" if mode == "I;16" else mode}  # as older Pillows read it
    assert read_label(path).tolist() == [[0, 20, 255]]


def test_grey_files_that_cannot_be_written(tmp_path):
    with pytest.raises(OptionError, match="8 or 16 bits"):
        write_label(tmp_path / "x.png", np.uint8([[0]]), grey=1)
    with pytest.raises(LabelError, match=r"of 8 bits holds labels 0 \.\.\. 255"):
        write_label(tmp_path / "x.png", np.int32([[300]]), grey=8)
