"""``conformal-plugin choose``: the library's proposal, in words, as JSON and as a calibration."""

from __future__ import annotations

import json
import shlex

import numpy as np

from conformal_plugin import Calibration, choose
from conformal_plugin.files import label_files, map_files


def arguments(data, *more):
    return ["choose", "--maps", data.maps, "--labels", data.labels, "--ids", data.list, *more]


def test_it_gives_what_the_library_gives(data, run, tmp_path):
    out, calibration = tmp_path / "choice.json", tmp_path / "calibration.json"
    done = run(
        *arguments(data, "--classes", 0, 2, "--want-kept", 0.5, "--json"),
        *("-o", out, "--calibration-out", calibration),
    )
    assert done.code == 0, done.err
    expected = choose(
        map_files(data.maps, data.ids),
        label_files(data.labels, data.ids),
        classes=[0, 2],
        want_kept=0.5,
    )
    assert json.loads(done.out) == json.loads(expected.to_json())
    assert out.read_text() == expected.to_json()
    assert Calibration.load(calibration) == expected.calibration


HEADINGS = ["tells", "mIoU", "precision", "kept", "recall"]


def test_the_table_and_the_next_command(data, run):
    grid = ("--alpha", 0.1, 0.3, "--class-alpha", "--rule", "most-probable", "--folds", 4)
    done = run(*arguments(data, *grid))
    lines = done.out.splitlines()
    assert lines[0].startswith("12 images, 4 folds")
    start = next(i for i, line in enumerate(lines) if line.startswith("rule "))
    names = [line.split()[0] for line in lines[start + 1 : start + 5]]
    assert names == ["most-probable", "most-probable", "raw", "class"]
    assert done.out.count("<- proposed") == 1
    assert "Proposed: " in done.out
    assert lines[start].split() == ["rule", "alpha", "q-hat", *HEADINGS]
    options = {"alphas": (0.1, 0.3), "class_alphas": (), "rules": ("most-probable",), "folds": 4}
    expected = choose(map_files(data.maps, data.ids), label_files(data.labels, data.ids), **options)
    shares = [f"{100 * c.recall:.1f} ± {100 * c.recall_se:>4.1f}" for c in expected.candidates]
    end = start + 1 + len(shares)
    for recall, line in zip(shares, lines[start + 1 : end]):
        assert line.removesuffix("  <- proposed").endswith(f" {recall}")
    assert lines[end].endswith(f" {100 * expected.constant.recall:.1f}")


def test_a_wanted_recall(data, run):
    done = run(*arguments(data, "--want-recall", 0.5, "--json"))
    images = map_files(data.maps, data.ids), label_files(data.labels, data.ids)
    assert json.loads(done.out) == json.loads(choose(*images, want_recall=0.5).to_json())
    assert json.loads(done.out)["want_recall"] == 0.5


def test_without_an_object_the_table_has_a_dash(data, run):
    done = run(*arguments(data, "--alpha", 0.3, "--rule", "most-probable", "--classes", 0))
    row, _, constant = done.out.partition("\nrule ")[2].splitlines()[1:4]
    assert row.removesuffix("  <- proposed").endswith(" -")
    assert constant.endswith("    -")
    done = run(*arguments(data, "--classes", 0, "--want-recall", 0.5))
    assert done.code == 2
    assert "no labelled pixel is of a class of [0] other than the background 0" in done.err


def test_the_next_command_works(data, run, tmp_path):
    calibration = tmp_path / "calibration.json"
    done = run(*arguments(data, "--want-kept", 0.5, "--calibration-out", calibration))
    assert calibration.exists()
    assert "--rule" not in done.out  # the calibration remembers it
    command = done.out.splitlines()[-1].partition("conformal-plugin ")[2]
    command = command.replace("UNLABELLED", str(data.list)).replace("DIR", str(tmp_path / "out"))
    assert run(*shlex.split(command)).code == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 12


def test_without_a_calibration_file_the_next_command_names_threshold_and_rule(data, run, tmp_path):
    done = run(*arguments(data, "--want-kept", 0.5))
    command = done.out.splitlines()[-1].partition("conformal-plugin ")[2]
    assert " --rule " in command
    command = command.replace("UNLABELLED", str(data.list)).replace("DIR", str(tmp_path / "out"))
    assert run(*shlex.split(command)).code == 0


def test_an_annotator_not_worth_using(data, run, tmp_path):
    rng = np.random.default_rng(0)
    for name in data.ids:
        np.savez(data.maps / f"{name}.npz", probs=rng.random((4, 6, 5)).astype(np.float16))
    calibration = tmp_path / "calibration.json"
    done = run(*arguments(data, "--calibration-out", calibration))
    assert done.code == 0
    assert "warning: This annotator is not worth using" in done.err
    assert "is not written" in done.err
    assert not calibration.exists()
    assert "Labels:" not in done.out


def test_bad_usage(data, run, tmp_path):
    done = run(*arguments(data, "--want-precision", 0.9, "--want-kept", 0.9))
    assert done.code == 2
    assert "not allowed with argument" in done.err
    done = run(*arguments(data, "--want-recall", 0.9, "--want-kept", 0.9))
    assert done.code == 2
    assert "not allowed with argument" in done.err
    done = run(*arguments(data, "--want-kept", 90))
    assert done.code == 2
    assert "share in (0, 1]" in done.err
    done = run(*arguments(data, "-o", tmp_path))
    assert done.code == 2
    assert "is a folder" in done.err


def test_a_wrong_class_is_refused_before_anything_is_counted(data, run):
    names = sorted(data.maps.iterdir())
    names[-1].write_bytes(b"not read")
    done = run(*arguments(data, "--classes", 0, 4))
    assert done.code == 2
    assert f"--classes must be indices in 0 ... 3, as {names[0]} has 4 classes" in done.err
    assert "got [0, 4]" in done.err


def test_help_has_examples(run):
    done = run("choose", "--help")
    assert done.code == 0
    assert "--want-precision 0.95" in done.out
    assert "--want-recall 0.8" in done.out
