"""``--label-map`` from command to command, and what it contradicts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import Calibration, LabelMap
from conformal_plugin.files import read_label, write_label

MAP = "9=0,8=1,7=2,6=3,5=ignore,255=ignore,*=refuse"


@pytest.fixture
def renumbered(data):
    """``data`` with masks whose numbers are none of classes."""
    label_map = LabelMap.of(MAP)
    for path in data.labels.glob("*.png"):
        write_label(path, label_map.back(read_label(path)))
    return data


def test_a_map_gives_what_masks_of_classes_give(data, run, tmp_path):
    command = ("--maps", data.maps, "--labels", data.labels, "--ids", data.list, "--quiet")
    assert run("calibrate", *command, "--alpha", 0.2, "-o", tmp_path / "plain.json").code == 0
    plain = run("evaluate", *command, "--calibration", tmp_path / "plain.json").out
    for path in data.labels.glob("*.png"):
        write_label(path, LabelMap.of(MAP).back(read_label(path)))
    mapped = (*command, "--label-map", MAP)
    assert run("calibrate", *mapped, "--alpha", 0.2, "-o", tmp_path / "c.json").code == 0
    calibration = Calibration.load(tmp_path / "c.json")
    assert calibration.with_label_map(None) == Calibration.load(tmp_path / "plain.json")
    # The calibration remembers it.
    assert run("evaluate", *command, "--calibration", tmp_path / "c.json").out == plain
    done = run("choose", *mapped, "--want-kept", 0.5, "--calibration-out", tmp_path / "chosen.json")
    assert done.code == 0, done.err
    assert Calibration.load(tmp_path / "chosen.json").label_map == calibration.label_map


def test_contradictions(renumbered, run, tmp_path):
    command = ("--maps", renumbered.maps, "--labels", renumbered.labels, "--quiet")
    done = run("calibrate", *command, "--label-map", MAP, "--alpha", 0.2, "-o", tmp_path / "c.json")
    assert done.code == 0, done.err
    for more, message in (
        (["--label-map", "binary"], "leave the option out"),
        (["--label-map", "nothing"], "a label map is one of"),
    ):
        done = run("evaluate", *command, "--calibration", tmp_path / "c.json", *more)
        assert done.code == 2
        assert message in done.err
    labels = ("filter", "--maps", renumbered.maps, "--out", tmp_path / "out", "--quiet")
    for more, message in (
        (["--qhat", 0.4, "--own-numbers"], "nothing says what these are"),
        (["--qhat", 0.4, "--dropped", 3], "about --own-numbers"),
        (
            ["--calibration", tmp_path / "c.json", "--own-numbers", "--dropped", 9],
            "cannot hold 9",
        ),
        (
            ["--qhat", 0.4, "--own-numbers", "--label-map", "#000000=0"],
            "written as a palette",
        ),
    ):
        done = run(*labels, *more)
        assert done.code == 2
        assert message in done.err
    done = run(
        *("annotate", "--photos", tmp_path, "--annotator", "x:y", "--out", tmp_path / "o"),
        "--grey",
    )
    assert "they need --calibration" in done.err


def test_labels_have_the_colours_of_the_masks(data, run, tmp_path):
    colours = {
        (9, 9, 9): 0,
        (200, 0, 0): 1,
        (0, 200, 0): 2,
        (0, 0, 200): 3,
        (255, 255, 255): "ignore",
    }
    table = np.zeros((256, 3), np.uint8)
    for colour, number in colours.items():
        table[255 if number == "ignore" else number] = colour
    for path in data.labels.glob("*.png"):
        Image.fromarray(table[read_label(path)]).save(path)
    (tmp_path / "map.json").write_text(
        json.dumps({f"#{bytes(colour).hex()}": number for colour, number in colours.items()})
    )
    command = ("--maps", data.maps, "--quiet")
    done = run(
        *("calibrate", *command, "--labels", data.labels, "--label-map", tmp_path / "map.json"),
        *("--alpha", 0.2, "-o", tmp_path / "c.json"),
    )
    assert done.code == 0, done.err
    done = run("filter", *command, "--calibration", tmp_path / "c.json", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    with Image.open(tmp_path / "out" / f"{data.ids[0]}.png") as image:
        assert np.array_equal(np.array(image.convert("RGB")), table[np.array(image)])


def test_what_is_no_class_points_to_label_maps(data, run, tmp_path):
    path = data.labels / f"{data.ids[0]}.png"
    write_label(path, read_label(path) // 255 * 255 + np.uint8(4))
    done = run("calibrate", "--maps", data.maps, "--labels", data.labels, "-o", tmp_path / "c.json")
    assert done.code == 2
    assert "--label-map" in done.err
    assert "counted from 1 are reduce-zero-label" in done.err


@pytest.mark.parametrize("shape", [(1, 6, 5), (6, 5)])
def test_one_channel_points_to_from_foreground(data, run, tmp_path, shape):
    for name in data.ids:
        (data.maps / f"{name}.npz").unlink()
        np.save(data.maps / f"{name}.npy", np.full(shape, 0.5, np.float32))
    out = ("--qhat", 0.4, "--out", tmp_path / "out")
    for command in (
        ("calibrate", "--labels", data.labels, "-o", tmp_path / "c.json"),
        ("choose", "--labels", data.labels),
        ("evaluate", "--labels", data.labels, "--qhat", 0.4),
        ("filter", *out),
    ):
        done = run(*command, "--maps", data.maps)
        assert done.code == 2
        assert "from_foreground" in done.err
