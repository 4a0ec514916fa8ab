"""A run that is in order, what is printed of it, and how the command is used."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml
from patient import Patient

from conformal_plugin.doctor import all_checks

STANDIN = Path(__file__).parents[2] / "adapters" / "standin"


def test_a_run_that_is_in_order(patient, run) -> None:
    seen = patient.examine(run)
    assert seen.code == 0
    assert seen.err == ""
    bad = [f for f in seen.findings if f["level"] in ("warning", "error")]
    assert bad == []
    unknown = {f["check"] for f in seen.findings if f["level"] == "not made"}
    assert unknown == {
        "calibrated on no unlabelled photo",
        "unlabelled maps look like the labelled ones",
    }
    texts = " / ".join(f["text"] for f in seen.findings)
    for expected in (
        "nclass is 4",
        "stage I is epochs 0 to 5, stage II epochs 6 to 7",
        "unimatch.py is patched (UniMatch)",
        "the labelled list has 10 photos",
        "no photo is on both lists",
        "all 12 unlabelled photos are there",
        "the labelled masks hold classes 0 ... 3 and 255 alone",
        "every unlabelled photo has a pseudo-label",
        "labels made at alpha 0.2, rule foreground-first, dropped pixels 255",
        "the labels were made with this calibration",
        "On average over calibration sets about 80 %",
        "(heuristic, per pixel, pixel-marginal)",
        "the calibration counted as many images as the labelled list has, 10",
    ):
        assert expected in texts


def test_every_check_has_its_name_and_runs(patient, run) -> None:
    names = [one.__name__.replace("_", " ") for one in all_checks()]
    assert len(names) == len(set(names)) >= 20
    assert all(one.__doc__ for one in all_checks())
    quiet = {"numbers that yaml takes for text", "ignore index is no class"}
    quiet |= {"traps in the scripts", "labelled and unlabelled are alike"}
    quiet |= {"masks that are read as brightness"}
    assert {f["check"] for f in patient.examine(run).findings} == set(names) - quiet


def test_the_printed_report(patient, run) -> None:
    patient.configure(nclass=3)
    done = run("doctor", patient.host, "--config", patient.config)
    assert done.code == 2
    assert done.out.index("ok (") < done.out.index("not made (") < done.out.index("error (")
    assert "  - the calibration has 4 classes and the config nclass 3\n    -> " in done.out
    assert "  - --labeled-id-path was not given: labelled list, lists do not overlap" in done.out
    assert "  - --unlabeled-id-path was not given: unlabelled list" in done.out
    assert done.err == (
        "conformal-plugin doctor: errors: 1, warnings: 0; repair the errors before this run "
        "starts\n"
    )
    quiet = run("doctor", patient.host, "--config", patient.config, "--quiet")
    assert quiet.out.startswith("error (1)\n")


def test_nothing_is_written_or_imported(patient, run) -> None:
    before = {p: p.stat().st_mtime_ns for p in patient.host.parent.rglob("*")}
    modules = set(sys.modules)
    patient.examine(run)
    assert {p: p.stat().st_mtime_ns for p in patient.host.parent.rglob("*")} == before
    assert not {"dataset", "dataset.semi", "unimatch"} & (set(sys.modules) - modules)


def test_lists_are_found_as_the_host_finds_them(patient, run, monkeypatch) -> None:
    """From the shell's folder as typed, or from the folder that the script starts in."""
    monkeypatch.chdir(patient.host.parents[1])
    shutil.copy(patient.labelled, patient.host / "splits.txt")
    patient.labelled = Path("splits.txt")
    assert patient.examine(run).code == 0


def test_a_sample_says_so_and_is_the_same_every_time(patient, run) -> None:
    first = patient.examine(run, "--sample", 5).findings
    assert patient.examine(run, "--sample", 5).findings == first
    texts = " / ".join(f["text"] for f in first)
    assert "the labelled masks can be read (5 of 10)" in texts
    assert "(pseudo-labels: 5 of 12)" in texts
    assert "all 12 unlabelled photos are there" in texts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere", "--config", "c"], "is not a folder"), ([".", "--config", "c", "--sample", "0"],
     "--sample must be")],
)  # fmt: skip
def test_bad_usage(tmp_path, monkeypatch, run, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("doctor", *arguments)
    assert done.code == 2
    assert message in done.err


@pytest.mark.real
def test_real_photos(voc, tmp_path, run) -> None:
    """The labelled photos of voc-animals, and conformal labels of 40 unlabelled ones."""
    host = tmp_path / "host"
    host.mkdir()
    shutil.copy(STANDIN / "unimatch" / "unimatch.py", host)
    assert run("patch", host, "--apply").code == 0
    lists = {}
    for name, count in (("labeled_92", 92), ("unlabeled_345", 40)):
        ids = (voc / "splits" / f"{name}.txt").read_text().split()[:count]
        lines = [f"images/{i}.jpg labels/{i}.png" for i in ids]
        lists[name] = tmp_path / f"{name}.txt"
        lists[name].write_text("\n".join(lines) + "\n")
    maps = ("--maps", voc / "probs", "--quiet")
    calibrated = run(
        "calibrate", *maps, "--labels", voc / "labels", "--ids", lists["labeled_92"],
        "--alpha", 0.2, "-o", tmp_path / "calibration.json",
    )  # fmt: skip
    assert calibrated.code == 0
    filtered = run(
        "filter", *maps, "--ids", lists["unlabeled_345"], "--out", tmp_path / "pseudo",
        "--calibration", tmp_path / "calibration.json",
    )  # fmt: skip
    assert filtered.code == 0
    cfg = {"dataset": "pascal", "nclass": 21, "epochs": 80, "data_root": str(voc)}
    cfg["conformal"] = {"pseudo_labels": "../pseudo", "calibration": "../calibration.json"}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(cfg))
    patient = Patient(host, voc, tmp_path / "c.yaml", *lists.values())
    seen = patient.examine(run)
    assert seen.code == 0
    assert [f["check"] for f in seen.findings if f["level"] == "warning"] == [
        "classes that are kept"
    ]
    (kept,) = [f["text"] for f in seen.findings if f["check"] == "pixels that are kept"]
    assert 70 < float(kept.split()[0]) < 90
