"""A shared folder is taken whole or not at all, and only what it was written with is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conformal_plugin._sealed import sealed
from conformal_plugin.errors import CalibrationFileError, OptionError, SourceFileError
from conformal_plugin.files import MapStore, label_files
from conformal_plugin.hub import LabelSet, Shared, share
from conformal_plugin.hub._contents import CALIBRATION, CARD, CONTENTS


def test_it_comes_back(shared: Path, made: SimpleNamespace) -> None:
    found = Shared.from_pretrained(str(shared))
    assert found.calibration.to_json() == made.calibration.to_json()
    assert found.contents.class_names == ("background", "cat", "dog")
    assert found.contents.license == "cc-by-4.0"
    assert found.contents.annotator is None
    assert found.labels == shared / "labels"
    labels = label_files(found.labels, [f"of/im{i}" for i in range(3)])
    for read, array in zip(labels, made.arrays):
        np.testing.assert_array_equal(read, array)


def test_a_calibration_alone(tmp_path: Path, made: SimpleNamespace) -> None:
    share(tmp_path / "alone", made.file)
    found = Shared.from_pretrained(tmp_path / "alone")
    assert found.labels is None
    assert set(found.contents.versions) == {"conformal-plugin", "torch", "numpy"}


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "calibration": (lambda f: flipped(f / "calibration.json"), "is not the file that was shared"),
    "label": (lambda f: flipped(f / "labels/of/im1.png"), "is not the file that was shared"),
    "contents": (lambda f: flipped(f / "conformal-plugin.json"), "cannot read"),
    "missing": (lambda f: (f / "labels/of/im2.png").unlink(), "lacks labels/of/im2.png"),
    "beside": (lambda f: (f / "labels/more.png").write_bytes(b"x"), "1 files, more.png among"),
    "no contents": (lambda f: (f / "conformal-plugin.json").unlink(), "cannot read"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_refused(shared: Path, what: str) -> None:
    damage, said = DAMAGE[what]
    damage(shared)
    with pytest.raises(SourceFileError, match=said):
        Shared.from_pretrained(shared)


def test_what_the_hub_and_desktops_add_is_no_damage(shared: Path) -> None:
    (shared / ".gitattributes").write_text("x")
    (shared / "labels" / ".DS_Store").write_text("x")
    (shared / "README.md").write_text("edited on the Hub")
    assert Shared.from_pretrained(shared).labels is not None


@pytest.mark.parametrize(
    "name", ["../calibration.json", "/etc/passwd", "labels/../../x", "run.py", "labels\\..\\x"]
)
def test_no_other_file_is_looked_at(shared: Path, name: str) -> None:
    path = shared / "conformal-plugin.json"
    content = json.loads(path.read_text())
    content["files"][name] = 64 * "0"
    del content["checksum"]
    path.write_text(sealed(content))
    with pytest.raises(SourceFileError, match="which is no place for labels"):
        Shared.from_pretrained(shared)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("format", "x"),
        ("files", []),
        ("files", {"labels/a.png": "0"}),
        ("files", {"calibration.json": 1}),
        ("class_names", "cat"),
        ("annotator", []),
        ("license", 1),
        ("versions", None),
    ],
)
def test_fields_of_another_kind_are_refused(shared: Path, field: str, value: object) -> None:
    path = shared / "conformal-plugin.json"
    content = json.loads(path.read_text())
    content[field] = value
    del content["checksum"]
    path.write_text(sealed(content))
    with pytest.raises(SourceFileError, match="cannot read"):
        Shared.from_pretrained(shared)


def test_a_repository_has_options_that_a_folder_has_not(shared: Path) -> None:
    with pytest.raises(OptionError, match="is a folder on this disk"):
        Shared.from_pretrained(shared, revision="main")


def test_what_cannot_be_shared(tmp_path: Path, made: SimpleNamespace) -> None:
    out = tmp_path / "out"
    for options, said in (
        ({"title": "two\nlines"}, "title"),
        ({"license": "CC BY 4.0"}, "license"),
        ({"class_names": ["one"]}, "1 class names were given"),
        ({"class_names": ["a", "b", "c\n"]}, "no single line"),
    ):
        with pytest.raises(OptionError, match=said):
            share(out, made.file, **options)
    with pytest.raises(SourceFileError, match="cannot read the label"):
        share(out, made.file, labels=LabelSet({"a.png": tmp_path / "none.png"}, 255))
    with pytest.raises(OptionError, match="holds something already"):
        share(tmp_path, made.file)
    with pytest.raises(CalibrationFileError):
        share(tmp_path / "other", made.labels.files["of/im0.png"])


def test_what_a_killed_run_left_is_written_anew(tmp_path: Path, made: SimpleNamespace) -> None:
    whole = share(tmp_path / "whole", made.file, labels=made.labels)
    files = sorted(path for path in whole.folder.rglob("*") if path.is_file())
    killed = tmp_path / "killed"
    shutil.copytree(whole.folder, killed)
    (killed / CONTENTS).unlink()
    (killed / CARD).unlink()
    left = killed / "labels" / f".im0.png.{2**22 - 1:08x}{0:024x}.tmp"
    (killed / "labels" / "of").mkdir(exist_ok=True)
    left.write_bytes(b"half")
    again = share(killed, made.file, labels=made.labels)
    assert Shared.from_pretrained(killed).contents == again.contents
    for path in files:
        assert (killed / path.relative_to(whole.folder)).read_bytes() == path.read_bytes()
    with pytest.raises(OptionError, match="holds something already"):
        share(killed, made.file, labels=made.labels)  # whole, and not to be written over
    (killed / CONTENTS).unlink()
    with pytest.raises(OptionError, match="holds something already"):
        share(killed, made.file)  # its labels would be shared, too
    (killed / CALIBRATION).unlink()
    with pytest.raises(OptionError, match="holds something already"):
        share(killed, made.file, labels=made.labels)  # nothing says that it is an unfinished one


def test_files_go_through_what_follows_them(tmp_path: Path, made: SimpleNamespace) -> None:
    seen = []

    def follow(files):
        for name, path in files:
            seen.append(name)
            yield name, path

    share(tmp_path / "out", made.file, labels=made.labels, follow=follow)
    assert seen == list(made.labels.files)


def test_the_annotator_is_told_by_its_maps(tmp_path: Path, made: SimpleNamespace) -> None:
    who = {"model": "m", "weights": "`x`\n\n# y", "fitted_on": [f"im{i}" for i in range(50)]}
    store = MapStore(tmp_path / "maps", annotator=who, class_names=("a", "b", "c"))
    content = json.loads(made.file.read_text())
    del content["checksum"]
    made.file.write_text(sealed({**content, "annotator": store.digest.hex()}))
    found = share(tmp_path / "out", made.file, maps=store)
    assert found.contents.class_names == ("a", "b", "c")
    assert Shared.from_pretrained(tmp_path / "out").contents.annotator == who
    card = (tmp_path / "out" / "README.md").read_text()
    assert store.digest.hex() in card
    assert '     "weights": "`x`\\n\\n# y",' in card
    assert "... 50 in all" in card
    other = MapStore(tmp_path / "others", annotator={"model": "n"}, class_names=("a", "b", "c"))
    with pytest.raises(OptionError, match="was made on maps of another annotator"):
        share(tmp_path / "out2", made.file, maps=other)
    assert not (tmp_path / "out2").exists()
    made.file.write_text(sealed(content))
    with pytest.raises(OptionError, match="names no annotator"):
        share(tmp_path / "out2", made.file, maps=store)
