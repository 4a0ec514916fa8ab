"""From a list to pseudo-labels, for data that lies in other files than PNG."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformal_plugin import Calibration, calibrate, filter as filter_masks
from conformal_plugin.files import read_label

Array = Any

h5py = pytest.importorskip("h5py", reason="needs the extra formats (h5py)")
nibabel = pytest.importorskip("nibabel", reason="needs the extra formats (nibabel)")
tifffile = pytest.importorskip("tifffile", reason="needs the extra formats (tifffile)")
pytest.importorskip("imagecodecs", reason="needs the extra formats (imagecodecs)")

CLASSES, DEPTH, HEIGHT, WIDTH = 3, 3, 7, 6


def annotated(seed: int, *size: int) -> tuple[Array, Array]:
    """Class scores that favour the true class, and the true classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, size).astype(np.uint8)
    scores = 0.5 * np.eye(CLASSES)[labels] + 0.5 * rng.dirichlet(np.ones(CLASSES), size)
    return np.moveaxis(scores, -1, 0).astype(np.float32), labels


def write_h5(path: Path, **arrays: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip")


def write_nifti(path: Path, values: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values.transpose(), np.diag([1.5, 1.5, 3, 1])), path)


def write_tiff(path: Path, values: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.ndim == 3:
        values = np.ascontiguousarray(np.moveaxis(values, 0, -1))
    tifffile.imwrite(
        path, values, photometric="minisblack", compression="deflate", tile=(16, 16),
        planarconfig="contig" if values.ndim == 3 else None,
    )  # fmt: skip


def test_slices_as_ssl4mis_has_them(tmp_path: Path, run: Callable[..., Any]) -> None:
    root = tmp_path / "ACDC"
    names = [f"patient{p:03}_frame01_slice_{s}" for p in range(1, 5) for s in range(1, 4)]
    for seed, name in enumerate(names):
        scores, labels = annotated(seed, HEIGHT, WIDTH)
        image = np.full((HEIGHT, WIDTH), 0.5, np.float32)
        write_h5(root / "data" / "slices" / f"{name}.h5", image=image, label=labels)
        write_h5(root / "probs" / f"{name}.h5", probs=scores)
    (root / "labelled.list").write_text("\n".join(names[:6]) + "\n")
    (root / "unlabelled.list").write_text("\n".join(names[6:]) + "\n")
    slices = root / "data" / "slices"
    maps = ("--maps", root / "probs")
    calibration = root / "calibration.json"
    done = run(
        "calibrate", *maps, "--labels", slices, "--ids", root / "labelled.list", "--alpha", 0.2,
        "-o", calibration,
    )  # fmt: skip
    assert done.code == 0, done.err
    done = run(
        "filter", *maps, "--ids", root / "unlabelled.list", "--calibration", calibration,
        "--photos", slices, "--out", root / "pseudo", "--root", root,
    )  # fmt: skip
    assert done.code == 0, done.err
    scores, _ = annotated(6, HEIGHT, WIDTH)
    found = read_label(root / "pseudo" / f"{names[6]}.png")
    assert np.array_equal(found, filter_masks(scores, Calibration.load(calibration)))
    lines = (root / "pseudo" / "pseudo_labels.txt").read_text().splitlines()
    assert lines[0] == f"data/slices/{names[6]}.h5 pseudo/{names[6]}.png"
    done = run("evaluate", *maps, "--labels", slices, "--calibration", calibration, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["n_images"] == len(names)


def volumes_of(write: Callable[[Path, Array], None], suffix: str, root: Path) -> list[str]:
    """Twelve volumes of different depths, maps and labels beside each other."""
    names = [f"case{i:02}" for i in range(12)]
    for seed, name in enumerate(names):
        scores, labels = annotated(seed, DEPTH + seed % 2, HEIGHT, WIDTH)
        write(root / "probs" / f"{name}{suffix}", scores)
        write(root / "labels" / f"{name}{suffix}", labels)
    (root / "labelled.txt").write_text("\n".join(names[:8]) + "\n")
    (root / "unlabelled.txt").write_text("\n".join(names[8:]) + "\n")
    return names


def h5_of_one(path: Path, values: Array) -> None:
    write_h5(path, **{"probs" if values.ndim == 4 else "label": values})


@pytest.mark.parametrize(
    ("write", "suffix", "written"),
    [(write_nifti, ".nii.gz", ".nii.gz"), (h5_of_one, ".h5", ".npz")],
    ids=["nifti", "h5"],
)
@pytest.mark.parametrize("guarantee", ["pixel", "image-level", "precision"])
def test_volumes(
    tmp_path: Path, run: Callable[..., Any], write: Any, suffix: str, written: str, guarantee: str
) -> None:
    root = tmp_path
    names = volumes_of(write, suffix, root)
    maps, labels = ("--maps", root / "probs"), ("--labels", root / "labels")
    calibration = root / "calibration.json"
    level = ("--epsilon", 0.5) if guarantee == "precision" else ("--alpha", 0.3)
    done = run(
        "calibrate", *maps, *labels, "--ids", root / "labelled.txt", "--guarantee", guarantee,
        *level, "-o", calibration,
    )  # fmt: skip
    assert done.code == 0, done.err
    found = Calibration.load(calibration)
    assert found.n_images == 8
    assert found.guarantee.unit == ("voxel" if guarantee == "pixel" else "volume")
    if guarantee == "pixel":
        given = [annotated(seed, DEPTH + seed % 2, HEIGHT, WIDTH) for seed in range(8)]
        pairs = zip(*((scores[None], truth[None]) for scores, truth in given))
        assert calibrate(*map(list, pairs), alpha=0.3).qhat == found.qhat
    filtered = (
        "filter", *maps, "--ids", root / "unlabelled.txt", "--calibration", calibration,
        "--out", root / "pseudo", "--json",
    )  # fmt: skip
    done = run(*filtered)
    assert done.code == 0, done.err
    assert json.loads(done.out)["written"] == 4
    scores, _ = annotated(8, DEPTH, HEIGHT, WIDTH)
    path = root / "pseudo" / f"{names[8]}{written}"
    assert np.array_equal(read_label(path), filter_masks(scores[None], found)[0])
    if suffix == ".nii.gz":
        like = nibabel.load(root / "probs" / f"{names[8]}{suffix}").affine
        assert np.array_equal(nibabel.load(path).affine, like)
    done = run(*filtered)
    assert done.code == 0, done.err
    assert json.loads(done.out)["already_there"] == 4
    done = run(*filtered, "--verify")
    assert json.loads(done.out)["already_there"] == 4
    done = run("evaluate", *maps, *labels, "--calibration", calibration, "--json")
    assert json.loads(done.out)["n_images"] == 12


def test_choosing_and_reporting_on_volumes(tmp_path: Path, run: Callable[..., Any]) -> None:
    volumes_of(write_nifti, ".nii.gz", tmp_path)
    folders = ("--maps", tmp_path / "probs", "--labels", tmp_path / "labels")
    done = run("choose", *folders, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["n_images"] == 12
    calibration = tmp_path / "calibration.json"
    done = run("calibrate", *folders, "--alpha", 0.3, "-o", calibration)
    assert done.code == 0, done.err
    done = run(
        "report", *folders, "--calibration", calibration, "--out", tmp_path / "report", "--no-png",
        "--examples", 1,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (tmp_path / "report" / "report.html").exists()


def test_a_volume_and_a_label_of_another_depth(tmp_path: Path, run: Callable[..., Any]) -> None:
    write_nifti(tmp_path / "probs" / "a.nii.gz", annotated(0, DEPTH, HEIGHT, WIDTH)[0])
    write_nifti(tmp_path / "labels" / "a.nii.gz", annotated(0, DEPTH + 1, HEIGHT, WIDTH)[1])
    command = (
        "calibrate", "--maps", tmp_path / "probs", "--labels", tmp_path / "labels",
        "--alpha", 0.5, "-o", tmp_path / "c.json",
    )  # fmt: skip
    done = run(*command)
    assert done.code == 2
    assert "the map is 3 x 7 x 6 (depth x height x width) and the label 4 x 7 x 6" in done.err
    done = run(*command, "--resize")
    assert done.code == 0, done.err


def test_tiles_of_a_geotiff_set(tmp_path: Path, run: Callable[..., Any]) -> None:
    names = [f"tile_{row}_{column}" for row in range(3) for column in range(4)]
    for seed, name in enumerate(names):
        scores, labels = annotated(seed, HEIGHT, WIDTH)
        write_tiff(tmp_path / "probs" / f"{name}.tif", scores)
        write_tiff(tmp_path / "labels" / f"{name}.tif", labels)
        write_tiff(tmp_path / "photos" / f"{name}.tif", np.zeros((3, HEIGHT, WIDTH), np.uint8))
    (tmp_path / "labelled.txt").write_text("\n".join(names[:8]) + "\n")
    (tmp_path / "unlabelled.txt").write_text("\n".join(names[8:]) + "\n")
    maps, labels = ("--maps", tmp_path / "probs"), ("--labels", tmp_path / "labels")
    calibration = tmp_path / "calibration.json"
    done = run(
        "calibrate", *maps, *labels, "--ids", tmp_path / "labelled.txt", "--alpha", 0.2,
        "-o", calibration,
    )  # fmt: skip
    assert done.code == 0, done.err
    done = run(
        "filter", *maps, "--ids", tmp_path / "unlabelled.txt", "--calibration", calibration,
        "--photos", tmp_path / "photos", "--out", tmp_path / "pseudo",
    )  # fmt: skip
    assert done.code == 0, done.err
    scores, _ = annotated(8, HEIGHT, WIDTH)
    expected = filter_masks(scores, Calibration.load(calibration))
    assert np.array_equal(read_label(tmp_path / "pseudo" / f"{names[8]}.png"), expected)


READER = """
import numpy as np

def read(path, what):
    values = np.fromfile(path, np.float32 if what == "map" else np.uint8)
    return values.reshape(({classes}, {height}, {width}) if what == "map" else ({height}, {width}))

read.suffixes = (".raw",)

def without(path, what):
    return None
"""


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Maps and labels without a header, in a folder with a module that reads them."""
    for seed in range(6):
        scores, labels = annotated(seed, HEIGHT, WIDTH)
        for folder, values in (("probs", scores), ("labels", labels)):
            (tmp_path / folder).mkdir(exist_ok=True)
            np.ascontiguousarray(values).tofile(tmp_path / folder / f"im{seed}.raw")
    text = READER.format(classes=CLASSES, height=HEIGHT, width=WIDTH)
    (tmp_path / "raw_reader_of_mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("raw_reader_of_mine", None)


def test_a_reader_in_every_command(raw: Path, run: Callable[..., Any]) -> None:
    reader = ("--reader", "raw_reader_of_mine:read")
    folders = ("--maps", "probs", "--labels", "labels")
    done = run("calibrate", *folders, *reader, "--alpha", 0.3, "-o", "c.json")
    assert done.code == 0, done.err
    filtering = ("--maps", "probs", "--calibration", "c.json", "--out", "pseudo")
    for command in (
        ("evaluate", *folders, "--calibration", "c.json"),
        ("choose", *folders),
        ("report", *folders, "--calibration", "c.json", "--out", "report", "--no-png"),
        ("filter", *filtering),
    ):
        done = run(*command, *reader)
        assert done.code == 0, done.err
    scores, _ = annotated(0, HEIGHT, WIDTH)
    expected = filter_masks(scores, Calibration.load("c.json"))
    assert np.array_equal(read_label("pseudo/im0.png"), expected)
    done = run("calibrate", *folders, "-o", "c.json")  # no longer in use
    assert done.code == 2
    assert "there is no map" in done.err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raw_reader_of_mine", "expected MODULE:FUNCTION"),
        ("no_such_reader:read", "run in the folder of no_such_reader.py"),
        ("raw_reader_of_mine:nothing", "must be callable as read(path, what), got NoneType"),
        ("raw_reader_of_mine:without", "read.suffixes = ('.mha',)"),
    ],
)
def test_readers_that_are_none(raw: Path, run: Callable[..., Any], name: str, message: str) -> None:
    done = run(
        "calibrate", "--maps", "probs", "--labels", "labels", "--reader", name, "-o", "c.json"
    )
    assert done.code == 2
    assert message in done.err
