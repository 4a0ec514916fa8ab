"""What the log and the trackers are told of an epoch: shares by class, and what is wrong."""

from __future__ import annotations

import json
import logging
import sys
from types import FunctionType

import numpy as np
import pytest
import torch
from torch import nn

from conformal_plugin import calibrate
from conformal_plugin.adapters.allspark import AllSparkLoop
from conformal_plugin.adapters.loop._calling_script import CallingScript

CLASSES = 3


class Writer:
    """TensorBoard's, as far as a host calls it."""

    def __init__(self):
        self.added = {}

    def add_scalar(self, name, value, step):
        self.added[name, step] = value


@pytest.fixture
def cfg(tmp_path):
    (tmp_path / "pseudo").mkdir()
    return {"epochs": 4, "conformal": {"pseudo_labels": str(tmp_path / "pseudo")}}


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "global")
    return lambda: [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "global"]


def labels(*of_each):
    """Labels of two photos of 4 x 4, so many of each class and the rest dropped."""
    flat = torch.full((32,), 255)
    flat[: sum(of_each)] = torch.arange(len(of_each)).repeat_interleave(torch.tensor(of_each))
    return flat.reshape(2, 4, 4)


def train(loop, pseudo, epochs=1):
    for epoch in range(epochs):
        loader = [(None, [torch.zeros(2, 3, 4, 4), pseudo])]
        for _ in loop.watch(loader, epoch):
            step(loop)


def step(loop):
    """As a script makes it: the loss settled, and the backward pass."""
    pred = torch.zeros(2, CLASSES, 4, 4, requires_grad=True)
    loop(torch.zeros(()), pred).backward()


def new(cfg):
    return AllSparkLoop(cfg, nn.CrossEntropyLoss(ignore_index=255))


def test_the_shares_of_the_labels_stand_beside_the_calibrations(cfg, log, tmp_path):
    truth = np.repeat([0, 1, 2], [4, 8, 4]).reshape(1, 4, 4)
    scores = np.full((1, CLASSES, 4, 4), 0.5, np.float32)
    calibrate(scores, truth, alpha=0.5).save(tmp_path / "calibration.json")
    cfg["conformal"]["calibration"] = str(tmp_path / "calibration.json")
    train(new(cfg), labels(8, 8))
    level, line = log()[-1]
    assert level == "INFO"
    assert line == (
        "Conformal: epoch 0, stage I, 50.0% of the unlabelled pixels carried a label; class by "
        "class, in the labels (and in the labelled photos): 0 50.0% (25.0%), 1 50.0% (50.0%), "
        "2 0.0% (25.0%)"
    )


def test_filter_has_left_the_labelled_photos_shares_beside_the_labels(cfg, log, tmp_path):
    settings = {"labelled_pixels_per_class": [10, 10, 20]}
    (tmp_path / "pseudo" / "labels.json").write_text(json.dumps(settings))
    train(new(cfg), labels(8, 4, 4))
    assert "0 50.0% (25.0%), 1 25.0% (25.0%), 2 25.0% (50.0%)" in log()[-1][1]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"labelled_pixels_per_class": ["1"]}', "[" * 100_000, '{"remarks": 1}'],
)
def test_settings_that_say_nothing_are_no_hindrance(cfg, log, tmp_path, content):
    (tmp_path / "pseudo" / "labels.json").write_text(content)
    train(new(cfg), labels(8, 4, 4))
    assert log()[-1][1].endswith("class by class, in the labels: 0 50.0%, 1 25.0%, 2 25.0%")


def test_a_calibration_of_other_classes_is_not_compared(cfg, log, tmp_path):
    settings = {"labelled_pixels_per_class": [10, 10]}
    (tmp_path / "pseudo" / "labels.json").write_text(json.dumps(settings))
    train(new(cfg), labels(8, 4, 4), epochs=2)
    warned = [line for level, line in log() if level == "WARNING"]
    (line,) = warned
    assert line == (
        "Conformal: the labels were calibrated on 2 classes and hold 3: their shares are not "
        "compared"
    )


def test_classes_that_are_counted_and_do_not_occur_are_no_hindrance(cfg, log, tmp_path):
    settings = {"labelled_pixels_per_class": [10, 30]}
    (tmp_path / "pseudo" / "labels.json").write_text(json.dumps(settings))
    train(new(cfg), labels(8, 8))
    assert log()[-1][1].endswith("labelled photos): 0 50.0% (25.0%), 1 50.0% (75.0%)")


