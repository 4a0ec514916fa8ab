"""Photos of every depth come as 8 bits or are refused, and are turned where that is asked for."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.errors import ShapeError, SourceFileError
from conformal_plugin.files import image_size, photo_orientation, photo_size, read_photo

RAMP = np.tile(np.linspace(0, 65535, 256), (8, 1))


def saved(path, values):
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_is_scaled(tmp_path, suffix):
    photo = read_photo(saved(tmp_path / f"x.{suffix}", RAMP.astype(np.uint16)))
    assert photo.shape == (8, 256, 3)
    assert photo.dtype == np.uint8
    assert np.array_equal(photo[..., 0], RAMP.astype(np.uint16) >> 8)
    black = read_photo(saved(tmp_path / f"black.{suffix}", np.zeros((2, 2), np.uint16)))
    assert not black.any()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((RAMP / 17).astype(np.uint16), "16-bit values from 0 to 3855"),
        ((RAMP / 65535).astype(np.float32), "float32 values from 0 to 1"),
        (RAMP.astype(np.int32) * 2, "int32 values from 0 to 131070"),
    ],
)
def test_values_that_only_a_guess_could_scale_are_refused(tmp_path, values, said):
    path = saved(tmp_path / "x.tif", values)
    with pytest.raises(SourceFileError, match=f"{said}.*save it in 8 bits"):
        read_photo(path)


def test_several_images_in_one_file(tmp_path):
    pages = [Image.new("L", (4, 4), shade) for shade in (1, 2)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(SourceFileError, match="holds 2 images"):
        read_photo(tmp_path / "x.tif")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA"])
def test_other_modes_become_colours(tmp_path, mode):
    Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode).save(tmp_path / "x.png")
    assert (read_photo(tmp_path / "x.png") == 255).all()


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_photo_is_turned_as_its_exif_says_where_that_is_asked_for(tmp_path, tag):
    stored = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    path = tmp_path / "x.png"
    Image.fromarray(stored).save(path, exif=_turned_by(tag))
    assert photo_orientation(path) == tag
    assert np.array_equal(read_photo(path), stored)
    assert image_size(path) == (4, 6)
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored),
    }
    photo = read_photo(path, follow_exif=True)
    assert image_size(path, follow_exif=True) == photo.shape[:2]
    assert np.array_equal(photo, turned[tag])


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_tiff_is_turned_as_its_tag_says_by_any_release_of_pillow(tmp_path, tag):
    stored = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(stored).save(tmp_path / "x.tif", tiffinfo={0x0112: tag})
    Image.fromarray(stored).save(tmp_path / "x.png", exif=_turned_by(tag))
    expected = read_photo(tmp_path / "x.png", follow_exif=True)
    for follow in (False, True):
        photo = read_photo(tmp_path / "x.tif", follow_exif=follow)
        assert np.array_equal(photo, expected)
        assert photo_size(tmp_path / "x.tif", follow_exif=follow) == expected.shape[:2]
    assert photo_orientation(tmp_path / "x.tif") == 1


def _turned_by(tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    return exif


@pytest.mark.parametrize("suffix", [".tif", ".TIF", ".tiff"])
def test_a_tiff_of_colours_or_a_palette(tmp_path, suffix):
    colours = Image.fromarray(np.full((3, 4, 3), (1, 50, 200), np.uint8))
    colours.save(tmp_path / f"x{suffix}", format="TIFF")
    assert np.array_equal(read_photo(tmp_path / f"x{suffix}"), np.asarray(colours))
    colours.convert("P").save(tmp_path / f"x{suffix}", format="TIFF")
    assert np.ptp(read_photo(tmp_path / f"x{suffix}")[0, 0].astype(int)) > 100


def test_what_pillow_cannot_unpack_names_the_extra_or_is_read_with_it(tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile", reason="needs the extra tif")
    values = np.full((3, 4, 3), (1, 50, 200), np.uint8)
    path = tmp_path / "x.tif"
    tag = [(0x0112, "H", 1, 6, True)]
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", extratags=tag)
    assert np.array_equal(read_photo(path), np.rot90(values, -1))
    assert photo_size(path) == (4, 3)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    for read in (read_photo, photo_size):
        with pytest.raises(SourceFileError, match=r"cannot read.*whole.*conformal-plugin\[tif\]"):
            read(path)


def test_the_first_of_several_bands_is_no_photo(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="needs the extra tif")
    for bands in (2, 5):
        values = np.zeros((5, 4, bands), np.uint8)
        options = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(tmp_path / "x.tif", values, **options)
        with pytest.raises((SourceFileError, ShapeError), match="bands.*--reader"):
            read_photo(tmp_path / "x.tif")
    infrared = np.dstack([np.full((5, 4), shade, np.uint8) for shade in (1, 2, 3, 99)])
    tifffile.imwrite(tmp_path / "x.tif", infrared, photometric="rgb", extrasamples=["unspecified"])
    assert np.array_equal(read_photo(tmp_path / "x.tif"), infrared[..., :3])


def test_a_photo_without_exif(tmp_path):
    assert photo_orientation(saved(tmp_path / "x.png", np.zeros((2, 2), np.uint8))) == 1


def test_a_photo_beyond_what_pillow_opens_unasked(tmp_path, monkeypatch):
    path = saved(tmp_path / "x.jpg", np.zeros((20, 20), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for read in (read_photo, image_size):
        with pytest.raises(SourceFileError, match=r"400 pixels.*MAX_IMAGE_PIXELS"):
            read(path)
