"""The callback for the ``Trainer`` of Hugging Face transformers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from conformal_plugin._extras import optional
from conformal_plugin.adapters.trainers._epoch import Epochs
from conformal_plugin.calibration import Calibration
from conformal_plugin.training import ConformalSupervision

__all__ = ["transformers_callback"]


def transformers_callback(
    trainer: Any,
    supervise: ConformalSupervision,
    labelled: Calibration | Sequence[int] | None = None,
) -> Any:
    """A ``TrainerCallback`` for ``trainer.add_callback(...)``.

    At the beginning of each epoch it tells ``supervise`` the epoch, so that ``compute_loss`` need
    not; at its end it writes a line to the log (``conformal_plugin``, at INFO) and gives the kept
    share, the classes' shares, the stage and the loss to ``trainer.log``, from which all that
    ``report_to`` names gets them.

    Args:
        trainer: the trainer that it is added to.
        supervise: the conformal term of the loss.
        labelled: the calibration behind the labels, or the labelled pixels of each class, to put
            the labelled photos' shares beside those of the labels.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    transformers = optional("transformers", "transformers", "a Trainer callback", "transformers")
    epochs = Epochs(supervise, labelled)

    class ConformalCallback(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        """Begins each epoch of a conformal term, and logs its end."""

        epoch = 0

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.epoch = int(state.epoch or 0)
            epochs.begin(self.epoch)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            line, figures = epochs.end(self.epoch)
            trainer.log(figures)
            if state.is_world_process_zero:
                logging.getLogger("conformal_plugin").info(line)

    return ConformalCallback()
