"""The callback for PyTorch Lightning."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from conformal_plugin._extras import optional
from conformal_plugin.adapters.trainers._epoch import Epochs
from conformal_plugin.calibration import Calibration
from conformal_plugin.training import ConformalSupervision

__all__ = ["lightning_callback"]


def lightning_callback(
    supervise: ConformalSupervision,
    labelled: Calibration | Sequence[int] | None = None,
) -> Any:
    """A ``Callback`` for Lightning's ``Trainer(callbacks=[...])``.

    At the beginning of each training epoch it tells ``supervise`` the epoch, so that
    ``training_step`` need not; at its end it writes a line to the log (``conformal_plugin``, at
    INFO) and gives the kept share, the classes' shares, the stage and the loss to every logger
    that the trainer has.

    Args:
        supervise: the conformal term of the module.
        labelled: the calibration behind the labels, or the labelled pixels of each class, to put
            the labelled photos' shares beside those of the labels.

    Raises:
        MissingExtraError: Lightning is not installed.
    """
    lightning = optional("lightning.pytorch", "lightning", "a Lightning callback", "lightning")
    epochs = Epochs(supervise, labelled)

    class ConformalCallback(lightning.Callback):  # type: ignore[misc, name-defined]
        """Begins each epoch of a conformal term, and logs its end."""

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            epochs.begin(trainer.current_epoch)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            line, figures = epochs.end(trainer.current_epoch)
            pl_module.log_dict(figures)
            if trainer.is_global_zero:
                logging.getLogger("conformal_plugin").info(line)

    return ConformalCallback()
