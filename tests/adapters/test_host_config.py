"""The ``conformal:`` block of a host's YAML: defaults, what is refused, and in which words."""

from __future__ import annotations

import pytest
import yaml

from conformal_plugin import errors
from conformal_plugin.adapters.loop import HostConfig


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pseudo").mkdir()
    return str(tmp_path / "pseudo")


def read(epochs=80, **options):
    return HostConfig.read({"epochs": epochs, "conformal": options})


def test_without_the_key_there_is_no_config():
    assert HostConfig.read({"epochs": 80, "lr": 0.1}) is None


@pytest.mark.parametrize(("epochs", "stage1"), [(80, 60), (60, 45), (1, 1), (2, 2), (6, 5), (3, 2)])
def test_stage_one_is_three_quarters_unless_told(folder, epochs, stage1):
    assert read(epochs, pseudo_labels=folder).stage1_epochs == stage1
    assert read(epochs, pseudo_labels=folder, stage1_epochs=None).stage1_epochs == stage1


@pytest.mark.parametrize("stage1", [0, 1, 80])
def test_stage_one_may_be_none_or_all_of_the_run(folder, stage1):
    assert read(pseudo_labels=folder, stage1_epochs=stage1).stage1_epochs == stage1


def test_the_printed_block_reads_as_the_defaults(folder):
    block = yaml.safe_load(HostConfig.default_yaml())
    block["conformal"]["pseudo_labels"] = folder
    assert HostConfig.read({"epochs": 80, **block}) == read(pseudo_labels=folder)


def test_the_printed_block_has_every_option_with_a_comment():
    head, *lines = HostConfig.default_yaml().splitlines()
    assert head == "conformal:"
    comments, options = lines[::2], lines[1::2]
    assert all(line.startswith("  # ") and line.endswith(".") for line in comments)
    assert [line.split(":")[0].strip() for line in options] == [
        "pseudo_labels", "stage1_epochs", "mode", "weight", "ignore_index", "calibration",
    ]  # fmt: skip


def test_values_are_taken_over(folder, tmp_path):
    file = tmp_path / "calibration.json"
    file.touch()
    config = read(
        pseudo_labels=folder,
        stage1_epochs=7,
        mode="add",
        weight=2,
        ignore_index=200,
        calibration=str(file),
    )
    assert (config.stage1_epochs, config.mode, config.weight) == (7, "add", 2.0)
    assert (config.ignore_index, config.calibration) == (200, file)


def test_importing_it_loads_no_torch(fresh_python):
    code = (
        "import sys, conformal_plugin.adapters.loop as loop; loop.HostConfig; "
        "assert 'torch' not in sys.modules; "
        "assert 'numpy' not in sys.modules"
    )
    fresh_python(code)


# What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage1_epoch": 3}, r"unknown option 'stage1_epoch' .* did you mean 'stage1_epochs'\?"),
        ({"alpha": 3}, r"unknown option 'alpha' .* expected one of pseudo_labels, .*calibration$"),
        ({"stage1_epochs": 81}, "stage1_epochs: .* from 0 to the host's epochs, 80, .* got 81"),
        ({"stage1_epochs": -1}, "stage1_epochs: .* got -1"),
        ({"stage1_epochs": 1.5}, "stage1_epochs: .* got 1.5"),
        ({"stage1_epochs": True}, "stage1_epochs: .* got True"),
        ({"mode": "both"}, "mode: expected 'replace' or 'add', but got 'both'"),
        ({"mode": ["add"]}, "mode: expected 'replace' or 'add'"),
        ({"weight": -1}, "weight: expected a number from 0, but got -1"),
        ({"weight": "1"}, "weight: .* got '1'"),
        ({"weight": float("nan")}, "weight: .* got nan"),
        ({"ignore_index": "255"}, "ignore_index: .* got '255'"),
        ({"ignore_index": -1}, "ignore_index: .* got -1"),
        ({"calibration": "none.json"}, "calibration: expected a file, but there is none at none"),
        ({"calibration": 3}, "calibration: expected the file .* got 3"),
        ({"pseudo_labels": "nowhere"}, "pseudo_labels: expected a folder, .* none at nowhere"),
        ({"pseudo_labels": 5}, "pseudo_labels: expected the folder .* got 5"),
        ({"pseudo_labels": None}, "pseudo_labels: expected the folder .* got None"),
    ],
)
def test_options_are_refused_with_key_value_and_remedy(folder, options, message):
    with pytest.raises(errors.OptionError, match=message):
        read(**{"pseudo_labels": folder} | options)


def test_the_folder_is_required():
    with pytest.raises(errors.OptionError, match="pseudo_labels: .* but got nothing"):
        read(stage1_epochs=3)


@pytest.mark.parametrize("block", [None, "pseudo_labels", ["pseudo_labels"]])
def test_the_block_must_be_a_mapping(block):
    with pytest.raises(errors.OptionError, match="expected options under conformal:"):
        HostConfig.read({"epochs": 80, "conformal": block})


@pytest.mark.parametrize("epochs", [None, 0, "80", 2.0])
def test_the_host_must_say_how_many_epochs(folder, epochs):
    with pytest.raises(errors.OptionError, match=r"expected epochs: .* whole number above 0"):
        read(epochs, pseudo_labels=folder)


def test_a_namespace_is_no_config():
    with pytest.raises(errors.InputTypeError, match=r"got SimpleNamespace: pass .* vars\(args\)"):
        HostConfig.read(__import__("types").SimpleNamespace(epochs=3))
