"""The study of defaults: its forms, its rows and its rehearsal, without an encoder."""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pytest
import torch

from conformal_plugin import calibrate, filter


@pytest.fixture
def beds(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "examples")
    import beds

    yield beds
    for name in ("beds", "quick_student"):
        sys.modules.pop(name, None)


@pytest.fixture
def data(beds, monkeypatch):
    """A bed of two classes whose points say what they are, and an annotator that is often right."""
    rng = np.random.default_rng(0)
    points, thin = {}, {}
    for split, photos in (("labelled", 12), ("unlabelled", 20), ("choosing", 6), ("test", 6)):
        truth = (rng.random((photos, 8, 8)) < 0.4).astype(np.uint8)
        seen = truth.reshape(photos, 64, 1) + 0.3 * rng.normal(size=(photos, 64, 160))
        points[split] = beds.Points([torch.tensor(s).half() for s in seen], list(truth))
        of_object = np.clip(0.5 * truth + 0.5 * rng.random(truth.shape), 0, 1)
        thin[split] = list(np.stack([1 - of_object, of_object], axis=1).astype(np.float32))
    material = argparse.Namespace(classes=("a", "b"), core=(0, 1))
    coarse = thin["labelled"], points["labelled"].truth
    monkeypatch.setitem(beds.BEDS, "made-up", beds.Bed("made-up", (12, 8, 6), ("as is",), 0))
    return beds._Data(material, points, thin, coarse)


def test_the_papers_row_is_that_of_the_library(beds, data):
    maps, way = beds._labels(beds._Cell("made-up", 12, "as is"), "paper", data)
    found = calibrate(np.stack(data.thin["labelled"]), np.stack(data.points["labelled"].truth))
    expected = [filter(s, found.qhat, rule="foreground-first") for s in data.thin["unlabelled"]]
    assert way == "paper"
    np.testing.assert_array_equal(maps, expected)


@pytest.mark.parametrize("row", ["raw", "fixed .95", "default", "per class .1 singleton"])
def test_every_row_labels_or_says_why_not(beds, data, row):
    maps, way = beds._labels(beds._Cell("made-up", 12, "as is"), row, data)
    assert maps is None or len(maps) == 20
    assert way


def test_a_run_is_resumed_and_its_table_printed(beds, data, tmp_path, monkeypatch, capsys):
    trained = []
    train = beds.train_quick

    def counting(*arguments, **options):
        trained.append(options["seed"])
        return train(*arguments, **options)

    monkeypatch.setattr(beds, "train_quick", counting)
    monkeypatch.setattr(beds, "_read", lambda folder, cache: data)
    monkeypatch.setitem(beds.BEDS, "polyps", beds.BEDS["made-up"])
    command = ["--data", str(tmp_path), "--out", str(tmp_path), "--beds", "polyps", "--seeds", "1"]
    rows = ["--rows", "labels only", "raw", "true masks"]
    assert beds.main([*command, *rows]) == 0
    assert len(trained) == 6  # three sizes; raw labels are true masks here: one student
    assert beds.main([*command, *rows]) == 0
    assert len(trained) == 6
    capsys.readouterr()
    assert beds.main([*command, *rows, "--table", "test"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(float(cell) > 50 for cell in lines[2].split("|")[2:5])


def test_a_rehearsal_measures_what_labels_add(beds, data):
    cell = beds._Cell("made-up", 12, "as is")
    alone = beds._left_out(cell, data, None)
    assert alone.shape == (12, 2, 2)
    assert alone.sum() == 12 * 64  # every photo is left out once
    taught = beds._left_out(cell, data, [1 - mask for mask in data.points["unlabelled"].truth])
    gain, error = beds._gain(taught, alone, (0, 1))
    assert gain < -0.05
    assert 0 < error < abs(gain)
    assert beds._gain(alone, alone, (0, 1)) == (0, 0)
