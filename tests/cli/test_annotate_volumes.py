"""``annotate --window``: volumes slice by slice, and what is said without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformal_plugin.errors import OptionError, ShapeError, SourceFileError
from conformal_plugin.files import MapStore, Window, read_in_window, register_reader, rounded

MODEL = """
import numpy as np

sizes = []

def bright(photo):
    assert photo.dtype == np.uint8 and photo.shape[-1] == 3
    sizes.append(photo.shape)
    share = photo[..., 0] / np.float32(255)
    return np.stack([1 - share, share])

def fails(photo):
    if photo.max() == 255:
        raise RuntimeError("CUDA out of memory")
    return bright(photo)
"""


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A folder with NIfTI volumes of Hounsfield units; their values."""
    nibabel = pytest.importorskip("nibabel", reason="needs the extra nifti")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "slices_model.py").write_text(MODEL)
    (tmp_path / "names.txt").write_text("background\nbright\n")
    (tmp_path / "volumes").mkdir()
    rng = np.random.default_rng(0)
    values = {f"case{n}": rng.integers(-1000, 1000, (3 + n, 6, 5)) for n in range(3)}
    for name, array in values.items():
        image = nibabel.Nifti1Image(array.astype(np.int16).transpose(), np.eye(4))
        nibabel.save(image, tmp_path / "volumes" / f"{name}.nii.gz")
    yield values
    sys.modules.pop("slices_model", None)


def annotate(run: Any, *more: object, model: str = "bright", out: str = "maps") -> Any:
    common = ("--photos", "volumes", "--classes", "names.txt", "--background-rule", "prompt")
    return run("annotate", *common, "--annotator", f"slices_model:{model}", "--out", out, *more)


def test_slices_become_the_map_of_a_volume(run: Any, volumes: Any) -> None:
    done = annotate(run, "--window", -160, 240, "--batch-size", 2)
    assert done.code == 0, done.err
    store = MapStore.open("maps")
    for name, values in volumes.items():
        grey = np.rint(np.clip((values.astype(np.float32) + 160) / 400, 0, 1) * 255)
        share = grey.astype(np.uint8) / np.float32(255)
        np.testing.assert_array_equal(store.read(name), rounded(np.stack([1 - share, share])))
    assert store.annotator["window"] == "-160 240"
    again = annotate(run, "--window", -160, 240)
    assert "0 maps written to maps, 3 were there" in again.out
    other = annotate(run, "--window", "1%", "99%")
    assert (other.code, "window was" in other.err) == (2, True)


def test_without_a_window_volumes_are_refused_and_it_is_said_what_to_do(
    run: Any, volumes: Any
) -> None:
    done = annotate(run)
    assert done.code == 2
    assert "is a volume (3, 6, 5)" in done.err
    assert "annotate --window LOW HIGH" in done.err
    assert "conformal_plugin.files.MapStore" in done.err


def test_a_slice_that_fails_names_its_volume(run: Any, volumes: Any) -> None:
    done = annotate(run, "--window", -160, 3000, model="fails", out="a")
    assert done.code == 0, done.err  # none is white
    done = annotate(run, "--window", -160, 240, model="fails", out="b")
    assert done.code == 2
    assert "images case0: the annotator failed (RuntimeError: CUDA out of memory)" in done.err


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (("240", "-160"), "the higher one that is white"),
        (("1", "99%"), "or two percentages"),
        (("0%", "101%"), "or two percentages"),
        (("dark", "bright"), "got dark bright"),
        (("nan", "1"), "got nan 1"),
    ],
)
def test_what_is_no_window(run: Any, volumes: Any, window: tuple[str, str], message: str) -> None:
    done = annotate(run, "--window", *window)
    assert (done.code, message in done.err) == (2, True)
    with pytest.raises(OptionError, match="a window is the value that is black"):
        Window.of(window)


def test_a_window_is_for_maps(run: Any, volumes: Any) -> None:
    done = annotate(run, "--window", 0, 1, "--calibration", "c.json")
    assert (done.code, "label the maps with `filter`" in done.err) == (2, True)


def test_values_of_any_reader(tmp_path: Path) -> None:
    held = {"image": np.linspace(-1, 1, 24).reshape(4, 6), "volume": np.arange(24).reshape(2, 3, 4)}

    def read(path: Path, what: str) -> Any:
        return held[path.stem]

    read.suffixes = (".raw",)  # type: ignore[attr-defined]
    with register_reader(read):
        image = read_in_window(tmp_path / "image.raw", Window(-1, 1))
        assert image.shape == (4, 6, 3)
        assert image[0, 0].tolist() == [0, 0, 0]
        assert image[-1, -1].tolist() == [255, 255, 255]
        volume = read_in_window(tmp_path / "volume.raw", Window(0, 50, percent=True))
        assert volume.shape == (2, 3, 4, 3)
        assert (volume[1] == 255).all()
        held["volume"] = np.zeros((2, 3, 4))
        with pytest.raises(SourceFileError, match="both 0, which is no window"):
            read_in_window(tmp_path / "volume.raw", Window(1, 99, percent=True))
        held["volume"][0, 0, 0] = np.nan
        with pytest.raises(SourceFileError, match="NaN or infinite"):
            read_in_window(tmp_path / "volume.raw", Window(0, 1))
        held["volume"] = np.zeros((2, 2, 3, 4))
        with pytest.raises(ShapeError, match=r"shape \(2, 2, 3, 4\)"):
            read_in_window(tmp_path / "volume.raw", Window(0, 1))
    with pytest.raises(ShapeError, match="is none of these"):
        read_in_window(tmp_path / "photo.png", Window(0, 1))
