"""docs/faq.md: its snippets print what they say, its commands run in a fork as it describes."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from conformal_plugin.cli import main
from conformal_plugin.files import write_label

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHELL = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
CLASSES = 4


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_snippets(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PYTHON[number], f"FAQ snippet {number}", "exec"), {"__name__": "snippet"})
    printed = capsys.readouterr().out.splitlines()
    # A comment behind a print says what it prints; those of a loop stand below it.
    expected = re.findall(r"print\(.*\)  # (.*)$", PYTHON[number], re.MULTILINE)
    expected += re.findall(r"^# (.*)$", PYTHON[number], re.MULTILINE)
    assert printed == expected


@pytest.fixture
def fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of the stand-in for UniMatch, with photos, masks and an annotator's maps."""
    fork = tmp_path / "fork"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tests" / "adapters" / "standin" / "unimatch", fork, ignore=ignored)
    rng = np.random.default_rng(1)
    (fork / "VOC" / "JPEGImages").mkdir(parents=True)
    (fork / "maps").mkdir()
    lines = []
    for i in range(18):
        truth = np.kron(rng.integers(0, CLASSES, (3, 4)), np.ones((10, 9))).astype(np.uint8)
        scores = 0.5 * rng.random((CLASSES, *truth.shape))
        scores += 0.5 * (truth == np.arange(CLASSES)[:, None, None])
        np.savez(fork / "maps" / f"p{i}.npz", probs=scores.astype(np.float16))
        photo = rng.integers(0, 256, (*truth.shape, 3), dtype=np.uint8)
        Image.fromarray(photo).save(fork / "VOC" / "JPEGImages" / f"p{i}.png")
        write_label(fork / "VOC" / "SegmentationClass" / f"p{i}.png", truth)
        lines.append(f"JPEGImages/p{i}.png SegmentationClass/p{i}.png")
    lists = fork / "splits" / "pascal" / "92"
    lists.mkdir(parents=True)
    (lists / "labeled.txt").write_text("\n".join(lines[:9]) + "\n")
    (lists / "unlabeled.txt").write_text("\n".join(lines[9:]) + "\n")
    config = {"epochs": 80, "nclass": CLASSES, "data_root": "VOC", "crop_size": 32}
    config["conformal"] = {"pseudo_labels": "VOC/pseudo_labels", "stage1_epochs": 60}
    (fork / "configs").mkdir()
    (fork / "configs" / "pascal.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(fork)
    return fork


def test_commands(fork: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [
        shlex.split(line)[1:] for block in SHELL for line in block.replace("\\\n", " ").splitlines()
    ]
    assert [c[0] for c in commands] == ["filter", "patch", "doctor", "evaluate", "calibrate"]
    for command in commands:
        assert main(command) == 0, (command, capsys.readouterr().err)
    listed = (fork / "splits/pascal/92/unlabeled_conformal.txt").read_text().splitlines()
    assert [line.split(" ")[1] for line in listed] == [
        f"pseudo_labels/p{i}.png" for i in range(9, 18)
    ]
    assert "kept" in capsys.readouterr().out
    # A mask of 0 and 255, as the page warns: the doctor sees it before a GPU would.
    path = fork / "VOC" / "SegmentationClass" / "p0.png"
    write_label(path, np.full((30, 36), 9, np.uint8))
    assert main(commands[2]) == 2
    assert "9" in capsys.readouterr().out


def test_every_thread_is_named_by_its_repository() -> None:
    """Each answer says whose question it is, in one line below the heading."""
    answers = re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
    assert len(answers) >= 12
    for answer in answers:
        assert re.match(r"[^\n]+\n\n\*[^*]+\*\n\n", answer), answer.splitlines()[0]
    assert len(re.findall(r"#\d+", PAGE)) >= 30
