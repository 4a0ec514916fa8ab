"""No command writes over what it reads, over another of its outputs, or outside its folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import Calibration
from conformal_plugin.files import MapStore


def contents(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def everything(data, run):
    """With a calibration, photos, names of classes and photos that are PNGs."""
    done = run(
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "--alpha", 0.4),
        *("-o", data.root / "cal.json"),
    )
    assert done.code == 0
    (data.root / "photos").mkdir()
    for name in data.ids:
        Image.new("RGB", (6, 8)).save(data.root / "photos" / f"{name}.png")
    (data.root / "names.txt").write_text("a\nb\nc\n")
    return data


def calibrate(*more):
    return ["calibrate", "--maps", "maps", "--labels", "labels", "--ids", "ids.txt", *more]


def filtering(*more):
    return ["filter", "--maps", "maps", "--ids", "ids.txt", "--calibration", "cal.json", *more]


def choose(*more):
    return ["choose", "--maps", "maps", "--labels", "labels", "--ids", "ids.txt", *more]


def export(tool, out, *more):
    return [
        *("export", "--photos", "photos", "--labels", "labels", "--names", "names.txt"),
        *("--background", "none", "--to", tool, "--out", out, *more),
    ]


def review(*more):
    return ["review", "--maps", "maps", "--ids", "ids.txt", "--calibration", "cal.json", *more]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (calibrate("-o", "ids.txt"), "--output ids.txt is also --ids"),
        (calibrate("-o", "labels/im0.png"), "is also a label"),
        (calibrate("-o", "labels/../maps/im3.npy"), "is also a map"),
        (calibrate("-o", "linked/im0.png"), "is also a label"),
        (calibrate("-o", "far.txt", "--ids", "near.txt"), "is also --ids"),
        (
            calibrate("--alpha", 0.3, 0.4, "-o", "x.txt", "--ids", "x-0.4.txt"),
            "x-0.4.txt is also --ids",
        ),
        (filtering("--out", "o", "--id-list", "cal.json"), "is also --calibration"),
        (filtering("--out", "o", "--id-list", "maps/im1.npy"), "is also a map"),
        (filtering("--out", "o", "--id-list", "ids.txt"), "is also --ids"),
        (filtering("--out", "o", "--id-list", "o/im1.png"), "are one file"),
        (filtering("--out", "o", "--id-list", "o/labels.json"), "are one file"),
        (filtering("--out", "photos", "--photos", "photos", "--overwrite"), "is also a photo"),
        (choose("-o", "ids.txt"), "is also --ids"),
        (choose("-o", "maps/im0.npy"), "is also a map"),
        (choose("-o", "c.json", "--calibration-out", "c.json"), "are one file"),
        (choose("--calibration-out", "labels/im0.png"), "is also a label"),
        (choose("--own-maps", "own", "-o", "own/im1.npy"), "is also a map of --own-maps"),
        (choose("--label-map", "values.json", "-o", "values.json"), "is also --label-map"),
        (choose("-o", "maps/store.json"), "is also --maps"),
        (calibrate("--own-maps", "own", "-o", "own/im1.npy"), "is also a map of --own-maps"),
        (calibrate("--label-map", "values.json", "-o", "values.json"), "is also --label-map"),
        (
            calibrate("--unlabelled", "others.txt", "-o", "maps/other1.npy"),
            "maps/other1.npy is also a map",
        ),
        (filtering("--out", "o", "--id-list", "maps/store.json"), "is also --maps"),
        (
            [
                *("report", "--maps", "maps", "--labels", "labels", "--ids", "report.html"),
                *("--calibration", "cal.json", "--out", "."),
            ],
            "is also --ids",
        ),
        (
            [
                *("annotate", "--photos", "photos", "--annotator", "no_module:f", "--classes"),
                *("names.txt", "--calibration", "cal.json", "--out", "photos"),
            ],
            "is also a photo",
        ),
        (
            [
                *("annotate", "--photos", "photos", "--annotator", "no_module:f", "--classes"),
                *("store.json", "--out", "."),
            ],
            "is also --classes",
        ),
        (export("fiftyone", "."), "labels/im0.png is also a label"),
        (export("label-studio", ".", "--names", "tasks.json"), "tasks.json is also --names"),
        (export("cvat", ".", "--ids", "cvat_labels.json"), "cvat_labels.json is also --ids"),
        (review("--out", ".", "--ids", "for_training.txt"), "for_training.txt is also --ids"),
    ],
)
def test_an_output_that_is_an_input_is_refused(everything, run, monkeypatch, arguments, what):
    monkeypatch.chdir(everything.root)
    for copy in ("far.txt", "x-0.4.txt", "report.html", "cvat_labels.json", "for_training.txt"):
        shutil.copy("ids.txt", copy)
    shutil.copy("names.txt", "store.json")
    Path("tasks.json").write_text('{"a": [], "b": [], "c": []}')
    shutil.copytree("maps", "own")
    Path("values.json").write_text('{"0": 0, "1": 1, "2": 2, "255": "ignore"}')
    Path("others.txt").write_text("other0\nother1\n")
    for number in range(2):
        shutil.copy("maps/im0.npy", f"maps/other{number}.npy")
    if "maps/store.json" in arguments:
        MapStore("made", annotator={"name": "its"}, class_names="abc")
        Path("made/store.json").rename("maps/store.json")
    Path("linked").symlink_to("labels")
    Path("near.txt").symlink_to("far.txt")
    before = contents(everything.root)
    done = run(*arguments)
    assert done.code == 2
    assert what in done.err
    assert "choose another place to write to" in done.err
    assert contents(everything.root) == before


def test_masks_that_came_back_are_not_written_over(everything, run, monkeypatch):
    monkeypatch.chdir(everything.root)
    assert run(*export("fiftyone", "sent")).code == 0
    shutil.copy("ids.txt", "imported.txt")
    before = contents(everything.root)
    back = ["import", "--export", "sent", "--file", "sent", "--overwrite"]
    for more, what in (
        (["--ids", "ids.txt", "--out", "sent/labels"], "is also a mask of --file"),
        (["--ids", "imported.txt", "--out", "."], "imported.txt is also --ids"),
    ):
        done = run(*back, *more)
        assert done.code == 2
        assert what in done.err
        assert contents(everything.root) == before
    assert run(*back, "--ids", "ids.txt", "--out", "sent/checked").code == 0


def test_a_link_or_a_second_name_of_an_input_may_be_replaced(everything, run, monkeypatch):
    """Files are replaced by renaming: what was behind the name is not touched."""
    monkeypatch.chdir(everything.root)
    os.link("ids.txt", "second.json")
    Path("link.json").symlink_to("ids.txt")
    whole = Path("ids.txt").read_bytes()
    for name in ("second.json", "link.json"):
        assert run(*calibrate("-o", name)).code == 0
        assert Path("ids.txt").read_bytes() == whole


def test_alphas_that_are_alike_have_files_of_their_own(data, run):
    output = data.root / "c.json"
    done = run(
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "-o", output, "--json"),
        *("--alpha", 0.4000001, 0.4000002, 0.4),
    )
    files = [entry["file"] for entry in json.loads(done.out)["calibrations"]]
    assert [Path(file).name for file in files] == [
        "c-0.4000001.json",
        "c-0.4000002.json",
        "c-0.4.json",
    ]
    assert [Calibration.load(file).alpha for file in files] == [0.4000001, 0.4000002, 0.4]


def test_labels_are_not_written_through_a_link(data, run, tmp_path):
    (data.maps / "deep").mkdir()
    np.save(data.maps / "deep" / "a.npy", np.full((3, 8, 6), 0.3, np.float16))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "elsewhere")
    done = run("filter", "--maps", data.maps, "--qhat", 0.4, "--out", tmp_path / "out")
    assert done.code == 2
    assert "deep/a leads out of the label folder" in done.err
    assert not list((tmp_path / "elsewhere").iterdir())
