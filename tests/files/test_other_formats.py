"""Maps, labels and photos of other formats, and those that readers of the user's read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conformal_plugin.errors import InputTypeError, OptionError, ShapeError, SourceFileError
from conformal_plugin.files import (
    label_files,
    label_size,
    map_files,
    photo_size,
    read_label,
    read_made_label,
    read_map,
    read_origin,
    read_photo,
    register_reader,
    write_label,
)

Array = Any

h5py = pytest.importorskip("h5py", reason="needs the extra formats (h5py)")
nibabel = pytest.importorskip("nibabel", reason="needs the extra formats (nibabel)")
tifffile = pytest.importorskip("tifffile", reason="needs the extra formats (tifffile)")
pytest.importorskip("imagecodecs", reason="needs the extra formats (imagecodecs)")

RNG = np.random.default_rng(0)
MAP = RNG.dirichlet(np.ones(3), (5, 4)).transpose(2, 0, 1).astype(np.float32)
VOLUME = RNG.dirichlet(np.ones(3), (2, 5, 4)).transpose(3, 0, 1, 2).astype(np.float32)
LABEL = RNG.integers(0, 3, (5, 4)).astype(np.uint8)
LABELS = RNG.integers(0, 3, (2, 5, 4)).astype(np.uint8)


def write_h5(path: Path, **arrays: Array) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip")
    return path


def write_nifti(path: Path, values: Array) -> Path:
    nibabel.save(nibabel.Nifti1Image(values.transpose(), np.diag([2.0, 3, 4, 1])), path)
    return path


def bands_last(path: Path, values: Array) -> None:
    data = np.ascontiguousarray(np.moveaxis(values, 0, -1))
    tifffile.imwrite(path, data, photometric="rgb", compression="deflate", tile=(16, 16))


def bands_first(path: Path, values: Array) -> None:
    tifffile.imwrite(path, values, photometric="rgb", planarconfig="separate", compression="lzw")


def band_by_band(path: Path, values: Array) -> None:
    with tifffile.TiffWriter(path) as file:
        for band in values:
            file.write(band, photometric="minisblack", metadata=None, contiguous=False)


WRITERS: dict[str, tuple[str, Callable[[Path, Array], Any]]] = {
    "h5": ("a.h5", lambda path, values: write_h5(path, probs=values, label=LABEL)),
    "hdf5": ("a.hdf5", lambda path, values: write_h5(path, scores=values)),
    "nifti": ("a.nii", write_nifti),
    "packed nifti": ("a.nii.gz", write_nifti),
    "bands last": ("a.tif", bands_last),
    "bands first": ("a.tiff", bands_first),
    "band by band": ("a.tif", band_by_band),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_maps(tmp_path: Path, kind: str) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name, VOLUME if "nifti" in kind else MAP)
    found = np.asarray(read_map(tmp_path / name))
    assert found.dtype == np.float32
    assert np.array_equal(found, VOLUME if "nifti" in kind else MAP)
    assert len(map_files(tmp_path, ["a"])[0]) == 3


def test_volumes(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", probs=VOLUME)
    np.savez(tmp_path / "b.npz", probs=VOLUME)
    torch.save(torch.from_numpy(VOLUME), tmp_path / "c.pt")
    for name in ("a.h5", "b.npz", "c.pt"):
        assert np.array_equal(np.asarray(read_map(tmp_path / name)), VOLUME)


def test_labels(tmp_path: Path) -> None:
    write_h5(tmp_path / "slice.h5", image=MAP[0], label=LABEL)
    write_h5(tmp_path / "volume.h5", image=VOLUME[0], label=LABELS.astype(np.float32))
    write_nifti(tmp_path / "scan.nii.gz", LABELS.astype(np.int16))
    tifffile.imwrite(tmp_path / "tile.tif", LABEL)
    for name, expected in (
        ("slice.h5", LABEL),
        ("volume.h5", LABELS),
        ("scan.nii.gz", LABELS),
        ("tile.tif", LABEL),
    ):
        found = read_label(tmp_path / name)
        assert found.dtype == np.uint8
        assert np.array_equal(found, expected)
        assert label_size(tmp_path / name) == expected.shape
    assert np.array_equal(label_files(tmp_path, ["scan"])[0], LABELS)


def test_a_folder_of_png_labels_may_hold_other_things(tmp_path: Path) -> None:
    write_label(tmp_path / "a.png", LABEL)
    tifffile.imwrite(tmp_path / "a.tif", np.full((5, 4, 3), 255, np.uint8))
    assert np.array_equal(label_files(tmp_path, ["a"])[0], LABEL)


@pytest.mark.parametrize("name", ["a.npz", "a.nii.gz"])
def test_labels_of_volumes_are_written(tmp_path: Path, name: str) -> None:
    like = write_nifti(tmp_path / "map.nii.gz", VOLUME)
    write_label(tmp_path / name, LABELS, origin="of\nthis", read="that", like=like)
    made = read_made_label(tmp_path / name)
    assert np.array_equal(made.values, LABELS)
    assert (made.origin, made.read) == ("of\nthis", "that")
    assert read_origin(tmp_path / name) == "of\nthis"
    if name == "a.nii.gz":
        affine = nibabel.load(tmp_path / name).affine
        assert np.array_equal(affine, nibabel.load(like).affine)
        assert read_origin(like) == ""
    with pytest.raises(SourceFileError, match="labels of a volume are written as"):
        write_label(tmp_path / "a.png", LABELS)


def test_photos(tmp_path: Path) -> None:
    grey = MAP[0] / MAP[0].max()
    write_h5(tmp_path / "a.h5", image=grey, label=LABEL)
    tifffile.imwrite(tmp_path / "b.tif", np.full((5, 4, 3), 7, np.uint8), photometric="rgb")
    assert np.array_equal(read_photo(tmp_path / "a.h5")[..., 1], np.rint(grey * 255))
    assert np.array_equal(read_photo(tmp_path / "b.tif"), np.full((5, 4, 3), 7))
    assert photo_size(tmp_path / "a.h5") == photo_size(tmp_path / "b.tif") == (5, 4)


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("a.h5", {"image": np.full((5, 4), 300, np.int16)}, "holds 16-bit values from 300 to 300"),
        ("a.h5", {"image": np.full((5, 4), 1.5)}, "from 1.5 to 1.5"),
        ("a.h5", {"image": np.full((5, 4), np.nan)}, "holds float64"),
        (
            "a.h5",
            {"image": np.zeros((2, 5, 4))},
            "If it is a volume: .*MapStore",
        ),
    ],
)
def test_photos_that_are_none(tmp_path: Path, name: str, arrays: Array, message: str) -> None:
    with pytest.raises((SourceFileError, ShapeError), match=message):
        read_photo(write_h5(tmp_path / name, **arrays))


def test_a_volume_is_no_photo(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="needs the extra formats (nibabel)")
    path = tmp_path / "case_00.nii.gz"
    nibabel.save(nibabel.Nifti1Image(VOLUME[0].T.astype(np.float32), np.eye(4)), path)
    with pytest.raises(ShapeError, match=r"is a volume \(.*keep the scores \(K, D, H, W\)"):
        read_photo(path)


def test_bands_of_a_satellite_are_for_a_reader(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 4, 5), np.uint8), photometric="minisblack")
    with pytest.raises((SourceFileError, ShapeError), match="--reader|bands"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((5, 4), 0.5, np.float32), "no class indices"),
        (np.full((5, 4), np.nan), "no class indices"),
        (np.full((5, 4), 2**40), "no class indices"),
        (np.zeros((1, 1, 5, 4), np.uint8), "one class index per pixel"),
        (np.zeros((0, 4), np.uint8), "one class index per pixel"),
        (np.full((5, 4), 1j), "plain numbers"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, values: Array, message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["label"] = values
    with pytest.raises((SourceFileError, ShapeError), match=message):
        read_label(tmp_path / "a.h5")


def test_a_tiff_whose_images_go_round_in_a_circle(tmp_path: Path) -> None:
    """Found among damaged files: who walks from image to image never comes to an end."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for band in np.zeros((2, 5, 4), np.float32):
            file.write(band, contiguous=False)
    with tifffile.TiffFile(path) as file:
        first, last = (page.offset for page in file.pages)
        entries = file.filehandle
        entries.seek(last)
        end = last + 2 + 12 * int.from_bytes(entries.read(2), "little")
    content = bytearray(path.read_bytes())
    assert content[end : end + 4] == bytes(4)  # no further image
    content[end : end + 4] = first.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(SourceFileError, match="circle"):
        read_map(path)