def test_a_class_that_swallows_the_labels_is_warned_of_once(cfg, log, tmp_path):
    settings = {"labelled_pixels_per_class": [60, 20, 20]}
    (tmp_path / "pseudo" / "labels.json").write_text(json.dumps(settings))
    loop = new(cfg)
    train(loop, labels(15, 1), epochs=3)
    warned = [line for level, line in log() if level == "WARNING"]
    assert len(warned) == 1
    assert warned[0].startswith("Conformal: class 0 swallows the labels: it has 93.8% of them, and")
    assert "60.0% of the labelled pixels" in warned[0]


def test_each_class_that_has_collapsed_is_warned_of_once(cfg, log, tmp_path):
    settings = {"labelled_pixels_per_class": [60, 20, 20]}
    (tmp_path / "pseudo" / "labels.json").write_text(json.dumps(settings))
    loop = new(cfg)
    for epoch, pseudo in enumerate([labels(10, 6, 0), labels(9, 7, 0), labels(10, 0, 6)]):
        for _ in loop.watch([(None, [torch.zeros(2, 3, 4, 4), pseudo])], epoch):
            step(loop)
    warned = [line for level, line in log() if level == "WARNING"]
    assert ["class 2 0.0%" in line for line in warned] == [True, False]
    assert "class 1 0.0% instead of 20.0%" in warned[1]


def test_what_filter_warned_of_is_said_once_more(cfg, log, tmp_path):
    settings = {"remarks": ["The threshold changes nothing.", 1]}
    (tmp_path / "pseudo" / "labels.json").write_text(json.dumps(settings))
    train(new(cfg), labels(8, 4, 4), epochs=2)
    warned = [line for level, line in log() if level == "WARNING"]
    assert warned == ["Conformal: of these labels: The threshold changes nothing."]


def test_the_scripts_own_writer_gets_the_figures(cfg):
    cfg["conformal"]["stage1_epochs"] = 1
    loop, writer = new(cfg), Writer()
    for epoch in range(2):
        loader = loop.watch([(None, [torch.zeros(2, 3, 4, 4), labels(8, 4, 4)])], epoch)
        for _ in loader:
            if epoch == 0:
                step(loop)
    assert writer.added.pop(("conformal/loss", 0)) == pytest.approx(np.log(3) / 2)
    assert writer.added == {
        ("conformal/stage", 0): 1,
        ("conformal/kept", 0): 0.5,
        ("conformal/labels/0", 0): 0.5,
        ("conformal/labels/1", 0): 0.25,
        ("conformal/labels/2", 0): 0.25,
        ("conformal/stage", 1): 2,
    }


def test_a_class_of_writers_is_no_writer(cfg):
    kind = Writer  # bound in this function, as an import is in a script
    train_here = new(cfg)
    list(train_here.watch([], 0))
    assert train_here._epochs.writers == ()
    assert kind is Writer


def test_a_patched_script_tells_its_trackers(copied_host, run_host, data):
    """One that has TensorBoard's writer, which the stand-ins do not."""
    script = copied_host("unimatch/unimatch.py", patched=True)
    text = script.read_text()
    text = text.replace(
        "    writer = SummaryWriter(args.save_path)\n",
        "    writer = SummaryWriter(args.save_path)\n    tensorboard = Added(args.save_path)\n",
    ).replace(
        "def main():\n",
        "class Added:\n"
        "    def __init__(self, folder):\n"
        "        self.path = folder + '/added.txt'\n"
        "    def add_scalar(self, name, value, step):\n"
        "        with open(self.path, 'a') as file:\n"
        "            print(step, name, value, file=file)\n\n\n"
        "def main():\n",
    )
    script.write_text(text)
    for i in range(6):
        data.drop_labels(f"p{i}", slice(0, 12))
    options = {"pseudo_labels": str(data.pseudo), "stage1_epochs": 1}
    run_host(script, conformal=options)
    added = (data.root / "out" / "added.txt").read_text().splitlines()
    assert [line.split()[1] for line in added] == [
        "conformal/stage",
        "conformal/kept",
        "conformal/loss",
        *(f"conformal/labels/{c}" for c in range(4)),
        "conformal/stage",
    ]


def test_a_call_through_this_package_is_the_scripts(cfg):
    """A loop of this package whose ``watch`` calls the base's."""

    def between(looking):
        return looking()

    inside = FunctionType(between.__code__, {"__name__": "conformal_plugin.adapters.some"})
    writer, here = Writer(), object()
    found = inside(lambda: CallingScript.of(sys._getframe(1), here))
    assert found.name == "here"
    assert found.writers == (writer,)
