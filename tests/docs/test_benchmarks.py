"""The benchmarks that the docs quote still run, at a size that says nothing but that they do."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conformal_plugin.annotators import class_list
from conformal_plugin.files import voc_palette
from conformal_plugin.scores import compiled

ROOT = Path(__file__).resolve().parent.parent.parent
FIGURE = ROOT / "benchmarks" / "background_figure.py"
SMALL = {
    "annotate_options.py": [
        *("--tiny", "--models", "segformer", "--rounds", "1"),
        *("--ways", "four together", "four, bfloat16"),
    ],
    "annotate_time.py": ["--tiny", "--photos", "2", "--batch", "1"],
    "betting_failures.py": ["--runs", "2000"],
    "coverage_simulation.py": ["--repeats", "2", "--images", "9", "--pixels", "50"],
    "false_alarms.py": ["--runs", "4"],
    "groups.py": ["--repeats", "2"],
    "loss_kinds.py": [],
    "many_classes.py": ["--repeats", "1"],
    "speed.py": [
        *("--images", "1", "--height", "24", "--width", "24", "--rounds", "1"),
        *("--cases", "filter, float16", "calibrate, float32"),
    ],
    "speed_compiled.py": ["--images", "1", "--height", "256", "--width", "256", "--rounds", "1"],
}

NEEDED = {
    "annotate_options.py": ["transformers"],
    "annotate_time.py": ["transformers"],
    "speed_compiled.py": ["numba"],
}

RunScript = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("script", SMALL)
def test_they_run(
    script: str,
    run_script: RunScript,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for package in NEEDED.get(script, ()):
        pytest.importorskip(package)
    # speed_compiled.py sets it, and it is put back afterwards.
    monkeypatch.setattr(compiled, "_LEFT_TO_NUMPY", compiled._LEFT_TO_NUMPY)
    run_script(ROOT / "benchmarks" / script, *SMALL[script])
    assert len(re.findall(r"\d\.\d{2}", capsys.readouterr().out)) > 5


def test_alarms_of_groups_have_a_row_each(
    run_script: RunScript, capsys: pytest.CaptureFixture[str]
) -> None:
    script = run_script(ROOT / "benchmarks" / "false_alarms_grouped.py", "--runs", "4")
    rows = re.findall(
        r"^\| (assert_\w+) \| .* \| \d \| \d \| \d \| \d+ \|$", capsys.readouterr().out, re.M
    )
    assert rows == [name for name, _, _ in script["HONEST"]]
    assert len(set(rows)) == 7


def test_strips_give_the_same_scores(
    run_script: RunScript, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    threads = torch.get_num_threads()
    try:
        script = ROOT / "benchmarks" / "class_shares.py"
        run_script(script, "--tiny", "--models", "segformer", "--rounds", "1")
    finally:
        torch.set_num_threads(threads)
    row = re.search(r"segformer \| \d\.\d\d \| \d\.\d\d \| (\S+) \|", capsys.readouterr().out)
    assert row is not None
    assert float(row[1]) < 1e-5


def test_loss_classes_of_libraries_that_are_missing(
    run_script: RunScript, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("segmentation_models_pytorch", "monai", "mmseg"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, f"{name}.losses", raising=False)
    run_script(ROOT / "benchmarks" / "loss_classes.py")
    smp, monai, mmseg, entropy, *others = capsys.readouterr().out.splitlines()
    assert "smp is not here" in smp
    assert "monai is not here" in monai
    assert "mmseg is not here" in mmseg
    cut, _, found = re.findall(r"\d\.\d{6}", entropy)
    assert cut == found
    assert all("OptionError" in line for line in others)


def test_the_background_figure_has_a_row_a_photo(
    run_script: RunScript, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_script(FIGURE, "--steps", "2", "--out", tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.size == (5 * 160 + 6 * 6, 18 + 3 * 160 + 4 * 6)
    assert len(re.findall(r"\d\.\d % right", capsys.readouterr().out)) == 9


def test_the_background_figure_of_one_photo(
    run_script: RunScript, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What is printed of each rule is what its column shows."""
    pytest.importorskip("efficientnet_lite_pytorch")
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for folder in ("images", "labels", "splits"):
        (data / folder).mkdir(parents=True)
    for split, names in {"labeled": "ab", "unlabeled": "cd", "test": "e"}.items():
        (data / "splits" / f"{split}_{len(names)}.txt").write_text("\n".join(names))
        for name in names:
            pixels = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(data / "images" / f"{name}.jpg")
            Image.fromarray(pixels[..., 0] // 16).save(data / "labels" / f"{name}.png")
    photo, out = tmp_path / "photo.png", tmp_path / "f.png"
    Image.fromarray(rng.integers(0, 256, (120, 240, 3), dtype=np.uint8)).save(photo)
    run_script(FIGURE, "--data", data, "--photo", photo, "--out", out, "--steps", "1")
    lines = capsys.readouterr().out.splitlines()
    with Image.open(out) as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert shown.shape[1] == 4 * 240 + 5 * 6
    palette = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    names = class_list("voc").class_names
    for column, (rule, line) in enumerate(zip(("prompt", "complement", "none"), lines), start=1):
        left = 6 + column * 246
        tile = shown[24:144, left : left + 240]
        assert line.startswith(f"{rule}: ")
        shares = dict(re.findall(r"(\w+) ([\d.]+) %", line))
        assert shares
        for name, share in shares.items():
            there = (tile == palette[names.index(name)]).all(axis=2).mean()
            assert float(share) == pytest.approx(100 * there, abs=0.06), (rule, name)


def test_the_background_rules_of_the_figure(run_script: RunScript) -> None:
    """Left of the middle background wins, right of it a cat with less than one half."""
    figure = run_script(FIGURE, run_name="figure")
    scores = torch.zeros(21, 1, 4)
    scores[0] = torch.tensor([0.7, 0.6, 0.3, 0.0])
    scores[8] = torch.tensor([0.3, 0.4, 0.4, 1.0])
    scores[12] = 1 - scores[0] - scores[8]
    under = {rule: labels.tolist() for rule, labels in figure["labels_under"](scores).items()}
    assert under == {
        "prompt": [[0, 0, 8, 8]],
        "complement": [[0, 0, 0, 8]],
        "none": [[8, 8, 8, 8]],
    }


def test_pages_name_benchmarks_that_exist() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    named = {n for p in pages for n in re.findall(r"benchmarks/(\w+\.py)", p.read_text("utf-8"))}
    assert named
    for name in named:
        assert (ROOT / "benchmarks" / name).exists(), name
