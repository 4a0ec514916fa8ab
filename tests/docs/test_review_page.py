"""docs/review.md: its snippet prints what it says, and its commands go through the whole loop."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import Calibration
from conformal_plugin.cli import main
from conformal_plugin.exchange._label_studio_rle import packed
from conformal_plugin.files import read_label, write_label

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "review.md").read_text(encoding="utf-8")
SHELL = "".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
COMMANDS = [
    shlex.split(line)[1:] for line in SHELL.splitlines() if line.startswith("conformal-plugin")
]
CLASSES = ("background", "cat", "dog")


def test_its_snippet_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "review.md", "exec"), {"__name__": "page"})
    expected = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert len(expected) == 2
    assert capsys.readouterr().out.splitlines() == expected


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The files that the page begins with, in the current folder; gives the true classes."""
    rng = np.random.default_rng(0)
    truth = {}
    for folder in ("probs", "photos", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(20):
        name = f"photo{i:02d}"
        label = rng.integers(0, 3, (8, 9)).astype(np.uint8)
        scores = 0.5 * rng.dirichlet(np.ones(3), (8, 9)) + 0.5 * np.eye(3)[label]
        np.savez(
            tmp_path / "probs" / f"{name}.npz", probs=scores.transpose(2, 0, 1).astype(np.float16)
        )
        Image.new("RGB", (9, 8)).save(tmp_path / "photos" / f"{name}.jpg")
        write_label(tmp_path / "labels" / f"{name}.png", label)
        truth[name] = label
    (tmp_path / "labelled.txt").write_text("\n".join(list(truth)[:10]))
    (tmp_path / "unlabelled.txt").write_text("\n".join(list(truth)[10:]))
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    monkeypatch.chdir(tmp_path)
    begun = shlex.split(
        "calibrate --maps probs --labels labels --ids labelled.txt --alpha 0.1 -o calibration.json"
    )
    assert main(begun) == 0
    return truth


def correct(truth: dict[str, np.ndarray]) -> None:
    """What people do between export and import: they paint the truth, and say that it is done."""
    text = Path("to_cvat/annotations.xml").read_text()
    text = re.sub(r"    <mask .*\n", "", text)
    for name, label in truth.items():
        masks = "".join(
            f'<mask label="{CLASSES[c]}" left="{x}" top="{y}" width="1" height="1" rle="0,1"/>'
            for c in (1, 2)
            for y, x in np.argwhere(label == c)
        )
        done = f'{masks}<tag label="checked"/></image>'
        text = re.sub(f'(name="{name}.jpg".*?>)\\s*</image>', rf"\g<1>{done}", text)
    Path("job.zip").write_text(text)  # an archive, or the file itself
    tasks = json.loads(Path("blank/tasks.json").read_text())
    for task in tasks:
        label = truth[task["data"]["id"]]
        result = [
            {
                "type": "brushlabels",
                "original_width": 9,
                "original_height": 8,
                "value": {"rle": packed(label == c), "brushlabels": [CLASSES[c]]},
            }
            for c in (1, 2)
        ]
        task["annotations"] = [{"result": result}]
    Path("project.json").write_text(json.dumps(tasks))


def test_its_commands_go_through_the_loop(
    data: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [command[0] for command in COMMANDS] == [
        *("review", "filter", "export", "export", "import", "import", "calibrate")
    ]
    for command in COMMANDS:
        if command[0] == "import" and not Path("project.json").exists():
            correct(data)
        assert main(command) == 0, capsys.readouterr().err
    printed = " ".join(capsys.readouterr().err.split())
    assert "chosen by their scores" not in printed
    for folder in ("for_training", "for_calibration"):
        names = Path(f"corrected/{folder}.txt").read_text().split()
        assert len(names) == (3 if folder == "for_training" else 4)
        for name in names:
            np.testing.assert_array_equal(read_label(f"corrected/{name}.png"), data[name])
    assert Calibration.load("calibration_again.json").n_images == 4


def test_its_benchmark_runs(
    run_script: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for folder in ("labels", "probs", "splits"):
        (data / folder).mkdir(parents=True)
    for split, names in {"labeled_92": "abcdef", "unlabeled_345": "ghijklmnop"}.items():
        (data / "splits" / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            label = np.repeat(rng.integers(0, 3, (8, 1)), 9, axis=1).astype(np.uint8)
            scores = rng.dirichlet(np.ones(3), label.shape).transpose(2, 0, 1)
            scores = 0.5 * scores + 0.5 * (np.arange(3)[:, None, None] == label)
            write_label(data / "labels" / f"{name}.png", label)
            np.savez(data / "probs" / f"{name}.npz", probs=scores.astype(np.float16))
    run_script(ROOT / "benchmarks" / "review_ranking.py", "--data", data)
    printed = capsys.readouterr().out
    assert "the first 2 of 10 photos" in printed
    rows = re.findall(r"^\| (?:normalised|seem-like) \| [\d.]+ \|", printed, re.MULTILINE)
    assert len(rows) == 2 * 3 * 5
