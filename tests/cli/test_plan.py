"""``plan``: numbers, a guess from labelled photos, and the lists of photos to label."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def lists(data):
    """Six labelled ids, and all of them as the unlabelled list."""
    labelled = data.root / "labelled.txt"
    labelled.write_text("\n".join(data.ids[:6]) + "\n")
    return labelled, data.list


def test_numbers_alone(run):
    done = run("plan", "--alpha", "0.05", "0.1", "--epsilon", "0.1")
    assert done.code == 0
    assert "alpha 0.05: coverage per image takes at least 19 labelled images" in done.out
    assert "alpha 0.1: coverage per image takes at least 9 " in done.out
    assert "epsilon 0.1, delta 0.1: precision takes at least " in done.out
    content = json.loads(run("plan", "--json").out)
    assert [row["epsilon"] for row in content["precision"]] == [0.05, 0.1]


def test_a_guess_from_labelled_photos(data, lists, run):
    labelled, _ = lists
    images = ("--maps", data.maps, "--labels", data.labels, "--ids", labelled)
    done = run("plan", "--epsilon", "0.4", *images)
    assert done.code == 0
    assert "with replacement, no promise" in done.out
    content = json.loads(run("plan", "--epsilon", "0.4", *images, "--json").out)
    assert [row["units"] for row in content["forecast"]] == [3, 6, 12, 24, 48]
    assert all(0 <= row["kept"] <= 1 and 0 <= row["nothing"] <= 1 for row in content["forecast"])
    assert content["forecast"][0]["nothing"] == 1


def test_photos_to_label_next(data, lists, run):
    labelled, everything = lists
    out = data.root / "to_label"
    more = ("--unlabelled", everything, "--ids", labelled, "--maps", data.maps, "--out", out)
    draw = ("--calibrate-on", 3, "--train-on", 2, "--labels", data.labels)
    done = run("plan", "--epsilon", "0.4", *more, *draw)
    assert done.code == 0
    assert "never calibrate or test on them" in " ".join(done.out.split())
    drawn = (out / "for_calibration.txt").read_text().split()
    chosen = (out / "for_training.txt").read_text().split()
    assert (len(drawn), len(chosen)) == (3, 2)
    assert set(drawn) | set(chosen) <= set(data.ids[6:])
    assert not set(drawn) & set(chosen)
    # The draw is the same without the maps.
    run("plan", "--unlabelled", everything, "--calibrate-on", 6, "--out", data.root / "again")
    assert (data.root / "again" / "for_calibration.txt").exists()
    assert not (data.root / "again" / "for_training.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--unlabelled", "x"), "--unlabelled goes with --calibrate-on or --train-on"),
        (("--calibrate-on", "3"), "--unlabelled goes with"),
        (("--unlabelled", "x", "--train-on", "3", "--out", "o"), "--train-on chooses by the maps"),
        (("--unlabelled", "x", "--calibrate-on", "3"), "--out is where the lists"),
        (("--ids", "x"), "--labels and --ids go together"),
        (("--ids", "x", "--labels", "y"), "pass --maps"),
        (("--epsilon", "2"), "epsilon must be a number"),
        (("--alpha", "0"), "alpha must be a number"),
    ],
)
def test_bad_usage(run, arguments, message):
    done = run("plan", *arguments)
    assert done.code == 2
    assert message in done.err
