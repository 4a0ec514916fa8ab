"""The example of a loss of one's own runs, learns, drops some pixels, and stays short."""

from __future__ import annotations

import re
from pathlib import Path

import custom_loss
import pytest
import torch
import torch.nn.functional as F


def test_losses_fall_and_some_pixels_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    custom_loss.main()
    printed = capsys.readouterr().out
    rows = re.findall(r"^epoch (\d): labelled loss (\S+), unlabelled loss (\S+)$", printed, re.M)
    assert [int(epoch) for epoch, _, _ in rows] == list(range(6))
    labelled, unlabelled = ([float(row[column]) for row in rows] for column in (1, 2))
    assert labelled[3] < 0.8 * labelled[0]
    assert unlabelled[3] < 0.8 * unlabelled[0]
    kept = re.search(r"^kept in stage I: (\S+) % of the pixels$", printed, re.M)
    assert kept is not None
    assert 50 < float(kept[1]) < 99


def test_the_loss_is_the_focal_loss() -> None:
    logits = torch.tensor([[[[0.0]], [[1.0]]]])
    right = F.softmax(logits, 1)[0, 1, 0, 0]
    target = torch.ones(1, 1, 1, dtype=torch.long)
    expected = -((1 - right) ** 2) * right.log()
    torch.testing.assert_close(custom_loss.focal(logits, target)[0, 0, 0], expected)
    assert custom_loss.focal(logits, 255 * target).item() == 0


def test_it_is_as_short_as_it_says() -> None:
    code = [line for line in Path(custom_loss.__file__).read_text().splitlines() if line.strip()]
    assert len(code) <= 45
