"""Labels are indices: written with the VOC palette, read back, colours refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from conformal_plugin._extras import optional
from conformal_plugin.cli import main
from conformal_plugin.errors import (
    InputTypeError,
    LabelError,
    MissingExtraError,
    OptionError,
    ShapeError,
    SourceFileError,
)
from conformal_plugin.files import (
    image_size,
    images_up_to,
    label_files,
    read_label,
    read_origin,
    read_photo,
    voc_palette,
    write_label,
)

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=7)


@given(hnp.arrays(np.uint8, SHAPES))
def test_eight_bit_labels_are_palette_files(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "sub" / "a.png"
    write_label(path, labels)
    with Image.open(path) as image:
        assert image.mode == "P"
        assert bytes(image.getpalette()) == voc_palette()[: len(image.getpalette())]
    got = read_label(path)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, labels)
    assert image_size(path) == labels.shape
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


@given(
    hnp.arrays(
        st.sampled_from([np.int16, np.int32, np.uint16]),
        SHAPES,
        elements={"min_value": 0, "max_value": 32767},
    )
)
def test_wider_labels_are_sixteen_bit_files(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "a.png"
    write_label(path, labels)
    got = read_label(path)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, labels)


def test_the_largest_label_of_sixteen_bits(tmp_path):
    write_label(tmp_path / "a.png", np.array([[65535, 300]], dtype=np.int32))
    assert read_label(tmp_path / "a.png").tolist() == [[65535, 300]]


def test_the_palette_is_that_of_voc():
    palette = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    assert palette[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]
    assert len({tuple(colour) for colour in palette.tolist()}) == 256


def test_grey_labels_are_read(tmp_path):
    labels = np.array([[0, 1], [7, 255]], dtype=np.uint8)
    Image.fromarray(labels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), labels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_are_refused_with_the_reason(tmp_path, mode):
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(SourceFileError, match=rf"a\.png has colours \(mode {mode}\).*palette PNG"):
        read_label(tmp_path / "a.png")


def test_damaged_labels_are_named(tmp_path):
    path = tmp_path / "a.png"
    write_label(path, np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint8))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"nonsense"):
        path.write_bytes(content)
        with pytest.raises(SourceFileError, match=r"cannot read the image .*a\.png"):
            read_label(path)


def test_what_no_png_can_hold(tmp_path):
    with pytest.raises(InputTypeError, match="must be integers .*float32"):
        write_label(tmp_path / "a.png", np.zeros((2, 2), np.float32))
    with pytest.raises(ShapeError, match=r"shape \(H, W\).*\(1, 1, 2, 2\)"):
        write_label(tmp_path / "a.png", np.zeros((1, 1, 2, 2), np.uint8))
    with pytest.raises(
        LabelError, match=r"0 \.\.\. 65535, got -1 \.\.\. 4; choose an ignore_index"
    ):
        write_label(tmp_path / "a.png", np.array([[-1, 4]], np.int16))
    assert not list(tmp_path.iterdir())


def test_the_origin_travels_in_the_file(tmp_path):
    write_label(tmp_path / "a.png", np.zeros((2, 2), np.uint8), origin="abc")
    write_label(tmp_path / "b.png", np.zeros((2, 2), np.uint8))
    assert read_origin(tmp_path / "a.png") == "abc"
    assert read_origin(tmp_path / "b.png") == ""


def test_label_files_can_be_read_again(tmp_path):
    for i in range(3):
        write_label(tmp_path / f"{i}.png", np.full((2, 2), i, np.uint8))
    labels = label_files(tmp_path, ["2", "0"])
    assert [label[0, 0] for label in labels] == [label[0, 0] for label in labels] == [2, 0]


def test_a_missing_package_says_how_to_get_it():
    with pytest.raises(MissingExtraError, match=r'pip install "conformal-plugin\[cli\]"'):
        optional("a_package_that_is_not_there", "it", "a test")


def test_images_above_the_limit_of_pixels(tmp_path):
    write_label(tmp_path / "a.png", np.zeros((3, 4), np.uint8))
    with images_up_to(11):
        for read in (read_label, image_size, read_photo):
            with pytest.raises(SourceFileError, match="4 x 3 pixels, and at most 11 are read"):
                read(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png").shape == (3, 4)
    with pytest.raises(OptionError, match="at least 1 pixel"), images_up_to(0):
        pass


def test_a_mask_above_pillows_own_limit(tmp_path, monkeypatch):
    write_label(tmp_path / "a.png", np.zeros((3, 4), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    assert read_label(tmp_path / "a.png").shape == (3, 4)
    assert image_size(tmp_path / "a.png") == (3, 4)


def test_the_option_of_the_command(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.full((2, 3, 4), 0.5, np.float32))
    write_label(tmp_path / "a.png", np.zeros((3, 4), np.uint8))
    paths = ["--maps", str(tmp_path), "--labels", str(tmp_path), "-o", str(tmp_path / "c.json")]
    command = ["calibrate", *paths, "--alpha", "0.5", "--max-image-pixels"]
    assert main([*command, "11"]) == 2
    assert "--max-image-pixels" in capsys.readouterr().err
    assert main([*command, "12"]) == 0
