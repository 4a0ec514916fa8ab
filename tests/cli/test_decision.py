"""``calibrate`` where nothing is asked for: what the labelled images support, or a refusal."""

from __future__ import annotations

import json

import numpy as np
import pytest

from conformal_plugin import Calibration, calibrate, choose, filter
from conformal_plugin.choosing import MIN_IMAGES
from conformal_plugin.files import MapReader, label_files, map_files, read_label, write_label


@pytest.fixture
def command(data, run):
    """Runs ``calibrate`` on the data with more options; gives what it said and the file."""

    def call(*more):
        return run(
            *("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list),
            *("-o", data.root / "c.json", *more),
        )

    return call


def pairs(data):
    return map_files(data.maps, data.ids), label_files(data.labels, data.ids)


def test_it_takes_what_choose_proposes(data, run, command):
    done = command()
    assert done.code == 0, done.err
    expected = choose(*pairs(data))
    found = Calibration.load(data.root / "c.json")
    assert found == expected.calibration
    assert found.rule == expected.rule
    assert expected.verdict in done.out
    out = data.root / "pseudo"
    filtering = ("filter", "--maps", data.maps, "--ids", data.list, "--out", out)
    assert run(*filtering, "--calibration", data.root / "c.json").code == 0
    made = read_label(out / f"{data.ids[0]}.png")
    np.testing.assert_array_equal(made, filter(pairs(data)[0][0], found))  # the rule is recorded


def test_what_choosing_has_read_is_not_counted_again(command, data, monkeypatch):
    read = []
    whole = MapReader.__call__
    monkeypatch.setattr(MapReader, "__call__", lambda self, p: read.append(p) or whole(self, p))
    monkeypatch.setattr(MapReader, "in_parts", MapReader.__call__)
    assert command().code == 0
    made = (data.root / "c.json").read_text()
    assert len(read) == 3 * len(data.ids)  # for thresholds, for the labels at these, for remarks
    decided = json.loads(made)
    assert command("--alpha", decided["alpha"], "--rule", decided["rule"]).code == 0
    counted = json.loads((data.root / "c.json").read_text())
    assert counted["read"] == decided["read"]
    assert counted["qhat"] == decided["qhat"]


def test_changed_scores_under_the_same_ids_are_said(command, data):
    assert command().code == 0
    name = data.ids[0]
    scores = np.load(data.maps / f"{name}.npz")["probs"]
    np.savez(data.maps / f"{name}.npz", probs=scores[:, ::-1])
    assert "made of the same ids with other scores or labels" in command().err


def test_json_holds_the_decision(command, data):
    content = json.loads(command("--json").out)
    assert content["choice"] == json.loads(choose(*pairs(data)).to_json())
    assert content["calibrations"][0]["rule"] == content["choice"]["proposed"]["rule"]


def test_thresholds_per_class_are_those_of_the_choice(command, data):
    """Scores of two classes that sum to one: the cut that tells most is no pooled threshold."""
    rng = np.random.default_rng(0)
    for name in data.ids:
        truth = (rng.random((6, 5)) < 0.3).astype(np.uint8)
        shy = np.clip(0.35 * truth + 0.1 * rng.random((6, 5)), 0, 1)
        np.savez(data.maps / f"{name}.npz", probs=np.stack([1 - shy, shy]).astype(np.float16))
        write_label(data.labels / f"{name}.png", truth)
    assert command().code == 0
    found = Calibration.load(data.root / "c.json")
    choice = choose(*pairs(data))
    assert choice.proposed.thresholds == "class-conditional"
    assert np.ndim(found.qhat) == 1
    assert found == choice.calibration
    assert len(data.ids) > MIN_IMAGES


def test_an_annotator_not_worth_using_gets_no_calibration(command, data):
    rng = np.random.default_rng(1)
    for name in data.ids:
        np.savez(data.maps / f"{name}.npz", probs=rng.random((4, 6, 5)).astype(np.float16))
    done = command()
    assert done.code == 2
    assert "This annotator is not worth using" in done.err
    assert "--preset paper" in done.err
    assert not (data.root / "c.json").exists()
    assert command("--preset", "paper").code == 0


def test_own_maps_can_speak_against_the_annotator(command, data):
    own = data.root / "own"
    own.mkdir()
    for name in data.ids:
        truth = read_label(data.labels / f"{name}.png")
        right = truth[None] == np.arange(4)[:, None, None]
        np.savez(own / f"{name}.npz", probs=right.astype(np.float16))
    assert command().code == 0
    done = command("--own-maps", own)
    assert done.code == 2
    assert "not worth using here" in done.err


def test_the_papers_preset(command, data):
    done = command("--preset", "paper")
    found = Calibration.load(data.root / "c.json")
    assert found.qhat == calibrate(*pairs(data), 0.05).qhat
    assert (found.alpha, found.rule, found.background) == (0.05, "foreground-first", 0)
    assert "rule foreground-first" in done.out


def test_a_rule_of_ones_own_is_recorded_and_held_to(command, data, run):
    assert command("--rule", "most-probable", "--background", "none").code == 0
    found = Calibration.load(data.root / "c.json")
    assert (found.alpha, found.rule, found.background) == (0.05, "most-probable", None)
    done = run(
        *("filter", "--maps", data.maps, "--calibration", data.root / "c.json"),
        *("--rule", "singleton", "--out", data.root / "out"),
    )
    assert done.code == 2
    assert "the calibration is for rule='most-probable'" in done.err


def test_a_calibration_without_a_background_labels(command, data, run):
    assert command("--rule", "most-probable", "--background", "none").code == 0
    maps, calibration = pairs(data)[0], Calibration.load(data.root / "c.json")
    rest = ("--maps", data.maps, "--calibration", data.root / "c.json")
    done = run("filter", *rest, "--out", data.root / "out")
    assert done.code == 0, done.err
    made = read_label(data.root / "out" / f"{data.ids[0]}.png")
    np.testing.assert_array_equal(made, filter(maps[0], calibration))
    assert run("evaluate", *rest, "--labels", data.labels, "--ids", data.list).code == 0


def test_without_a_rule_an_alpha_leaves_it_open(command, data):
    assert command("--alpha", 0.1).code == 0
    assert Calibration.load(data.root / "c.json") == calibrate(*pairs(data), 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "paper", "--alpha", 0.1), "--preset paper decides what --alpha is about"),
        (("--alpha", 0.1, "--classes", 1), "--classes is for choosing among all ways"),
        (("--preset", "paper", "--own-maps", "x"), "--own-maps is for choosing among all ways"),
        (
            ("--rule", "foreground-first", "--background", "none"),
            "needs a background class, and --background is none",
        ),
        (("--background", "sky"), "a class index or none, got 'sky'"),
    ],
)
def test_options_that_contradict_each_other(command, options, message):
    done = command(*options)
    assert done.code == 2
    assert message in done.err


def test_a_threshold_that_changes_nothing_is_said(command, data):
    done = command("--alpha", 0.003, "--rule", "most-probable")
    assert "warning: at alpha 0.003: The threshold changes nothing: 100.00 %" in done.err
