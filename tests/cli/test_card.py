"""``card``: what is written and printed, and labels of another calibration."""

from __future__ import annotations

import json

import pytest

from conformal_plugin.hub import Shared


@pytest.fixture
def labels(data, run, calibrated):
    """Labels that the calibration made."""
    out = data.root / "pseudo"
    images = ["--maps", data.maps, "--ids", data.list, "--quiet"]
    assert run("filter", *images, "--calibration", calibrated, "--out", out).code == 0
    return out


def test_a_calibration_and_its_labels(data, run, calibrated, labels):
    out = data.root / "shared"
    done = run("card", calibrated, "--labels", labels, "-o", out)
    assert done.code == 0, done.err
    assert "the calibration, 12 labels, a card" in done.out
    assert f"hf upload OWNER/NAME {out} . --repo-type dataset" in done.out
    assert "no license is stated" in done.err
    shared = Shared.from_pretrained(out)
    for name in data.ids:
        made = (labels / f"{name}.png").read_bytes()
        assert (shared.labels / f"{name}.png").read_bytes() == made
    remarks = json.loads((labels / "labels.json").read_text())["remarks"]
    card = (out / "README.md").read_text().replace("\\", "")
    assert all(" ".join(remark.split()) in card for remark in remarks)
    images = ["--maps", data.maps, "--ids", data.list, "--quiet"]
    again = ["--calibration", out / "calibration.json", "--out", data.root / "again"]
    assert run("filter", *images, *again).code == 0


def test_a_calibration_alone_as_json(data, run, calibrated):
    out = data.root / "shared"
    done = run("card", calibrated, "--license", "mit", "-o", out, "--json", "--quiet")
    assert done.code == 0, done.err
    said = {"folder": str(out), "repo_type": "model", "files": ["calibration.json"]}
    assert json.loads(done.out) == said
    assert done.err == ""


def test_labels_that_it_did_not_make(data, run, calibrated, labels):
    out = data.root / "shared"
    images = ["--maps", data.maps, "--labels", data.labels, "--ids", data.list]
    other = data.root / "other.json"
    assert run("calibrate", *images, "--alpha", 0.4, "-o", other).code == 0
    done = run("card", other, "--labels", labels, "-o", out)
    assert done.code == 2
    assert "were made with another calibration" in done.err
    raw = data.root / "raw"
    assert run("filter", "--maps", data.maps, "--ids", data.list, "--raw", "--out", raw).code == 0
    for folder in (raw, data.labels):
        done = run("card", calibrated, "--labels", folder, "-o", out)
        assert done.code == 2
        assert "does not hold labels that `conformal-plugin filter` made" in done.err
    assert not out.exists()


def test_maps_that_name_no_annotator(data, run, calibrated):
    done = run("card", calibrated, "--maps", data.maps, "-o", data.root / "shared")
    assert done.code == 2
    assert "store.json" in done.err
