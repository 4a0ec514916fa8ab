"""``conformal-plugin evaluate``: the library's measurements, in words and as JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from conformal_plugin import Calibration, evaluate
from conformal_plugin.files import label_files, map_files


def arguments(data, *more):
    return ["evaluate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list, *more]


def test_it_gives_what_the_library_gives(data, run, calibrated):
    done = run(*arguments(data, "--calibration", calibrated, "--classes", 0, 2, "--json"))
    content = json.loads(done.out)
    result = evaluate(
        map_files(data.maps, data.ids),
        label_files(data.labels, data.ids),
        Calibration.load(calibrated),
    )
    for name in ("coverage", "set_size", "kept", "precision"):
        assert content[name] == getattr(result, name)
    assert content["image_coverage"]["mean"] == pytest.approx(result.image_coverage.mean())
    assert content["image_coverage"]["min"] == result.image_coverage.min()
    assert content["image_coverage"]["median"] == np.median(result.image_coverage)
    assert content["miou"] == result.miou()
    assert content["miou_kept"] == result.miou(dropped="ignore")
    assert content["miou_classes"] == result.miou([0, 2])
    assert content["confusion"] == result.confusion.tolist()


def test_raw_is_argmax(data, run):
    content = json.loads(run(*arguments(data, "--raw", "--json")).out)
    right = [
        np.asarray(m).argmax(0)[y != 255] == y[y != 255]
        for m, y in zip(map_files(data.maps, data.ids), label_files(data.labels, data.ids))
    ]
    assert content["qhat"] == "inf"
    assert content["kept"] == 1
    assert content["precision"] == pytest.approx(np.concatenate(right).mean())
    done = run(*arguments(data, "--raw", "--rule", "singleton"))
    assert done.code == 2
    assert "--rule asks for singleton" in done.err


def test_the_table(data, run):
    done = run(*arguments(data, "--qhat", 0.4, "--classes", 1))
    lines = done.out.splitlines()
    assert lines[0] == "12 images, 348 pixels, rule foreground-first"
    header = lines.index(f"{'class':>5} {'pixels':>10} {'kept':>8} {'precision':>9} {'IoU':>8}")
    assert [line.split()[0] for line in lines[header + 1 :]] == ["0", "1", "2", "3"]


def test_nan_is_null(data, run):
    content = json.loads(run(*arguments(data, "--qhat", 0.0, "--json")).out)
    assert content["kept"] == 0
    assert content["precision"] is None
    assert math.isfinite(content["miou"])


def test_a_wrong_class_is_refused(data, run):
    done = run(*arguments(data, "--qhat", 0.4, "--classes", 9))
    assert done.code == 2
    assert "--classes must be indices in 0 ... 3, as " in done.err


def test_calibration_and_number_exclude_each_other(data, run, calibrated):
    done = run(*arguments(data, "--qhat", 0.4, "--calibration", calibrated))
    assert done.code == 2
    assert "not allowed with argument" in done.err


def test_a_file_that_is_no_calibration(data, run):
    done = run(*arguments(data, "--calibration", data.list))
    assert done.code == 2
    assert "ids.txt" in done.err
    assert "not JSON" in done.err
