"""``conformal-plugin report``: a page and its charts from folders, or a clear refusal."""

from __future__ import annotations

import json

import numpy as np
import pytest

from conformal_plugin import Calibration


def arguments(data, calibration, *more):
    return [
        *("report", "--maps", data.maps, "--labels", data.labels, "--ids", data.list),
        *("--calibration", calibration, "--out", data.root / "report", *more),
    ]


def test_it_writes_the_page_and_the_charts(data, run, calibrated):
    done = run(*arguments(data, calibrated, "--examples", 0, "--json"))
    assert done.code == 0, done.err
    content = json.loads(done.out)
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert content["report"] == str(data.root / "report" / "report.html")
    for name in content["figures"]:
        for kind in ("svg", "png"):
            assert (data.root / "report" / "figures" / f"{name}.{kind}").exists()
    assert content["formats"] == ["svg", "png"]
    assert "<img" not in text
    assert "class 3" in text


def test_without_photos_three_pictures_each(data, run, calibrated):
    done = run(*arguments(data, calibrated, "--examples", 1))
    assert done.code == 0, done.err
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert text.count("<img") == 9
    assert [text.count(f"<figcaption>{rank}: ") for rank in ("best", "median", "worst")] == [1] * 3


def test_a_promise_on_precision_is_held_to_its_rule(data, run, tmp_path):
    path = tmp_path / "precision.json"
    command = [*("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list)]
    options = ["--guarantee", "precision", "--epsilon", 0.5, "--rule", "singleton", "-o", path]
    assert run(*command, *options).code == 0
    assert run(*arguments(data, path)).code == 0
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert "epsilon = 0.5" in text
    assert "rule singleton alone" in text
    done = run(*arguments(data, path, "--rule", "most-probable"))
    assert done.code == 2
    assert "the calibration is for rule='singleton'" in done.err


def test_where_nothing_is_kept(data, run, tmp_path):
    path = tmp_path / "precision.json"
    command = [*("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list)]
    assert run(*command, "--guarantee", "precision", "--epsilon", 0.001, "-o", path).code == 0
    assert Calibration.load(path).qhat == -np.inf
    assert run(*arguments(data, path, "--examples", 1)).code == 0
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert "q-hat -inf" in text
    assert "<b>none</b> of the kept labels are right" in text
    assert "nan" not in text.replace("base64", "").lower().split("<h2>best")[0]


def test_an_uninformative_calibration_is_shown_as_such(data, run, tmp_path, calibrated):
    content = json.loads(calibrated.read_text())
    content["qhat"] = "inf"
    del content["checksum"]
    path = tmp_path / "infinite.json"
    path.write_text(json.dumps(content))
    assert not Calibration.load(path).informative
    assert run(*arguments(data, path)).code == 0
    text = (data.root / "report" / "report.html").read_text(encoding="utf-8")
    assert "q-hat inf on 1 - P(class); 1 or more puts a class into every set" in text
    assert "No labelled pixel misses its true class" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--names", "voc"], "has 21 classes and the calibration 4"),
        (["--examples", -1], "--examples must be 0 or more"),
        (["--classes", 9], "--classes must be indices in 0 ... 3, as "),
        (["--ignore-index", 0], "was made with 255"),
    ],
)
def test_bad_usage(data, run, calibrated, options, message):
    done = run(*arguments(data, calibrated, *options))
    assert done.code == 2
    assert message in done.err
    assert not (data.root / "report").exists()
