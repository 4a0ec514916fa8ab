"""Every command and every edit of examples/unimatch_fork.md, on a stand-in for UniMatch."""

from __future__ import annotations

import random
import re
import shlex
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conformal_plugin.cli import main

CLASSES = 4

# A host's training script as short as it gets, with the names and the places that UniMatch has.
SCRIPT = """
{imports}
trainset_u = SemiDataset('pascal', cfg['data_root'], 'train_u', 32, args.unlabeled_id_path)
{dataset}
trainset_l = SemiDataset('pascal', cfg['data_root'], 'train_l', 32, args.labeled_id_path,
                         nsample=len(trainset_u.ids))
criterion_l = nn.CrossEntropyLoss(ignore_index=255)
criterion_u = nn.CrossEntropyLoss(reduction='none')
{term}
loader_l = DataLoader(trainset_l, batch_size=2, shuffle=True, drop_last=True)
loader_u = DataLoader(trainset_u, batch_size=2, shuffle=True, drop_last=True)

for epoch in range(cfg['epochs']):
    loader = zip(loader_l, loader_u, loader_u)
    {head}
        {views}
        {losses}
        loss = (criterion_l(model(img_x), mask_x) + {total}) / 2.0
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        printed.append((epoch, loss.item()))
"""

VIEWS = """
def mixed(own, partner, box):
    return torch.where(box == 1, partner, own)

def paste(img, img_mix, box):
    return torch.where(box.unsqueeze(1) == 1, img_mix, img)

def host_loss(pred, mask, conf, ignored):
    loss = criterion_u(pred, mask) * ((conf >= 0.3) & (ignored != 255))
    return loss.sum() / (ignored != 255).sum().item()

conf_mix, mask_mix = model(img_u_w_mix).detach().softmax(1).max(1)
conf, mask = model(img_u_w).detach().softmax(1).max(1)
"""

UNIMATCH = {
    "head": """for i, ((img_x, mask_x),
            (img_u_w, img_u_s1, img_u_s2, ignore_mask, cutmix_box1, cutmix_box2),
            (img_u_w_mix, img_u_s1_mix, img_u_s2_mix, ignore_mask_mix, _, _)) in enumerate(loader):
""",
    "views": VIEWS
    + """
pred_u_s1 = model(paste(img_u_s1, img_u_s1_mix, cutmix_box1))
pred_u_s2 = model(paste(img_u_s2, img_u_s2_mix, cutmix_box2))
pred_u_w_fp = model(img_u_w * 0.9)
loss_u_s1 = host_loss(pred_u_s1, mixed(mask, mask_mix, cutmix_box1),
                      mixed(conf, conf_mix, cutmix_box1),
                      mixed(ignore_mask, ignore_mask_mix, cutmix_box1))
loss_u_s2 = host_loss(pred_u_s2, mixed(mask, mask_mix, cutmix_box2),
                      mixed(conf, conf_mix, cutmix_box2),
                      mixed(ignore_mask, ignore_mask_mix, cutmix_box2))
loss_u_w_fp = host_loss(pred_u_w_fp, mask, conf, ignore_mask)
""",
    "total": "loss_u_s1 * 0.25 + loss_u_s2 * 0.25 + loss_u_w_fp * 0.5",
}

FIXMATCH = {
    "head": """for i, ((img_x, mask_x),
            (img_u_w, img_u_s, _, ignore_mask, cutmix_box, _),
            (img_u_w_mix, img_u_s_mix, _, ignore_mask_mix, _, _)) in enumerate(loader):
""",
    "views": VIEWS
    + """
pred_u_s = model(paste(img_u_s, img_u_s_mix, cutmix_box))
loss_u_s = host_loss(pred_u_s, mixed(mask, mask_mix, cutmix_box),
                     mixed(conf, conf_mix, cutmix_box),
                     mixed(ignore_mask, ignore_mask_mix, cutmix_box))
""",
    "total": "loss_u_s",
}


@pytest.fixture
def guide(root: Path) -> dict[str, str]:
    """The page's fenced blocks by what follows the fence, shell blocks joined."""
    text = (root / "examples" / "unimatch_fork.md").read_text(encoding="utf-8")
    blocks: dict[str, str] = {}
    for info, body in re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", text, re.M | re.S):
        blocks[info] = blocks.get(info, "") + body
    return blocks


