"""A calibration's file tells when a value in it is another than was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conformal_plugin import Calibration, calibrate
from conformal_plugin.errors import CalibrationFileError


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "c.json"
    calibrate(rng.random((3, 6, 7)), rng.integers(0, 3, (6, 7)), 0.4).save(path)
    return path


def test_every_digit_is_covered(saved: Path) -> None:
    text, whole = saved.read_text(), Calibration.load(saved)
    for place, letter in enumerate(text):
        if letter.isdigit():
            saved.write_text(text[:place] + str((int(letter) + 1) % 10) + text[place + 1 :])
            with pytest.raises(CalibrationFileError, match=r"c\.json: this calibration "):
                Calibration.load(saved)
    saved.write_text(text)
    assert Calibration.load(saved) == whole


def test_who_edits_a_file_is_told_how(saved: Path) -> None:
    content = json.loads(saved.read_text())
    content["qhat"] = 0.5
    saved.write_text(json.dumps(content))
    with pytest.raises(CalibrationFileError, match="edited by hand.*delete the field 'checksum'"):
        Calibration.load(saved)
    del content["checksum"]
    saved.write_text(json.dumps(content))
    assert Calibration.load(saved).qhat == 0.5


def test_layout_and_order_are_free(saved: Path) -> None:
    content = json.loads(saved.read_text())
    whole = Calibration.load(saved)
    saved.write_text(json.dumps(dict(reversed(content.items())), separators=(",", ":")))
    assert Calibration.load(saved) == whole


def test_a_file_without_a_checksum_is_read(saved: Path) -> None:
    whole = Calibration.load(saved)
    saved.write_text(whole.to_json())
    assert "checksum" not in whole.to_json()
    assert Calibration.load(saved) == whole


def test_what_damage_has_made_of_the_checksum_is_no_older_file(saved: Path) -> None:
    saved.write_text(saved.read_text().replace('"checksum"', '"checkrum"'))
    with pytest.raises(CalibrationFileError, match="no checksum, and a field checkrum"):
        Calibration.load(saved)


def test_what_no_checksum_can_be_made_of_is_refused(saved: Path) -> None:
    deep = "[" * 900 + "]" * 900
    saved.write_text(saved.read_text().replace('"version": 1,', f'"version": 1, "more": {deep},'))
    with pytest.raises(CalibrationFileError):
        Calibration.load(saved)
