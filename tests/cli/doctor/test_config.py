"""What can be wrong with a run's config."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("key", "value"), [("nclass", None), ("nclass", 1), ("nclass", "21"), ("epochs", 0)]
)
def test_numbers_of_the_config(patient, run, key, value) -> None:
    patient.configure(**{key: value})
    finding = patient.only(run, "whole numbers of the config", "error")
    assert finding["text"].startswith(f"{key} is {value!r}, expected a whole number from")
    assert f"`{key}: " in finding["remedy"]


@pytest.mark.parametrize("value", [None, "nowhere", 3])
def test_data_root(patient, run, value) -> None:
    patient.configure(data_root=value)
    assert str(value) in patient.only(run, "data root", "error")["text"]
    seen = patient.examine(run).findings
    reasons = {f["check"]: f["text"] for f in seen if f["level"] == "not made"}
    assert reasons["labelled files"] == "the config names no data_root that is there"


def test_scientific_notation_is_text_in_yaml(patient, run) -> None:
    patient.config.write_text(patient.config.read_text().replace("lr: 0.001", "lr: 1e-3"))
    finding = patient.only(run, "numbers that yaml takes for text", "error")
    assert finding["text"] == "lr: 1e-3 is text to YAML, not a number"
    assert "lr: 0.001" in finding["remedy"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pseudo_label": "x"}, "did you mean 'pseudo_labels'?"),
        ({"pseudo_labels": "nowhere"}, "expected a folder"),
        ({"stage1_epochs": 9}, "stage1_epochs"),
        ({"mode": "both"}, "'replace' or 'add'"),
    ],
)
def test_a_bad_block(patient, run, change, message) -> None:
    patient.conform(**change)
    finding = patient.only(run, "options for conformal labels", "error")
    assert message in finding["text"]
    assert "--print-config" in finding["remedy"]


def test_no_block(patient, run) -> None:
    patient.configure(conformal=None)
    finding = patient.only(run, "options for conformal labels", "error")
    assert "the config has no conformal: key" in finding["text"]


def test_an_ignore_index_that_is_a_class(patient, run) -> None:
    patient.conform(ignore_index=3)
    finding = patient.only(run, "ignore index is no class", "error")
    assert finding["text"] == "ignore_index is 3, which is one of the 4 classes"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"stage1_epochs": 0}, "stage1_epochs is 0: no epoch learns"),
        ({"stage1_epochs": 8}, "stage1_epochs is 8, all of them"),
        ({"weight": 0}, "weight is 0"),
    ],
)
def test_stages(patient, run, change, expected) -> None:
    patient.conform(**change)
    assert expected in patient.only(run, "stages", "warning")["text"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not plain YAML"),
        ("a: !!python/object/apply:os.getcwd []", "is not plain YAML"),
        ("- a", "expected the config"),
        (b"\xff\xfe", "cannot read the config"),
        (None, "cannot read the config"),
    ],
)
def test_configs_that_cannot_be_read(patient, run, content, message) -> None:
    if content is None:
        patient.config.unlink()
    else:
        patient.config.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run("doctor", patient.host, "--config", patient.config)
    assert done.code == 2
    assert message in done.err