@pytest.fixture
def fork(data, tmp_path, monkeypatch) -> Path:
    """A working copy laid out as the page says, with an annotator's maps for every photo."""
    fork = tmp_path / "fork"
    lists = fork / "splits" / "pascal" / "92"
    lists.mkdir(parents=True)
    voc = fork / "VOC"
    shutil.copytree(data.root / "photos", voc / "JPEGImages")
    shutil.copytree(data.root / "masks", voc / "SegmentationClass")
    names = [f"JPEGImages/p{i}.png SegmentationClass/p{i}.png" for i in range(6)]
    (lists / "labeled.txt").write_text("\n".join(names[:3]) + "\n")
    (lists / "unlabeled.txt").write_text("\n".join(names[1:]) + "\n")
    (fork / "probs").mkdir()
    rng = np.random.default_rng(2)
    for mask in (voc / "SegmentationClass").iterdir():
        with Image.open(mask) as image:
            truth = np.eye(CLASSES)[np.array(image)].transpose(2, 0, 1)
        evidence = np.exp(3 * truth + rng.normal(0, 1, truth.shape))
        np.savez(fork / "probs" / f"{mask.stem}.npz", probs=evidence / evidence.sum(0))
    monkeypatch.chdir(fork)
    return fork


def make_labels(guide: dict[str, str]) -> list[str]:
    """Run the page's ``conformal-plugin`` commands; return all commands, split into words."""
    commands = [
        shlex.split(line) for line in guide["bash"].replace("\\\n", " ").splitlines() if line
    ]
    for command in commands:
        if command[0] == "conformal-plugin":
            assert main([*command[1:], "--quiet"]) == 0
    return commands


def option(commands: list[list[str]], name: str) -> str:
    """The value that the training command gives to an option of the host."""
    words = next(command for command in commands if command[0] == "torchrun")
    return words[words.index(name) + 1]


def edited(script: dict[str, str], blocks: dict[str, str], diff: str) -> str:
    """The stand-in's script with the page's edits in place; without any, as it was."""
    head = script["head"]
    lines = diff.splitlines()
    for old, new in zip(lines[::2], lines[1::2]):
        assert (old[0], new[0]) == ("-", "+")
        assert head.count(old[1:]) == 1
        head = head.replace(old[1:], new[1:])
    parts = {"imports": "", "dataset": "", "term": "", "losses": "pass"} | script | blocks
    for name in ("views", "losses"):
        parts[name] = textwrap.indent(parts[name], " " * 8).strip()
    return SCRIPT.format(**parts | {"head": head.strip()})


def run(text: str, host, cfg: dict, labeled: str, unlabeled: str) -> list[tuple[int, float]]:
    """The losses of a run, from the same seeds every time."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    model = torch.nn.Conv2d(3, CLASSES, 3, padding=1)
    printed: list[tuple[int, float]] = []
    args = type("Args", (), {"labeled_id_path": labeled, "unlabeled_id_path": unlabeled})
    exec(
        compile(text, "<stand-in>", "exec"),
        {
            "SemiDataset": host.SemiDataset,
            "DataLoader": torch.utils.data.DataLoader,
            "nn": torch.nn,
            "torch": torch,
            "cfg": cfg,
            "args": args,
            "model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
            "printed": printed,
        },
    )
    return printed


@pytest.mark.parametrize(("script", "prefix"), [(UNIMATCH, ""), (FIXMATCH, "fixmatch-")])
def test_the_guide_from_maps_to_two_stages(guide, fork, host, script, prefix):
    commands = make_labels(guide)
    unlabeled = option(commands, "--unlabeled-id-path")
    labeled = option(commands, "--labeled-id-path")
    assert len(Path(unlabeled).read_text().splitlines()) == 5
    conformal = dict(re.findall(r"^  (\w+): (\S+)$", guide["yaml"], re.M))
    assert conformal.keys() == {"pseudo_labels", "stage1_epochs"}

    names = ("imports", "term", "losses")
    blocks = {name: guide[f"python {prefix}{name}"] for name in names}
    blocks["dataset"] = guide["python dataset"]
    text = edited(script, blocks, guide["diff fixmatch" if prefix else "diff"])

    def losses(source: str, stage1: int) -> list[tuple[int, float]]:
        cfg = {
            "data_root": str(fork / "VOC"),
            "epochs": 3,
            "conformal": {**conformal, "stage1_epochs": stage1},
        }
        return run(source, host, cfg, labeled, unlabeled)

    unedited = losses(edited(script, {}, ""), 0)
    assert len(unedited) == 6
    assert all(np.isfinite(loss) for _, loss in unedited)
    assert losses(text, 0) == unedited
    two_stages = losses(text, 1)
    assert all(np.isfinite(loss) for _, loss in two_stages)
    assert two_stages[0] != unedited[0]
    assert two_stages != losses(text, 3)


def test_the_labels_of_the_guide_are_filtered(guide, fork):
    make_labels(guide)
    labels = [np.array(Image.open(path)) for path in (fork / "VOC" / "pseudo_labels").glob("*.png")]
    assert len(labels) == 5
    values = np.unique(np.concatenate([label.ravel() for label in labels]))
    assert values.tolist() == [*range(CLASSES), 255]


def test_the_edit_is_as_small_as_the_guide_says(guide):
    python = [guide[f"python {name}"] for name in ("imports", "dataset", "term", "losses")]
    added = sum(len(block.splitlines()) for block in python)
    changed = guide["diff"].count("\n") // 2
    assert added + changed <= 12
