"""The study of defaults: its forms, its rows and its rehearsal, without an encoder."""

from __future__ import annotations

import argparse
import re
import sys

import numpy as np
import pytest
import torch

from conformal_plugin import calibrate, filter
from conformal_plugin.rehearsing import rehearse


@pytest.fixture
def beds(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "examples")
    import beds

    from conformal_plugin.rehearsing import _probe

    monkeypatch.setattr(_probe, "_STEPS", 60)
    monkeypatch.setattr(_probe, "_BATCH", 128)
    yield beds
    for name in ("beds", "bed_table", "candidates", "known", "quick_student", "rehearsal"):
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
    return beds._Data(material, points, thin, coarse)


@pytest.fixture
def known(beds, data):
    return beds._Cell("made-up", 12, "as is", 0).known(data)


def test_the_papers_row_is_that_of_the_library(beds, data, known):
    maps, way = beds._labels(known, "paper")
    found = calibrate(np.stack(data.thin["labelled"]), np.stack(data.points["labelled"].truth))
    expected = [filter(s, found.qhat, rule="foreground-first") for s in data.thin["unlabelled"]]
    assert way == "paper"
    np.testing.assert_array_equal(maps, expected)


@pytest.mark.parametrize("row", ["raw", "fixed .95", "default", "per class .1 singleton"])
def test_every_row_labels_or_says_why_not(beds, known, row):
    maps, way = beds._labels(known, row)
    assert maps is None or len(maps) == 20
    assert way


@pytest.fixture
def trained(beds, data, monkeypatch):
    """A run on the made-up bed; the list grows by the seed of each student."""
    import known

    seeds = []
    train = known.train_quick

    def counting(*arguments, **options):
        seeds.append(options["seed"])
        return train(*arguments, **options)

    monkeypatch.setattr(known, "train_quick", counting)
    monkeypatch.setattr(beds, "_read", lambda folder, cache: data)
    made_up = beds.Bed(beds.Path("made-up"), (12, 8, 6), ("as is",), 0)
    monkeypatch.setitem(beds.BEDS, "polyps", made_up)
    return seeds


