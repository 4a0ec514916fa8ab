"""An image whose content is refused is named by its id, by each command."""

from __future__ import annotations

import numpy as np
import pytest

COMMANDS = {
    "calibrate": ("--output", "out.json"),
    "calibrate by bets": ("--guarantee", "precision", "--epsilon", "0.2", "--output", "out.json"),
    "calibrate per image": ("--guarantee", "image-level", "--alpha", "0.2", "--output", "out.json"),
    "choose": (),
    "evaluate": ("--calibration", "calibration.json"),
    "report": ("--calibration", "calibration.json", "--out", "report"),
    "plan": ("--epsilon", "0.2"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_id_is_said(data, calibrated, run, monkeypatch, command: str) -> None:
    monkeypatch.chdir(data.root)
    name = data.ids[3]
    with np.load(data.maps / f"{name}.npz") as archive:
        scores = archive["probs"].astype(np.float32)
    scores[1, 0, 1] = 1.5
    np.savez(data.maps / f"{name}.npz", probs=scores)
    done = run(
        command.split()[0], "--maps", data.maps, "--labels", data.labels, "--ids", data.list,
        "--quiet", *COMMANDS[command],
    )  # fmt: skip
    assert done.code == 2
    assert f"{command.split()[0]}: image {name}: scores must lie in [0, 1]" in done.err
    assert "counted from 0" not in done.err
