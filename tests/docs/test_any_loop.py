"""docs/any-loop.md: its loops run, learn from the labels, and are the host's without our lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "any-loop.md").read_text(encoding="utf-8")
SETUP, *LOOPS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAMES = ["teacher and CutMix", "mean teacher", "cross pseudo supervision", "two streams"]
MARK = "  # conformal"


def run(loop: str) -> dict[str, Any]:
    """What a loop defines, with what the page sets up."""
    names: dict[str, Any] = {"__name__": "snippet"}
    for code in (SETUP, loop):
        exec(compile(code, "any-loop.md", "exec"), names)
    return names


def weights(names: dict[str, Any]) -> list[torch.Tensor]:
    """Of all networks that a loop trains."""
    nets = [value for value in names.values() if isinstance(value, torch.nn.Sequential)]
    return [weight for net in nets for weight in net.parameters()]


def without_ours(loop: str) -> str:
    return "".join(line for line in loop.splitlines(True) if not line.rstrip().endswith(MARK))


def test_every_loop_is_tested() -> None:
    assert len(LOOPS) == len(NAMES)


@pytest.mark.parametrize("loop", LOOPS, ids=NAMES)
class TestEveryLoop:
    def test_ten_lines_are_added(self, loop: str) -> None:
        assert 5 <= loop.count(f"{MARK}\n") <= 10

    def test_it_is_the_hosts_own_without_them_and_in_stage_two(self, loop: str) -> None:
        own = weights(run(without_ours(loop)))
        no_first_stage = re.sub(r"stage1=\d+", "stage1=0", loop)
        assert all(map(torch.equal, weights(run(no_first_stage)), own))

    def test_stage_one_learns_from_the_labels(self, loop: str) -> None:
        """What they hold decides what is learnt."""
        whole = re.sub(r"stage1=\d+, total=(\d+)", r"stage1=\1, total=\1", loop)
        swapped = "pseudo_labels[:, 4:] = 3 - truth[:, 4:]\n"
        unlabelled = re.findall(r"unlabelled = .*\n", SETUP)[0]
        right, wrong = run(whole), run(swapped + unlabelled + whole)
        assert not all(map(torch.equal, weights(right), weights(wrong)))
        assert right["supervise"].summary()["kept"] == pytest.approx(0.75)


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    run(LOOPS[0])
    (expected,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert capsys.readouterr().out == expected