def test_a_run_is_resumed_and_its_table_printed(beds, trained, tmp_path, capsys):
    command = ["--data", str(tmp_path), "--out", str(tmp_path), "--beds", "polyps", "--seeds", "2"]
    rows = ["--rows", "labels only", "raw", "thinned", "true masks"]
    assert beds.main([*command, *rows]) == 0
    assert len(trained) == 18  # three sizes; raw labels are true masks here: one student
    assert beds.main([*command, *rows]) == 0
    assert len(trained) == 18
    capsys.readouterr()
    assert beds.main([*command, *rows, "--table", "test"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 + 2 + 4
    assert all(float(cell) > 50 for cell in lines[2].split("|")[2:6])
    assert lines[5].startswith("| spread |")
    assert "true masks: " in lines[-1]


def test_the_table_says_how_far_a_row_is_behind_the_best_at_hand(beds, capsys):
    from bed_table import Row, print_table

    rows = [
        Row("one", [([50.0, 52.0], False), ([40.0], True)]),
        Row("other", [([60.0], False), ([20.0], False)]),
        Row("new", [([61.5], False), ([], False)]),
        Row("worse", [([58.5], False), ([40.5], False)]),
    ]
    print_table(["first", "second"], rows, ("one", "other"))
    found = capsys.readouterr().out
    assert "| first | 51.0 | 60.0 | 61.5 | 58.5 |" in found
    assert "| second | 40.0 (refused) | 20.0 |  | 40.5 |" in found
    assert "| spread | 1.4 |" in found
    assert "new: -1.5 in the mean, -1.5 at most, at most 1 in 1 of 1 cells, better by more" in found
    assert "worse: 0.5 in the mean, 1.5 at most, at most 1 in 1 of 2 cells" in found


def test_a_folder_is_a_bed(beds, tmp_path):
    splits = tmp_path / "facades" / "splits"
    splits.mkdir(parents=True)
    (splits / "labeled_30.txt").write_text("\n".join(f"p{i}" for i in range(30)))
    folder = str(tmp_path / "facades")
    options = argparse.Namespace(beds=["voc", folder], data=tmp_path, no_background=True)
    found = beds._beds(options)
    assert list(found) == ["voc", "facades"]
    assert found["facades"].sizes == (30, 24, 12)
    assert found["facades"].background is None
    assert "over-called" in found["facades"].forms
    options.no_background = False
    assert beds._beds(options)["facades"].background == 0


def features_of(points):
    """Of each photo as an encoder gives them, ``(160, 8, 8)``."""
    return [one.T.reshape(160, 8, 8) for one in points.features]


def test_a_rehearsal_is_that_of_the_library(beds, data, known):
    features = features_of(data.points["labelled"]), features_of(data.points["unlabelled"])
    found = beds.of_default(known, *features)
    expected = rehearse(
        features[0], known.labelled.truth, features[1], known.default, classes=[0, 1]
    )
    assert found == expected
    assert found.n_unlabelled == 20


def test_rehearsals_are_resumed_and_rows_follow_them(
    beds, data, trained, monkeypatch, tmp_path, capsys
):
    features = features_of(data.points["labelled"]), features_of(data.points["unlabelled"])
    asked = []
    monkeypatch.setattr(
        beds, "encoded", lambda material, trained_on: asked.append(material) or features
    )
    command = ["--data", str(tmp_path), "--out", str(tmp_path), "--beds", "polyps", "--seeds", "1"]
    assert beds.main([*command, "--rehearse"]) == 0
    assert beds.main([*command, "--rehearse"]) == 0
    assert len(asked) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == printed[3:]
    assert all("points (one standard error over" in line for line in printed)
    rows = ["--rows", "labels only", "default", "label weights", "rehearsed", "rehearsed weights"]
    assert beds.main([*command, *rows]) == 0
    notes = sorted((tmp_path / "rehearsals").iterdir())
    assert len(notes) == 3
    for note, worth in zip(notes, ("true", "false", None)):  # 12, 6 and 8 labelled photos
        text = re.sub(r'"worth_using": \w+', f'"worth_using": {worth}', note.read_text())
        note.write_text("null" if worth is None else text)
    capsys.readouterr()
    assert beds.main([*command, *rows, "--table", "test"]) == 0
    lines = [[cell.strip() for cell in line.split("|")[1:-1]]
             for line in capsys.readouterr().out.splitlines()[2:5]]  # fmt: skip
    for name, only, default, weights, rehearsed, of_weights in lines:
        used = name == "polyps 12, as is"
        assert rehearsed == (default if used else only), name
        assert of_weights == (weights if used else only), name


@pytest.fixture
def candidates(known):
    import candidates

    return candidates


def test_p_values_are_shares_of_the_true_classes_scores(candidates, known):
    found = candidates._p_values(known)
    truth = np.concatenate([one.ravel() for one in known.labelled.truth])
    right = np.where(truth, *(np.stack(known.scores)[:, c].ravel() for c in (1, 0)))
    for point in (0, 70):
        photo, at = divmod(point, 64)
        for c in (0, 1):
            own = right[truth == c]
            below = (own <= known.others[photo][c].ravel()[at]).sum()
            assert found[point, c] == pytest.approx((below + 1) / (len(own) + 1))


def test_weights_shift_the_loss_of_the_labels_that_stay(candidates):
    teacher = candidates._weighted(torch.tensor([0, 1, 255]), torch.tensor([3.0, 1.0, 9.0]))
    logits = torch.randn(3, 2)
    each = torch.nn.functional.cross_entropy(logits[:2], torch.tensor([0, 1]), reduction="none")
    expected = (3 * each[0] + each[1]) / 4
    torch.testing.assert_close(teacher(None, logits, torch.arange(3), 0.0), expected)
    assert teacher(None, logits[:1], torch.tensor([2]), 0.0) == 0


def test_every_candidate_is_a_student(candidates, known):
    from quick_student import confusion_of

    for name, train in candidates.CANDIDATES.items():
        found = confusion_of(train(known, 0), known.labelled, 2)
        assert np.diagonal(found).sum() > 0.9 * found.sum(), name
