"""``review``: the order of photos, what is written, and that a killed run reads nothing twice."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from conformal_plugin import Calibration
from conformal_plugin.files import map_files
from conformal_plugin.review import photo_figures, ranked

KILLED = """
import os, signal, sys
from conformal_plugin.cli import _review_command, main
figures, calls = _review_command.photo_figures, []
def dying(*arguments, **options):
    calls.append(1)
    if len(calls) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return figures(*arguments, **options)
_review_command.photo_figures = dying
main(sys.argv[1:])
"""


@pytest.fixture
def arguments(data, calibrated):
    """A review of all images."""
    out = data.root / "review"
    images = ["--maps", data.maps, "--ids", data.list, "--calibration", calibrated]
    return ["review", *images, "--out", out]


@pytest.fixture
def reads(monkeypatch):
    """The figures that are made from now on."""
    from conformal_plugin.cli import _review_command

    seen = []

    def reading(*arguments, **options):
        seen.append(1)
        return photo_figures(*arguments, **options)

    monkeypatch.setattr(_review_command, "photo_figures", reading)
    return seen


def test_it_ranks_as_the_library_does(data, run, arguments, calibrated):
    done = run(*arguments)
    assert done.code == 0, done.err
    assert "The order is a heuristic" in done.out
    assert "train on them, never calibrate or test on them" in " ".join(done.out.split())
    calibration = Calibration.load(calibrated)
    figures = {
        name: photo_figures(scores, calibration)
        for name, scores in zip(data.ids, map_files(data.maps, data.ids))
    }
    expected = ranked(figures, calibration.pixels_per_class)
    with (data.root / "review" / "review.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [one.name for one in expected]
    content = json.loads((data.root / "review" / "review.json").read_text())
    assert content["heuristic"] is True
    for row, listed, one in zip(rows, content["photos"], expected):
        assert float(row["score"]) == listed["score"] == pytest.approx(one.score, abs=1e-6)
        assert float(row["lost"]) == pytest.approx(one.figures.lost, abs=1e-6)
        assert row["why"] == one.why
        assert (listed["excess"] is None) == (one.excess is None) == (row["excess"] == "")


def test_the_draw_comes_before_the_choice(data, run, arguments):
    done = run(*arguments, "--first", 3, "--calibrate-on", 4)
    assert done.code == 0, done.err
    assert "drawn at random (seed 0) before any was ranked" in done.out
    assert "never calibrate or test on them" in done.out
    out = data.root / "review"
    drawn = (out / "for_calibration.txt").read_text().split()
    chosen = (out / "for_training.txt").read_text().split()
    assert (len(drawn), len(chosen)) == (4, 3)
    assert not set(drawn) & set(chosen)
    with (out / "review.csv").open() as file:
        order = [row["id"] for row in csv.DictReader(file)]
    assert chosen == [name for name in order if name not in drawn][:3]
    planned = data.root / "planned"
    run("plan", "--unlabelled", data.list, "--calibrate-on", 4, "--out", planned)
    assert (planned / "for_calibration.txt").read_text().split() == drawn
    content = json.loads(run(*arguments, "--by", "lost", "--json").out)
    assert content["by"] == "lost"
    assert content["for_training"] == []
    assert len(content["photos"]) == 10
    assert not (out / "for_training.txt").exists()


def test_a_second_run_reads_what_changed_alone(data, run, arguments, reads, calibrated):
    assert run(*arguments).code == 0
    assert len(reads) == 12
    first = (data.root / "review" / "review.csv").read_bytes()
    assert run(*arguments).code == 0
    assert len(reads) == 12
    assert (data.root / "review" / "review.csv").read_bytes() == first
    scores = np.full((4, 6, 5), 0.25, np.float16)
    np.savez(data.maps / "im0003.npz", probs=scores)
    assert run(*arguments).code == 0
    assert len(reads) == 13
    assert run(*arguments, "--rule", "singleton").code == 0
    assert len(reads) == 25


def test_a_killed_run_goes_on(data, run, arguments, reads):
    if os.name == "nt":
        pytest.skip("there is no SIGKILL on Windows")
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (data.root / "review" / "review.csv").exists()
    assert run(*arguments).code == 0
    assert len(reads) == 12 - 5
    after = (data.root / "review" / "review.csv").read_bytes()
    assert run(*arguments[:-1], data.root / "whole").code == 0
    assert (data.root / "whole" / "review.csv").read_bytes() == after


def test_groups_are_drawn_whole(data, run, arguments):
    done = run(*arguments, "--calibrate-on", 1, "--group-by", r"im000(\d)|im001(\d)")
    assert done.code == 0, done.err
    assert (data.root / "review" / "for_calibration.txt").read_text().split()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--first", -1), "numbers of photos, 0 or more"),
        (("--first", 10, "--calibrate-on", 3), "9 photos are left after the draw"),
        (("--calibrate-on", 13), "there are 12 unlabelled photos"),
    ],
)
def test_what_is_refused_before_any_work(run, arguments, reads, more, message):
    done = run(*arguments, *more)
    assert done.code == 2
    assert message in done.err
    assert not reads


def test_damaged_and_strange_maps(data, run, arguments):
    np.savez(data.maps / "im0001.npz", probs=np.full((3, 6, 5), 0.3, np.float16))
    done = run(*arguments)
    assert done.code == 2
    assert "the map has 3 classes and the calibration 4" in done.err
    (data.maps / "im0001.npz").write_bytes(b"no map")
    done = run(*arguments)
    assert done.code == 2
    assert "image im0001" in done.err


def test_a_list_that_would_be_replaced(data, run, arguments):
    ids = data.root / "review" / "for_training.txt"
    ids.parent.mkdir()
    ids.write_bytes(data.list.read_bytes())
    done = run(*arguments, "--ids", ids)
    assert done.code == 2
    assert "is also --ids of this run" in done.err
