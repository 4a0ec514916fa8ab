"""``calibrate --looks``: label more, run the same command again; the promise is for all looks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from conformal_plugin import Calibration, PrecisionCalibrator
from conformal_plugin.files import read_label


@pytest.fixture
def grow(data, run):
    """Calibrate on the first n images, looking again."""

    def call(images, *more):
        (data.root / "grow.txt").write_text("\n".join(data.ids[:images]) + "\n")
        return run(
            *("calibrate", "--maps", data.maps, "--labels", data.labels),
            *("--ids", data.root / "grow.txt", "--guarantee", "precision", "--epsilon", "0.5"),
            *("--planned", 10, "--looks", data.root / "looks.json", "-o", data.root / "c.json"),
            *more,
        )

    return call


def test_each_look_comes_after_those_before(data, grow):
    for images in (5, 8, 8, 12):
        assert grow(images).code == 0
    record = json.loads((data.root / "looks.json").read_text())
    assert record["looks"] == [data.ids[:5], data.ids[5:8], data.ids[8:]]
    calibrator = PrecisionCalibrator()
    for first, last in ((0, 5), (5, 8), (8, 12)):
        for name in data.ids[first:last]:
            scores = np.load(data.maps / f"{name}.npz")["probs"]
            calibrator.update(scores, read_label(data.labels / f"{name}.png"), [name])
        calibrator.look()
    assert Calibration.load(data.root / "c.json") == calibrator.result(0.5, planned=10)


def test_what_was_looked_at_cannot_be_taken_back(data, grow):
    assert grow(8).code == 0
    before = (data.root / "looks.json").read_text()
    done = grow(6)
    assert done.code == 2
    assert "2 images of earlier looks, im0006 among them, are not in --ids" in done.err
    done = grow(12, "--delta", "0.2")
    assert done.code == 2
    assert "delta was 0.1 and is 0.2" in done.err
    assert (data.root / "looks.json").read_text() == before


def test_bad_records_and_usage(data, grow, run):
    (data.root / "looks.json").write_text("[]")
    assert "cannot read the looks" in grow(8).err
    (data.root / "looks.json").write_text(
        json.dumps({"format": "other", "version": 1, "settings": {}, "looks": []})
    )
    assert "holds no looks of this release" in grow(8).err
    done = run(
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "-o", data.root / "c.json"),
        *("--guarantee", "precision", "--epsilon", "0.5", "--planned", "10"),
    )
    assert "--planned and --looks go together" in done.err


def test_what_a_killed_run_left_of_the_record_is_cleared_away(data, grow):
    left = data.root / f".looks.json.{'a' * 32}.tmp"
    left.write_text("half a record")
    assert grow(8).code == 0
    assert not left.exists()