def test_colours_of_a_tiff_are_no_label(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 4, 3), np.uint8), photometric="rgb")
    with pytest.raises(ShapeError, match="has 3 bands where one of class indices"):
        read_label(tmp_path / "a.tif")


def test_an_h5_without_the_array(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", image=LABEL, other=LABEL)
    with pytest.raises(SourceFileError, match=r"has no array 'label'; it holds 'image', 'other'"):
        read_label(tmp_path / "a.h5")


def test_nothing_outside_an_h5_is_read(tmp_path: Path) -> None:
    write_h5(tmp_path / "secret.h5", probs=MAP)
    MAP.tofile(tmp_path / "raw")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["probs"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "probs")
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset(
            "probs", MAP.shape, "f4", external=[(str(tmp_path / "raw"), 0, MAP.nbytes)]
        )
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(MAP.shape, "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "probs", MAP.shape)
        file.create_virtual_dataset("probs", layout)
    with pytest.raises(SourceFileError, match="it holds none"):
        read_map(tmp_path / "link.h5")
    for name in ("raw.h5", "virtual.h5"):
        with pytest.raises(SourceFileError, match="keeps values in other files"):
            read_map(tmp_path / name)


@pytest.mark.parametrize("kind", ["h5", "nifti", "packed nifti", "bands last"])
def test_large_maps_are_refused_before_they_are_unpacked(tmp_path: Path, kind: str) -> None:
    name, write = WRITERS[kind]
    large = np.zeros((3, 1, 200, 200) if "nifti" in kind else (3, 200, 200), np.float32)
    write(tmp_path / name, large)
    with pytest.raises(SourceFileError, match=f"takes {large.nbytes} bytes"):
        read_map(tmp_path / name, max_bytes=large.nbytes - 1)
    assert read_map(tmp_path / name, max_bytes=large.nbytes).shape == large.shape


def test_a_nifti_that_holds_more_than_it_says(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", LABELS)
    with (tmp_path / "a.nii").open("ab") as file:
        file.write(bytes(2**20 + 1))
    with pytest.raises(SourceFileError, match="holds more than its header says"):
        read_label(tmp_path / "a.nii")


def test_a_damaged_packed_nifti_is_told(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", VOLUME)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum
    path.write_bytes(content)
    with pytest.raises(SourceFileError, match="CRC"):
        read_map(path)


def from_csv(path: Path, what: str) -> Array:
    values = np.loadtxt(path, delimiter=",")
    return np.stack([values, 1 - values]) if what == "map" else values.astype(np.uint8)


def test_a_reader_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("0.25,0.5\n1,0\n")
    (tmp_path / "b.csv").write_text("0,1\n1,0\n")
    with pytest.raises(SourceFileError, match="any other format is read by a reader of yours"):
        read_map(tmp_path / "a.csv")
    with register_reader(from_csv, (".csv",)):
        assert read_map(tmp_path / "a.csv")[0].tolist() == [[0.25, 0.5], [1, 0]]
        assert read_label(tmp_path / "b.csv").tolist() == [[0, 1], [1, 0]]
        assert read_photo(tmp_path / "b.csv").shape == (2, 2, 3)
        assert map_files(tmp_path, ["a"])[0].shape == (2, 2, 2)
        assert label_files(tmp_path, ["b"])[0].tolist() == [[0, 1], [1, 0]]
        assert label_size(tmp_path / "b.csv") == photo_size(tmp_path / "b.csv") == (2, 2)
    with pytest.raises(SourceFileError, match="is no map file"):
        read_map(tmp_path / "a.csv")


def test_a_reader_takes_the_place_of_ours(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.moveaxis(MAP, 0, -1))

    def classes_last(path: Path, what: str) -> Array:
        return np.moveaxis(np.load(path), -1, 0)

    with register_reader(classes_last, ".npy"):
        assert np.array_equal(np.asarray(read_map(tmp_path / "a.npy")), MAP)
    assert read_map(tmp_path / "a.npy").shape == (5, 4, 3)


def test_the_longest_suffix_counts(tmp_path: Path) -> None:
    (tmp_path / "a.seg.csv").write_text("1,2\n")
    with (
        register_reader(lambda path, what: np.zeros((1, 1), int), (".csv",)),
        register_reader(lambda path, what: np.ones((1, 1), int), (".seg.csv",)),
    ):
        assert read_label(tmp_path / "a.seg.csv").tolist() == [[1]]


def test_readers_that_fail_or_are_none(tmp_path: Path) -> None:
    def fails(path: Path, what: str) -> Array:
        raise RuntimeError("no such scanner")

    with register_reader(fails, (".csv",)):
        for read in (read_map, read_label, read_photo):
            with pytest.raises(SourceFileError, match=r"a\.csv \(RuntimeError: no such scanner\)"):
                read(tmp_path / "a.csv")
    with (
        register_reader(lambda path, what: [[0.5]], (".csv",)),
        pytest.raises(SourceFileError, match="gave a list for a map"),
    ):
        read_map(tmp_path / "a.csv")
    with pytest.raises(OptionError, match="needs the suffixes of its files"):
        register_reader(fails)
    with pytest.raises(OptionError, match="each with its dot"):
        register_reader(fails, ("csv",))
    with pytest.raises(InputTypeError, match="must be callable"):
        register_reader("numpy.load", (".npy",))  # type: ignore[arg-type]
