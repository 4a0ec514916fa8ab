"""What can be wrong with the calibration, and with labels that another one made."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from conformal_plugin.calibration import Calibration


def test_labels_that_filter_did_not_make(patient, run) -> None:
    (patient.data / "pseudo" / "labels.json").unlink()
    finding = patient.only(run, "settings of the pseudo labels", "warning")
    assert "nothing is known of their threshold" in finding["text"]


def test_another_ignore_index_in_the_labels(patient, run) -> None:
    patient.settings(ignore_index=254)
    finding = patient.only(run, "settings of the pseudo labels", "error")
    assert finding["remedy"] == "write ignore_index: 254 under conformal:"


def test_labels_of_another_threshold(patient, run) -> None:
    patient.settings(qhat=0.123)
    finding = patient.only(run, "labels are of this calibration", "error")
    assert "another threshold" in finding["text"]


def test_raw_labels_are_not_the_calibrations(patient, run) -> None:
    patient.settings(qhat=None, alpha=None, rule=None)
    finding = patient.only(run, "labels are of this calibration", "error")
    assert "the annotator's raw ones (argmax)" in finding["text"]


def test_labels_of_another_rule_than_the_promise_is_for(patient, run) -> None:
    patient.calibration(rule="singleton")
    finding = patient.only(run, "labels are of this calibration", "error")
    assert finding["remedy"] == "filter again with --rule singleton"


def test_a_calibration_of_other_classes(patient, run) -> None:
    patient.configure(nclass=5)
    finding = patient.only(run, "calibration fits the run", "error")
    assert finding["text"] == "the calibration has 4 classes and the config nclass 5"


def test_a_calibration_that_says_nothing(patient, run) -> None:
    patient.calibration(qhat=1.0)
    patient.settings(qhat=1.0)
    finding = patient.only(run, "calibration fits the run", "error")
    assert "puts every class into every prediction set" in finding["text"]


@pytest.mark.parametrize(("images", "hint"), [(11, "it saw others"), (9, "counted 9 images")])
def test_a_calibration_of_other_photos(patient, run, images, hint) -> None:
    patient.calibration(n_images=images)
    finding = patient.only(run, "calibrated on the labelled photos", "warning")
    assert hint in finding["text"]


@pytest.mark.parametrize(
    ("images", "level", "hint"), [(10, "warning", "more than the 8 others"), (8, "ok", "no more")]
)
def test_labelled_photos_that_came_by_review(patient, run, images, level, hint) -> None:
    lines = patient.labelled.read_text().splitlines()
    names = [Path(line.split()[1]).stem for line in lines]
    noted = {"chosen_by_scores": names[3:5] + ["another"], "imported": names, "undecided": []}
    (patient.data / "labels" / "imported.json").write_text(json.dumps(noted))
    patient.calibration(n_images=images)
    finding = patient.only(run, "calibrated on the labelled photos", level)
    assert "2 of the 10 labelled photos were chosen by their scores" in finding["text"]
    assert hint in finding["text"]


def test_an_exact_promise_is_called_exact(patient, run) -> None:
    guarantee = Calibration.load(patient.data / "calibration.json").guarantee
    patient.calibration(guarantee=dataclasses.replace(guarantee, exact=True, unit="image"))
    finding = patient.only(run, "what the calibration promises", "ok")
    assert "(exact, per image," in finding["text"]


def test_a_calibration_that_is_damaged(patient, run) -> None:
    (patient.data / "calibration.json").write_text("{}")
    finding = patient.only(run, "calibration can be read", "error")
    assert "calibration.json" in finding["text"]


def test_labels_in_the_numbers_of_the_masks(patient, run) -> None:
    patient.settings(own_numbers="0=ignore,1=0")
    found = patient.only(run, "settings of the pseudo labels", "error")
    assert "without --own-numbers" in found["remedy"]
