"""Pseudo-label files are found, read as class ids, and refused by name where they cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import errors
from conformal_plugin.adapters.labels import PseudoLabelFolder


def save(path, values, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values))
    if mode == "P":
        image.putpalette([9, 8, 7] * 256)
    image.save(path)


def test_the_most_specific_of_the_layouts_counts(tmp_path):
    photo = "leftImg8bit/aachen/a.png gtFine/aachen/a.png"
    for value, path in enumerate(("a.png", "aachen/a.png", "leftImg8bit/aachen/a.png")):
        save(tmp_path / path, np.uint8([[value]]))
        assert PseudoLabelFolder(tmp_path, [photo]).read(photo).tolist() == [[value]]


def test_flat_and_mirrored_layouts(tmp_path):
    save(tmp_path / "a.png", np.uint8([[1]]))
    save(tmp_path / "x" / "b.png", np.uint8([[2]]))
    folder = PseudoLabelFolder(tmp_path, ["img/a.jpg lab/a.png", "x/b.jpg"])
    assert folder.read("img/a.jpg lab/a.png").tolist() == [[1]]
    assert folder.read("x/b.jpg").tolist() == [[2]]


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        (np.uint8([[0, 20, 255]]), "L"),
        (np.uint8([[0, 20, 255]]), "P"),
        (np.uint16([[0, 300, 65535]]), "I;16"),
    ],
)
def test_label_pngs_of_every_usual_mode(tmp_path, values, mode):
    save(tmp_path / "a.png", values, mode)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode in {mode, "I" if mode == "I;16" else mode}  # as older Pillows read it
    read = PseudoLabelFolder(tmp_path, ["a.jpg"]).read("a.jpg")
    assert read.dtype == np.int32
    assert np.array_equal(read, values)


def test_an_absolute_path_is_never_followed_out_of_the_folder(tmp_path):
    save(tmp_path / "photos" / "a.png", np.uint8([[9]]))
    save(tmp_path / "pseudo" / "a.png", np.uint8([[1]]))
    photo = str(tmp_path / "photos" / "a.jpg")
    assert PseudoLabelFolder(tmp_path / "pseudo", [photo]).read(photo).tolist() == [[1]]


def test_missing_pseudo_labels_are_named_once_each(tmp_path):
    save(tmp_path / "p0.png", np.uint8([[1]]))
    lines = [f"img/p{i}.jpg m/p{i}.png" for i in range(9)] * 2
    match = (
        r"8 of 9 unlabelled photos have no pseudo-label in .*: img/p1.jpg, img/p2.jpg, img/p3.jpg, "
        r"img/p4.jpg, img/p5.jpg, \.\.\.; .*`conformal-plugin filter`"
    )
    with pytest.raises(errors.SourceFileError, match=match):
        PseudoLabelFolder(tmp_path, lines)


def test_a_file_that_went_missing_later(tmp_path):
    save(tmp_path / "a.png", np.uint8([[1]]))
    folder = PseudoLabelFolder(tmp_path, ["a.jpg"])
    (tmp_path / "a.png").unlink()
    with pytest.raises(errors.SourceFileError, match=r"1 of 1 .*: a.jpg; "):
        folder.read("a.jpg")


def test_no_folder(tmp_path):
    with pytest.raises(errors.SourceFileError, match=r"at .*nowhere, but there is none; make them"):
        PseudoLabelFolder(tmp_path / "nowhere", [])


def test_two_photos_of_one_name_need_sub_folders(tmp_path):
    save(tmp_path / "a.png", np.uint8([[1]]))
    with pytest.raises(errors.SourceFileError, match=r"x/a.jpg and y/a.jpg share a file name"):
        PseudoLabelFolder(tmp_path, ["x/a.jpg", "y/a.jpg"])
    save(tmp_path / "y" / "a.png", np.uint8([[2]]))
    folder = PseudoLabelFolder(tmp_path, ["x/a.jpg", "y/a.jpg"])
    assert folder.read("y/a.jpg").tolist() == [[2]]


def test_colour_pictures_are_refused(tmp_path):
    save(tmp_path / "a.png", np.zeros((2, 3, 3), np.uint8))
    folder = PseudoLabelFolder(tmp_path, ["a.jpg"])
    with pytest.raises(errors.SourceFileError, match=r"a.png has colours \(mode RGB\)"):
        folder.read("a.jpg")


def test_damaged_files_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG half of one")
    folder = PseudoLabelFolder(tmp_path, ["a.jpg"])
    with pytest.raises(errors.SourceFileError, match=r"cannot read the image .*a.png"):
        folder.read("a.jpg")


def test_blank_lines_are_refused(tmp_path):
    with pytest.raises(errors.SourceFileError, match="has a blank line; take it out"):
        PseudoLabelFolder(tmp_path, ["a.jpg a.png", ""])


def test_a_label_may_lack_the_ending_of_its_photo(tmp_path):
    photo = "leftImg8bit/train/ulm/ulm_000000_leftImg8bit.png"
    save(tmp_path / "ulm" / "ulm_000000.png", np.uint8([[3]]))
    assert PseudoLabelFolder(tmp_path, [f"{photo} x.png"]).read(photo).tolist() == [[3]]
    save(tmp_path / "ulm" / "ulm_000000_leftImg8bit.png", np.uint8([[4]]))
    assert PseudoLabelFolder(tmp_path, [photo]).read(photo).tolist() == [[4]]


def test_labels_in_the_numbers_of_masks_are_not_trained_on(tmp_path):
    save(tmp_path / "a.png", np.uint8([[7]]))
    (tmp_path / "labels.json").write_text('{"own_numbers": "7=0"}')
    with pytest.raises(errors.SourceFileError, match="without --own-numbers"):
        PseudoLabelFolder(tmp_path, ["a.jpg"])
    for other in ("{}", "no JSON"):
        (tmp_path / "labels.json").write_text(other)
        assert PseudoLabelFolder(tmp_path, ["a.jpg"]).read("a.jpg").tolist() == [[7]]
