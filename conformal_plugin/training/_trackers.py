"""Sends the figures of an epoch to the trackers that a run has: TensorBoard, W&B, MLflow."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["track"]


def track(figures: Mapping[str, float], epoch: int, writers: Iterable[Any] = ()) -> None:
    """Send figures to every tracker that the run has; where it has none, do nothing.

    Weights & Biases and MLflow are found by themselves where the script has begun a run of theirs;
    neither is imported here. To W&B the figures go with the next step that the script logs, so
    that its own count of steps stays as it is.

    Args:
        figures: numbers by name, such as those of
            :meth:`~conformal_plugin.training.TrainedOn.scalars`; each is sent as
            ``conformal/NAME``.
        epoch: the epoch that they belong to.
        writers: TensorBoard's ``SummaryWriter``, or whatever has its ``add_scalar``.
    """
    named = {f"conformal/{name}": value for name, value in figures.items()}
    for writer in writers:
        for name, value in named.items():
            writer.add_scalar(name, value, epoch)
    run = getattr(sys.modules.get("wandb"), "run", None)
    if run is not None:
        run.log({**named, "conformal/epoch": epoch}, commit=False)
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.active_run() is not None:
        mlflow.log_metrics(named, step=epoch)
