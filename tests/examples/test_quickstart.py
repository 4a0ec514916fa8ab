"""The whole ablation at a tiny size: table, pictures, resuming, and its refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import ablation
import embedded
import numpy as np
import pytest
import quickstart
from material import Annotation
from pictures import painted
from PIL import Image

ROWS = [row.key for row in ablation.ROWS]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    make = embedded.make_material
    monkeypatch.setattr(
        embedded,
        "make_material",
        lambda: make(labelled=6, unlabelled=8, test=6, annotator_steps=25),
    )


@pytest.mark.usefixtures("tiny")
def test_the_embedded_default_from_start_to_finish_and_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--steps", "4", "--seeds", "2", "--out", str(tmp_path)]
    assert quickstart.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Proposed: " in printed
    assert "what calibrate_precision gives" in printed
    for row in ablation.ROWS:
        assert row.title in printed
    assert " ± " in printed
    report = json.loads((tmp_path / "results.json").read_text())
    rows = report["forms"]["seem-like"]["rows"]
    assert [row["row"] for row in rows] == ROWS
    assert all(len(row["miou"]) == 2 for row in rows)
    assert rows[0]["labels"] is None
    assert rows[-1]["labels"]["precision"] == 1
    with Image.open(tmp_path / "labels-seem-like.png") as picture:
        assert picture.width > 4 * 200
        assert len(picture.getcolors(1 << 24)) > 50
    assert not list((tmp_path / "trained").glob("*.pt"))
    assert not list(tmp_path.rglob("*.tmp"))

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "trained").iterdir()}
    assert quickstart.main(arguments) == 0
    printed_again = capsys.readouterr().out
    assert "\n0 trainings" in printed_again
    assert (
        printed_again.split("| ---")[1].rsplit("|", 1)[0]
        == (printed.split("| ---")[1].rsplit("|", 1)[0])
    )
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "trained").iterdir()}


@pytest.mark.usefixtures("tiny")
def test_a_stopped_run_trains_only_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--steps", "4", "--seeds", "1", "--workers", "1", "--out", str(tmp_path)]
    arguments += ["--alpha", "0.1"]
    assert quickstart.main(arguments) == 0
    assert "The set then holds the true class at 90% of pixels" in capsys.readouterr().out
    report = json.loads((tmp_path / "results.json").read_text())
    rows = {row["row"]: row for row in report["forms"]["seem-like"]["rows"]}
    lost = tmp_path / "trained" / f"{rows['self-reliant']['trainings'][0]}.json"
    before = json.loads(lost.read_text())
    lost.unlink()
    assert quickstart.main(arguments) == 0
    assert "\n1 trainings" in capsys.readouterr().out
    after = json.loads(lost.read_text())
    assert before["confusion"] == after["confusion"]


@pytest.mark.real
def test_real_photos_from_start_to_finish(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(voc), "--student", "small", "--steps", "4", "--limit", "8"]
    assert quickstart.main([*arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "student core mIoU" in printed
    forms = json.loads((tmp_path / "results.json").read_text())["forms"]
    assert set(forms) == {"normalised", "seem-like"}
    trainings = {
        form: {row["row"]: row["trainings"] for row in content["rows"]}
        for form, content in forms.items()
    }
    # Rows that no score enters are trained once for both forms; the others are not.
    for row in ("labels-only", "ceiling"):
        assert trainings["normalised"][row] == trainings["seem-like"][row]
    assert trainings["normalised"]["raw"] != trainings["seem-like"]["raw"]
    assert (tmp_path / "labels-normalised.png").is_file()


@pytest.mark.usefixtures("tiny")
def test_an_uninformative_threshold_ends_the_run_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quickstart.main(["--alpha", "0.00001", "--out", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "\nquickstart: " in message
    assert "alpha" in message


def test_an_annotator_that_tells_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    material = embedded.make_material(labelled=6, unlabelled=6, test=6, annotator_steps=1)
    noise = np.random.default_rng(0).random((6, 6, 64, 64), dtype=np.float32)
    annotations = {"seem-like": Annotation(list(noise), list(noise))}
    noisy = replace(material, annotations=annotations)
    monkeypatch.setattr(embedded, "make_material", lambda: noisy)
    assert quickstart.main(["--out", str(tmp_path)]) == 1
    assert "Try --alpha 0.05" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", "1.5"], "--alpha must be above 0 and below 1, got 1.5"),
        (["--scores", "both"], "--scores is for real photos; add --data DIR"),
        (["--student", "small"], "--student is for real photos"),
        (["--data", "nowhere"], "--data nowhere: no such folder"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--steps", "2"], "--steps must be at least 4, got 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        quickstart.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_laid_out_otherwise_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quickstart.main(["--data", str(tmp_path), "--student", "small"]) == 1
    assert (
        "expected one id list labelled.txt or splits/labeled_<number>.txt"
        in capsys.readouterr().err
    )


def test_ignored_pixels_are_striped() -> None:
    palette = np.array([[0, 0, 0], [200, 0, 0]], np.uint8)
    labels = np.zeros((12, 12), np.uint8)
    labels[:, 6:] = 255
    colours = painted(labels, palette)
    assert (colours[:, :6] == 0).all()
    assert len(np.unique(colours[:, 6:].reshape(-1, 3), axis=0)) == 2
