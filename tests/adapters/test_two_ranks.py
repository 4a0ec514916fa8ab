"""UniMatch's stand-in on two gloo ranks, one of which has no kept pixel in stage I."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

STANDIN = Path(__file__).parent / "standin"

# What torchrun starts on each rank, for several runs one after the other.
DRIVER = """
import json, logging, os, random, runpy, sys, time
import numpy, torch
torch.set_num_threads(1)
logging.getLogger("global").addHandler(logging.StreamHandler(sys.stdout))
for run in json.loads(sys.argv[1]):
    random.seed(0), numpy.random.seed(0), torch.manual_seed(0)
    os.environ["STANDIN_MEETING"] = run["meeting"]
    sys.argv = run["argv"]
    print("run", run["name"], flush=True)
    runpy.run_path(run["argv"][0], run_name="__main__")
    time.sleep(0.3)  # as groups.end_group does
    torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def shared() -> dict:
    """The output of both ranks, which the tests of this module look at: it is made once."""
    return {}


@pytest.fixture
def two_ranks(shared, data, tmp_path, copied_host) -> dict:
    """What both ranks printed, by run, and rank 0's scalars."""
    if shared:
        return shared
    for i in range(6):
        data.drop_labels(f"p{i}", slice(0, 12))
    plain = copied_host("unimatch/unimatch.py", patched=False)
    patched = copied_host("unimatch/unimatch.py", patched=True)
    kept, empty = data.pseudo, blank(data.pseudo, tmp_path / "empty")

    def argv(name: str, script: Path, rank: int, stage1: int | None, folder: Path) -> list[str]:
        save = tmp_path / name
        save.mkdir(exist_ok=True)
        cfg = {
            "dataset": "pascal", "data_root": str(data.root), "nclass": 4, "crop_size": 32,
            "batch_size": 1, "epochs": 2, "lr": 0.05, "conf_thresh": 0.3,
        }  # fmt: skip
        if stage1 is not None:
            cfg["conformal"] = {"pseudo_labels": str(folder), "stage1_epochs": stage1}
        config = save / f"rank{rank}.yaml"
        config.write_text(yaml.safe_dump(cfg))
        labelled, unlabelled = str(data.list_ids(data.lines[:3])), str(data.unlabelled)
        return [
            str(script), "--config", str(config), "--save-path", str(save),
            "--labeled-id-path", labelled, "--unlabeled-id-path", unlabelled,
        ]  # fmt: skip

    def runs(rank: int) -> list[dict]:
        return [
            {"name": name, "meeting": str(tmp_path / f"{name}.meeting"), "argv": arguments}
            for name, arguments in {
                "plain": argv("plain", plain, rank, None, kept),
                "stage2": argv("stage2", patched, rank, 0, kept),
                "stage1": argv("stage1", patched, rank, 1, kept if rank == 0 else empty),
            }.items()
        ]

    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, json.dumps(runs(rank))],
            env=os.environ
            | {"RANK": str(rank), "WORLD_SIZE": "2"}
            | {"PYTHONPATH": os.pathsep.join([str(patched.parent), str(STANDIN)])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        outputs = [rank.communicate(timeout=120) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    shared["printed"] = [out for out, _ in outputs]
    shared["warned"] = [err for _, err in outputs]
    for name in ("plain", "stage2", "stage1"):
        shared[name] = (tmp_path / name / "scalars.txt").read_text()
    return shared


def blank(labels: Path, folder: Path) -> Path:
    """The same pseudo-labels without a kept pixel."""
    folder.mkdir()
    for path in labels.iterdir():
        with Image.open(path) as image:
            Image.new("L", image.size, 255).save(folder / path.name)
    return folder


def test_no_hang_and_no_nan_when_one_rank_has_no_kept_pixel(two_ranks):
    values = [float(line.split()[2]) for line in two_ranks["stage1"].splitlines()]
    assert len(values) == 2 * 3 * 4  # epochs, steps, scalars
    assert all(map(math.isfinite, values))
    assert "kept 0.00% of" in two_ranks["warned"][1]
    assert "kept" not in two_ranks["warned"][0]


def test_stage_one_of_no_epochs_is_the_host_to_the_bit_on_two_ranks(two_ranks):
    assert two_ranks["stage2"] == two_ranks["plain"]
    assert two_ranks["stage1"] != two_ranks["plain"]


def test_rank_0_alone_writes_the_log(two_ranks):
    first, second = (text.split("run stage1\n")[1] for text in two_ranks["printed"])
    lines = [line for line in first.splitlines() if line.startswith("Conformal:")]
    assert [line.split(",")[0] for line in lines] == [
        "Conformal: stage I for 1 of 2 epochs",
        "Conformal: a gradient came back through the conformal losses",
        "Conformal: epoch 0",
        "Conformal: epoch 1",
    ]
    assert "stage I, in the photos of rank 0 of 2: " in lines[2]
    assert "Conformal" not in second
