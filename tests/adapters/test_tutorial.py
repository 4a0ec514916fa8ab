"""docs/tutorial.md from the first command to the last, on generated photos and a stand-in host."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lite_stand_in import lite_stand_in
from PIL import Image

from conformal_plugin.cli import main
from conformal_plugin.files import write_label
from conformal_plugin.rehearsing import _probe

CLASSES = ("background", "red", "green", "blue")
COLOURS = np.array([[110, 110, 110], [190, 80, 80], [80, 190, 80], [80, 80, 190]])
STANDIN = Path(__file__).parent / "standin"
OWN_MODULES = ("annotator", "network", "student", "model")

NETWORK = '''
"""Classes by the nearest colour, which noise and shadow mislead."""

from torch import nn


class Network(nn.Conv2d):
    def __init__(self, classes):
        super().__init__(3, classes, 1)
'''

STUDENT = '''
"""The stand-in's network under the name of UniMatch's, which takes normalised photos."""

import torch
from standin_run import Network


class DeepLabV3Plus(Network):
    def forward(self, x):
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return super().forward(x * std[:, None, None] + mean[:, None, None])
'''


@pytest.fixture
def page(root: Path) -> list[tuple[str, str]]:
    """The page's blocks in order: what follows the fence, and the content."""
    text = (root / "docs" / "tutorial.md").read_text(encoding="utf-8")
    return re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", text, re.M | re.S)


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A photo with two coloured patches under uneven light and noise, and its true classes."""
    height, width = rng.integers(34, 48, 2)
    truth = np.zeros((height, width), np.uint8)
    for kind in rng.permutation([1, 2, 3])[:2]:
        top, left = rng.integers(0, 20, 2)
        truth[top : top + 16, left : left + 16] = kind
    light = np.linspace(*rng.uniform(0.8, 1.2, 2), width)[:, None]
    photo = COLOURS[truth] * light + rng.normal(0, 20, (height, width, 3))
    return np.clip(photo, 0, 255).astype(np.uint8), truth


@pytest.fixture
def fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The clone as the page takes it for granted."""
    fork = tmp_path / "fork"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(STANDIN / "unimatch", fork, ignore=ignored)
    rng = np.random.default_rng(4)
    for name, count in (("92/labeled", 10), ("92/unlabeled", 6), ("val", 4)):
        lines = []
        for i in range(count):
            photo, truth = draw(rng)
            stem = f"{Path(name).name}{i}"
            path = fork / "VOC" / "JPEGImages" / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(path)
            write_label(fork / "VOC" / "SegmentationClass" / f"{stem}.png", truth)
            lines.append(f"JPEGImages/{stem}.png SegmentationClass/{stem}.png")
        listed = fork / "splits" / "pascal" / f"{name}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("\n".join(lines) + "\n")
    (fork / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (fork / "network.py").write_text(NETWORK)
    colours = torch.tensor(COLOURS / 255, dtype=torch.float32)
    weight = 60 * colours[:, :, None, None]
    torch.save({"weight": weight, "bias": -30 * (colours**2).sum(1)}, fork / "network.pt")
    (fork / "model" / "semseg").mkdir(parents=True)
    (fork / "model" / "semseg" / "deeplabv3plus.py").write_text(STUDENT)
    config = {"epochs": 80, "nclass": len(CLASSES), "data_root": "VOC", "crop_size": 32}
    (fork / "configs").mkdir()
    for name in ("pascal", "pascal_plain"):
        (fork / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(fork)
    monkeypatch.syspath_prepend(STANDIN)
    monkeypatch.syspath_prepend(fork)
    for name in [name for name in sys.modules if name.split(".")[0] in OWN_MODULES]:
        monkeypatch.delitem(sys.modules, name)  # of the examples, which other tests import
    yield fork
    for name in [name for name in sys.modules if name.split(".")[0] in OWN_MODULES]:
        del sys.modules[name]
    sys.modules.pop("standin_run", None)


def commands_of(block: str) -> list[list[str]]:
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines() if line]


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def train(command: list[str], fork: Path, run_host):
    """The printed run in fewer epochs, as the stand-in's own ``main()`` in this process."""
    config = yaml.safe_load((fork / option(command, "--config")).read_text())
    config["conformal"]["stage1_epochs"] = min(config["conformal"]["stage1_epochs"], 3)
    (fork / "exp").mkdir(exist_ok=True)
    script = next(word for word in command if word.endswith(".py"))
    return run_host(
        fork / script,
        save=f"fork/{option(command, '--save-path')}",
        labelled=Path(option(command, "--labeled-id-path")),
        unlabelled=Path(option(command, "--unlabeled-id-path")),
        **config | {"epochs": 4},
    )


# The proposal keeps every pixel of these photos, and the run says so.
@pytest.mark.filterwarnings("ignore::conformal_plugin.training.KeptShareWarning")
def test_the_tutorial_from_photos_to_two_students(
    page, fork, run_host, capsys, monkeypatch, tmp_path
):
    lite_stand_in(monkeypatch, tmp_path)
    monkeypatch.setattr(_probe, "_STEPS", 20)
    runs, printed, seen = {}, {}, []
    for info, block in page:
        kind, _, name = info.partition(" ")
        if kind == "python":
            (fork / name).write_text(block)
        elif kind == "yaml":
            with (fork / name).open("a") as file:
                file.write(block)
        elif kind == "bash":
            for command in commands_of(block):
                if command[0] == "torchrun":
                    runs[option(command, "--save-path")] = train(command, fork, run_host)
                elif command[0] == "conformal-plugin":
                    seen.append(command[1])
                    code = main(command[1:])
                    outcome = capsys.readouterr()
                    assert code == 0, (command, outcome.err)
                    printed[" ".join(command)] = outcome.out
    assert set(seen) == {
        *("annotate", "choose", "evaluate", "report", "filter", "calibrate", "patch", "doctor"),
        "rehearse",
    }
    (chosen,) = (text for command, text in printed.items() if " choose " in command)
    assert "<- proposed" in chosen
    assert "raw (argmax)" in chosen
    (rehearsed,) = (text for command, text in printed.items() if " rehearse " in command)
    assert "10 labelled photos in 5 folds, dealt 3 times, 6 unlabelled ones" in rehearsed
    (refused,) = (text for command, text in printed.items() if "infinite.json" in command)
    assert "needs at least 99 images, and there are 10" in refused
    assert (fork / "report" / "report.html").stat().st_size > 10_000

    stages = {
        name: [line.split(", ")[1] for line in run.log if "epoch " in line]
        for name, run in runs.items()
    }
    assert stages == {
        "exp/conformal": ["stage I"] * 3 + ["stage II"],
        "exp/plain": ["stage II"] * 4,
    }
    results = [text for command, text in printed.items() if re.search(r"--maps maps_\w", command)]
    assert len(results) == 2
    assert results[0] != results[1]
    assert all(re.search(r"mIoU +\d\.\d{4}", text) for text in results)
    untouched = (STANDIN / "unimatch" / "unimatch.py").read_bytes()
    assert (fork / "unimatch.py").read_bytes() == untouched


def test_what_the_filter_refuses_it_refuses(page, fork, capsys):
    (fork / "annotator.py").write_text(dict(page)["python annotator.py"])
    commands = [words for info, block in page if info == "bash" for words in commands_of(block)]
    for command in commands:
        if "annotator:annotator" in command:
            assert main(command[1:]) == 0, capsys.readouterr().err
    (infinite,) = (command for command in commands if "infinite.json" in command)
    (filtering,) = (command for command in commands if command[1] == "filter")
    assert main(infinite[1:]) == 0
    filtering[filtering.index("calibration.json")] = "infinite.json"
    assert main(filtering[1:]) == 2
    assert "qhat is inf, so every class is in every prediction set" in capsys.readouterr().err


@pytest.mark.real
def test_the_figures_of_the_page(page, voc, tmp_path, capsys):
    """What it shows of choose and calibrate is what these print on the real photos."""
    shown = {info.removeprefix("text real "): text for info, text in page if "real" in info}
    data = ["--maps", str(voc / "probs"), "--labels", str(voc / "labels"), "--quiet"]
    few = str(voc / "splits" / "labeled_92.txt")
    classes = ["--classes", "0", "8", "10", "12", "13", "15", "17"]
    path = str(tmp_path / "calibration.json")

    def lines(*command: str) -> list[str]:
        assert main([command[0], *data, *command[1:]]) == 0
        return capsys.readouterr().out.splitlines()

    alphas = re.findall(r"^foreground-first +(\S+)", shown["choose"], re.M)  # not the whole grid
    grid = ["--alpha", *alphas, "--rule", "foreground-first", "most-probable"]
    found = lines("choose", "--ids", few, "--calibration-out", path, *classes, *grid)
    assert set(shown["choose"].splitlines()) <= set(found)
    options = ["--guarantee", "image-level", "--alpha", "0.01", "-o", path]
    assert shown["infinite"].strip() in "\n".join(lines("calibrate", "--ids", few, *options))
