"""Calibrations on disk: round trips, refusals, and files of earlier releases."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

import conformal_plugin as cp
from conformal_plugin import Calibration
from conformal_plugin.errors import CalibrationFileError

FIXTURES = Path(__file__).parent / "fixtures"


def some_calibration() -> Calibration:
    rng = np.random.default_rng(0)
    return cp.calibrate(rng.random((3, 6, 7)), rng.integers(0, 3, (6, 7)), 0.1)


@pytest.mark.parametrize(
    "qhat", [0.1 + 0.2, math.inf, -math.inf, np.array([0.1, math.inf, -math.inf]), 0.0, 1.0]
)
def test_round_trip_keeps_every_bit(tmp_path: Path, qhat) -> None:
    calibration = replace(some_calibration(), qhat=qhat)
    calibration.save(tmp_path / "deep" / "calibration.json")
    again = Calibration.load(tmp_path / "deep" / "calibration.json")
    assert again == calibration
    assert hash(again) == hash(calibration)
    assert np.array_equal(again.qhat, qhat)
    assert isinstance(again.qhat, float) == np.isscalar(qhat)
    # Standard JSON: no Infinity or NaN tokens, which most readers refuse.
    json.loads(calibration.to_json(), parse_constant=lambda token: pytest.fail(token))
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["calibration.json"]


def test_immutable_and_comparable() -> None:
    calibration = some_calibration()
    with pytest.raises(FrozenInstanceError):
        calibration.qhat = 0.5  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        calibration.pixels_per_class[0] = 1
    per_class = replace(calibration, qhat=np.array([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match="read-only"):
        per_class.qhat[0] = 1.0
    assert calibration != replace(calibration, alpha=0.2)
    assert calibration != "calibration"


def test_repr_says_what_matters() -> None:
    text = repr(some_calibration())
    for word in ("qhat=0.9", "alpha=0.1", "heuristic", "per pixel", "n_pixels=42", "n_images=1"):
        assert word in text
    text = repr(replace(some_calibration(), qhat=np.array([0.25, 0.5, math.inf])))
    assert "0.25 ... inf over 3 classes" in text


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_another_version_is_refused_with_what_to_do(tmp_path: Path, version) -> None:
    content = json.loads(some_calibration().to_json()) | {"version": version}
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationFileError) as caught:
        Calibration.load(path)
    for word in (str(path), repr(version), "reads versions 1 and 2", "calibrate again"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "which this is not"),
        ("{}", "which this is not"),
        ('{"format": "conformal-plugin calibration", "version": 1}', "damaged .*pixels_per_class"),
    ],
)
def test_damaged_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(CalibrationFileError, match=message):
        Calibration.from_json(text)


def test_nan_and_missing_files_are_refused(tmp_path: Path) -> None:
    content = json.loads(some_calibration().to_json()) | {"qhat": "nan"}
    with pytest.raises(CalibrationFileError, match="qhat is NaN"):
        Calibration.from_json(json.dumps(content))
    with pytest.raises(CalibrationFileError, match="No such file"):
        Calibration.load(tmp_path / "absent.json")


def test_the_file_of_version_1_is_still_read() -> None:
    calibration = Calibration.load(FIXTURES / "calibration-v1.json")
    assert np.array_equal(calibration.qhat, [0.25, math.inf, 0.5])
    assert (calibration.alpha, calibration.n_pixels, calibration.n_images) == (0.1, 42, 2)
    assert calibration.guarantee.unit == "pixel"
    assert calibration.images_per_class.tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"version": 9}, "version 9 and this release reads version 1"),
        ({"version": 1}, "damaged .*kind"),
        ({"version": 1, "kind": "Calibrator"}, "damaged .*ignore_index"),
        ({"version": 1, "kind": "Else"}, "state of a Else, and a Calibrator was asked for"),
        ({}, "damaged .*version"),
    ],
)
def test_calibrator_states_are_checked(state: dict, message: str) -> None:
    with pytest.raises(CalibrationFileError, match=message):
        cp.Calibrator.from_state(state)
