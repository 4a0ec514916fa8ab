"""The figures reach each tracker that a run has, the real one where it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from conformal_plugin.training import track

FIGURES = {"kept": 0.5, "labels/0": 0.75}


class Writer:
    def __init__(self) -> None:
        self.added: list[tuple[str, float, int]] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.added.append((name, value, step))


def test_a_writer_gets_every_figure_at_the_epoch() -> None:
    writers = [Writer(), Writer()]
    track(FIGURES, 7, writers)
    for writer in writers:
        assert writer.added == [("conformal/kept", 0.5, 7), ("conformal/labels/0", 0.75, 7)]


def test_a_run_of_wandb_keeps_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    logged = []
    run = SimpleNamespace(log=lambda figures, *, commit: logged.append((figures, commit)))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=run))
    track(FIGURES, 7)
    expected = {"conformal/kept": 0.5, "conformal/labels/0": 0.75, "conformal/epoch": 7}
    assert logged == [(expected, False)]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_without_a_run_nothing_is_sent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(run=None, active_run=lambda: None)
    monkeypatch.setitem(sys.modules, name, module)
    track(FIGURES, 7)


def test_no_tracker_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "mlflow", "tensorboard"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    track(FIGURES, 7)
    assert not {"wandb", "mlflow", "tensorboard"} & sys.modules.keys()


# The libraries themselves, each in a process of its own: they start threads and services.


def run_with(library: str, code: str, folder: Path) -> str:
    pytest.importorskip(library, reason=f"needs {library} (pip install {library})")
    lines = [
        "from conformal_plugin.training import track",
        f"figures = {json.dumps(FIGURES)}",
        code,
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tensorboard_itself(tmp_path: Path) -> None:
    code = """
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter("events")
track(figures, 7, [writer])
writer.close()
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator("events")
events.Reload()
print(sorted(events.Tags()["scalars"]), events.Scalars("conformal/kept")[0].step)
"""
    printed = run_with("tensorboard", code, tmp_path)
    assert printed.strip() == "['conformal/kept', 'conformal/labels/0'] 7"


def test_mlflow_itself(tmp_path: Path) -> None:
    code = """
import mlflow
mlflow.set_tracking_uri("sqlite:///tracking.db")
with mlflow.start_run() as run:
    track(figures, 7)
history = mlflow.tracking.MlflowClient().get_metric_history(run.info.run_id, "conformal/kept")
print([(one.value, one.step) for one in history])
"""
    assert run_with("mlflow", code, tmp_path).strip() == "[(0.5, 7)]"


def test_wandb_itself(tmp_path: Path) -> None:
    code = """
import wandb
run = wandb.init(project="p")
wandb.log({"loss": 1.0})
track(figures, 0)
wandb.log({"loss": 0.5})
print(run.step)
track({"kept": 0.8125}, 1)  # after the script's last step
run.finish()
"""
    assert run_with("wandb", code, tmp_path).split() == ["2"]  # the script's own steps
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    content = file.read_bytes()
    for written in (b"conformal/kept", b"conformal/labels/0", b"conformal/epoch", b"0.8125"):
        assert written in content
