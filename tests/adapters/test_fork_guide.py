"""Every command and every line of examples/unimatch_fork.md, on a stand-in for UniMatch."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from conformal_plugin.adapters.unimatch import RECIPES
from conformal_plugin.cli import main

CLASSES = 4
STANDIN = Path(__file__).parent / "standin"


@pytest.fixture
def guide(root: Path) -> dict[str, str]:
    """The page's fenced blocks by what follows the fence, shell blocks joined."""
    text = (root / "examples" / "unimatch_fork.md").read_text(encoding="utf-8")
    blocks: dict[str, str] = {}
    for info, body in re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", text, re.M | re.S):
        blocks[info] = blocks.get(info, "") + body
    return blocks


@pytest.fixture
def fork(guide, data, tmp_path, monkeypatch) -> Path:
    """A clone laid out as the page says, with an annotator's maps for every photo."""
    fork = tmp_path / "fork"
    shutil.copytree(
        STANDIN / "unimatch", fork, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    lists = fork / "splits" / "pascal" / "92"
    lists.mkdir(parents=True)
    voc = fork / "VOC"
    shutil.copytree(data.root / "photos", voc / "JPEGImages")
    shutil.copytree(data.root / "masks", voc / "SegmentationClass")
    names = [f"JPEGImages/p{i}.png SegmentationClass/p{i}.png" for i in range(6)]
    (lists / "labeled.txt").write_text("\n".join(names[:3]) + "\n")
    (lists / "unlabeled.txt").write_text("\n".join(names[1:]) + "\n")
    (fork / "configs").mkdir()
    config = {"epochs": 80, "nclass": CLASSES, "data_root": "VOC", "crop_size": 32}
    (fork / "configs" / "pascal.yaml").write_text(yaml.safe_dump(config) + guide["yaml"])
    (fork / "probs").mkdir()
    rng = np.random.default_rng(2)
    for mask in (voc / "SegmentationClass").iterdir():
        with Image.open(mask) as image:
            truth = np.eye(CLASSES)[np.array(image)].transpose(2, 0, 1)
        evidence = np.exp(3 * truth + rng.normal(0, 1, truth.shape))
        np.savez(fork / "probs" / f"{mask.stem}.npz", probs=evidence / evidence.sum(0))
    monkeypatch.chdir(fork)
    return fork


def follow(guide: dict[str, str]) -> list[list[str]]:
    """Run the page's ``conformal-plugin`` commands; return all commands, split into words."""
    lines = guide["bash"].replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if line]
    for command in commands:
        if command[0] == "conformal-plugin":
            assert main([*command[1:], "--quiet"]) == 0, command
    return commands


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_the_guide_from_maps_to_two_stages(guide, fork, run_host, capsys):
    plain = fork / "unimatch.py"
    untouched = plain.read_bytes()
    commands = follow(guide)
    assert capsys.readouterr().out.count("conformal = UniMatchLoop(cfg, criterion_u)") == 1
    train = commands[-1]
    assert train[0] == "torchrun"
    unlabelled = Path(option(train, "--unlabeled-id-path"))
    assert len(unlabelled.read_text().splitlines()) == 5
    assert option(train, "--config") == "configs/pascal.yaml"

    conformal = yaml.safe_load(guide["yaml"])["conformal"]
    assert conformal.keys() == {"pseudo_labels", "stage1_epochs"}

    def run(script: str, save: str, **options):
        return run_host(
            fork / script,
            save=save,
            labelled=option(train, "--labeled-id-path"),
            unlabelled=unlabelled,
            data_root="VOC",
            epochs=3,
            **options,
        )

    script = next(word for word in train if word.endswith(".py"))
    two_stages = run(script, "two", conformal=conformal | {"stage1_epochs": 1})
    assert [line.split(", ")[1] for line in two_stages.log if "epoch " in line] == [
        "stage I",
        "stage II",
        "stage II",
    ]
    assert all(np.isfinite(value) for _, _, value in two_stages.scalars)
    none = run(script, "none", conformal=conformal | {"stage1_epochs": 0})
    assert main(["patch", ".", "--undo", "--quiet"]) == 0
    assert plain.read_bytes() == untouched
    assert run(script, "plain").scalars == none.scalars
    assert two_stages.scalars[0] != none.scalars[0]


def test_the_labels_of_the_guide_are_filtered(guide, fork):
    follow(guide)
    labels = [np.array(Image.open(path)) for path in (fork / "VOC" / "pseudo_labels").glob("*.png")]
    assert len(labels) == 5
    values = np.unique(np.concatenate([label.ravel() for label in labels]))
    assert values.tolist() == [*range(CLASSES), 255]


def test_the_page_shows_the_lines_of_the_recipe(guide, root):
    (recipe,) = RECIPES
    assert tuple(guide["python imports"].splitlines()) == recipe.imports
    for insertion in recipe.insertions:
        shown = guide[f"python {insertion.where} {insertion.anchor}"]
        assert tuple(shown.splitlines()) == insertion.lines
    blocks = [block for info, block in guide.items() if info.startswith("python")]
    assert sum(len(block.splitlines()) for block in blocks) == 7
    assert "adds\nseven lines" in (root / "examples" / "unimatch_fork.md").read_text()
