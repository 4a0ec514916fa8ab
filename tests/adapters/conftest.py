"""Stand-in hosts, and a few photos of their own, for every adapter test."""

from __future__ import annotations

import importlib
import logging
import random
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from groups import end_group
from PIL import Image

from conformal_plugin.adapters.patching import known_recipes
from conformal_plugin.adapters.patching._host_scripts import patch_script

STANDIN = Path(__file__).parent / "standin"
SIZES = [(40, 30), (30, 40), (48, 24), (33, 33), (20, 51), (45, 45)]  # H, W
CROP = 32
CLASSES = 4
HOST_OPTIONS = {
    "dataset": "pascal",
    "nclass": CLASSES,
    "crop_size": CROP,
    "batch_size": 2,
    "epochs": 2,
    "lr": 0.05,
    "conf_thresh": 0.3,
    "thresh_init": 0.3,
    "criterion_u": {"name": "CELoss", "kwargs": {"ignore_index": 255}},
}


def photo_labels(photo):
    """A label for each pixel of an RGB photo, read off the pixel alone: what tests compare with."""
    return (photo.astype(np.int64) @ [1, 2, 4]) // 7 % CLASSES


@dataclass
class Data:
    """A data set on disk: ``root/photos``, ``root/masks``, id lists and pseudo-labels."""

    root: Path
    lines: list[str]

    @property
    def pseudo(self) -> Path:
        return self.root / "pseudo"

    @property
    def unlabelled(self) -> Path:
        return self.root / "unlabelled.txt"

    def list_ids(self, lines: list[str]) -> Path:
        path = self.root / "listed.txt"
        path.write_text("\n".join(lines) + "\n")
        return path

    def drop_labels(self, name: str, part: slice) -> None:
        """Mark some rows of a pseudo-label as filtered."""
        path = self.pseudo / f"{name}.png"
        with Image.open(path) as image:
            labels = np.array(image)
        labels[part] = 255
        Image.fromarray(labels).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Photos of random pixels; the mask file and the pseudo-label are a function of the pixels."""
    rng = np.random.default_rng(5)
    for folder in ("photos", "masks", "pseudo"):
        (tmp_path / folder).mkdir()
    lines = []
    for i, (height, width) in enumerate(SIZES):
        photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        labels = photo_labels(photo).astype(np.uint8)
        Image.fromarray(photo).save(tmp_path / "photos" / f"p{i}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / f"p{i}.png")
        Image.fromarray(labels).save(tmp_path / "pseudo" / f"p{i}.png")
        lines.append(f"photos/p{i}.png masks/p{i}.png")
    made = Data(tmp_path, lines)
    made.unlabelled.write_text("\n".join(lines) + "\n")
    return made


def _forget_host_modules() -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in ("standin_semi", "standin_transform", "standin_run", "dataset"):
            del sys.modules[name]
    sys.modules.pop("util.thresh_helper", None)
    sys.modules.pop("util.train_helper", None)
    sys.modules.pop("util", None)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The stand-in's dataset module, imported as a host's scripts import theirs."""
    monkeypatch.syspath_prepend(STANDIN)
    _forget_host_modules()
    yield importlib.import_module("standin_semi")
    _forget_host_modules()


@pytest.fixture
def host_dataset(host: ModuleType, data: Data):
    """The unlabelled dataset as a host's script makes it."""
    return host.SemiDataset("pascal", str(data.root), "train_u", CROP, str(data.unlabelled))


@pytest.fixture
def copied_host(tmp_path: Path) -> Callable[..., Path]:
    """Copies a stand-in script's host; ``patched=True``: with the lines that belong there."""

    def copy(script: str, *, patched: bool) -> Path:
        folder, name = script.split("/")
        to = tmp_path / ("patched" if patched else "plain") / folder
        if not to.exists():
            shutil.copytree(STANDIN / folder, to, ignore=shutil.ignore_patterns("__pycache__"))
        path = to / name
        if patched:
            result = patch_script(STANDIN / script, known_recipes())
            assert result.after is not None, result.problems
            path.write_bytes(result.after)
        return path

    return copy


@dataclass(frozen=True)
class HostRun:
    """What a host's script left: its scalars in order (step, tag, value), and its log."""

    scalars: list[tuple[int, str, float]]
    log: list[str]

    def values(self, tag: str) -> list[float]:
        return [value for _, name, value in self.scalars if name == tag]


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def run_host(tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> Callable[..., HostRun]:
    """Runs a host's script as its user does, in this process, from the same seeds every time.

    ``options`` go into the host's YAML; ``save`` and the id lists onto its command line.
    """

    def run(
        script: Path,
        *,
        save: str = "out",
        labelled: Path | None = None,
        unlabelled: Path | None = None,
        **options,
    ) -> HostRun:
        folder = tmp_path / save
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(
            yaml.safe_dump({"data_root": str(data.root)} | HOST_OPTIONS | options)
        )
        arguments = {
            "--config": folder / "config.yaml",
            "--labeled-id-path": labelled or data.list_ids(data.lines[:3]),
            "--unlabeled-id-path": unlabelled or data.unlabelled,
            "--save-path": folder,
        }
        argv = [str(script), *(str(word) for pair in arguments.items() for word in pair)]
        log = _run_alone(argv, folder / f"meeting{len(list(folder.iterdir()))}", monkeypatch)
        lines = (folder / "scalars.txt").read_text().splitlines()
        scalars = [(int(step), tag, float(value)) for step, tag, value in map(str.split, lines)]
        return HostRun(scalars, log)

    return run


def _run_alone(argv: list[str], meeting: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run a script as the only rank; the lines of its log."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    handler = _Lines()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", argv)
        patched.setenv("STANDIN_MEETING", str(meeting))
        patched.setenv("RANK", "0")
        patched.setenv("WORLD_SIZE", "1")
        patched.setenv("CUDA_VISIBLE_DEVICES", "")  # a host sets it, and it is put back afterwards
        patched.syspath_prepend(STANDIN)
        patched.syspath_prepend(Path(argv[0]).parent)
        _forget_host_modules()
        logging.getLogger("global").addHandler(handler)
        try:
            runpy.run_path(argv[0], run_name="__main__")
        finally:
            logging.getLogger("global").removeHandler(handler)
            if torch.distributed.is_initialized():
                end_group()
            _forget_host_modules()
    return handler.lines
