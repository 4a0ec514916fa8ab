"""Counting kept pixels on their device, read back once, when the user asks."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from conformal_plugin._compiling import compiling
from conformal_plugin.errors import LabelError, ShapeError

__all__ = ["KeptLog", "KeptShareWarning"]

_EXTREME = 0.001  # a share nearer than this to 0 or to 1 sits there


class KeptShareWarning(UserWarning):
    """Next to none or next to all of the pixels were kept: perhaps not the labels that were meant.

    Each of the two is said once by a log of kept pixels. All kept is normal for foreground-first at
    a small alpha such as .05: no prediction set is empty then, and the threshold decides between
    object and background instead of dropping pixels.
    """


class KeptLog:
    """Integer counts that grow on the device of the labels, without waiting for it.

    It is no buffer of a module, so that DistributedDataParallel does not overwrite one rank's
    counts with another's, and checkpoints do not carry them.
    """

    _losses: Tensor | None = (
        None  # float (2,): sum and number; of the class, as old pickles lack it
    )

    def __init__(self) -> None:
        self._totals: Tensor | None = None  # int64 (K + 2,): kept per class, valid, stray
        self._said: set[str] = set()  # what was warned of, so that it is not every epoch

    def add(
        self,
        target: Tensor,
        valid: Tensor | int,
        stray: Tensor,
        num_classes: int,
    ) -> None:
        """Count one batch.

        Args:
            target: ``(N, H, W)`` or ``(N, D, H, W)`` int64; in ``0 ... num_classes - 1``
                where a pixel is kept, and nowhere else.
            valid: number of pixels that are not padding.
            stray: number of valid pixels whose label is neither a class nor ignored.
            num_classes: K.

        Raises:
            ShapeError: another K than before.
        """
        totals = self._totals_on(target.device, num_classes)
        # A column of bins per image column: neighbouring GPU threads then never add to one address.
        # The first bin of a column takes labels below 0, the last those that are too high.
        bins = num_classes + 2
        column = torch.arange(1, 1 + target.shape[-1] * bins, bins, device=target.device)
        index = (target.clamp(-1, num_classes) + column).flatten()
        counts = totals.new_zeros(target.shape[-1] * bins)
        counts.scatter_add_(0, index, totals.new_ones(()).expand(index.shape))
        totals[:-2] += counts.view(-1, bins)[:, 1:-1].sum(0)
        totals[-2] += valid
        totals[-1] += stray

    def add_loss(self, loss: Tensor) -> None:
        """Count the term of one batch, a scalar."""
        losses = self._losses
        if losses is None or losses.device != loss.device:
            # Apple's devices have no float64.
            dtype = torch.float32 if loss.device.type == "mps" else torch.float64
            with nullcontext() if compiling() else torch.inference_mode(False):
                fresh = torch.zeros(2, dtype=dtype, device=loss.device)
            losses = fresh if losses is None else losses.to(fresh)
        with torch.no_grad():
            losses[0] += loss.detach()
            losses[1] += 1
        self._losses = losses

    def reset(self) -> None:
        """Forget every count."""
        for counted in (self._totals, self._losses):
            if counted is not None:
                counted.zero_()

    def summary(self) -> dict[str, Any]:
        """The counts since the last reset, as plain numbers. Waits for the device.

        Raises:
            LabelError: some labels were neither a class nor the ignore index.

        Warns:
            KeptShareWarning: next to none or next to all were kept, the first time that it is so.
        """
        *kept, valid, stray = self._totals.tolist() if self._totals is not None else (0, 0)
        if stray:
            raise LabelError(
                f"{stray} of {valid} pixels since the last reset had a label outside "
                f"0 ... {len(kept) - 1} that is not the ignore index, and were left out; "
                f"{STRAY_REMEDY}"
            )
        share = sum(kept) / valid if valid else None
        if share is not None:
            self._warn_of_extremes(share, valid)
        return {
            "kept": share,
            "kept_per_class": [count / valid if valid else None for count in kept],
            "kept_pixels": sum(kept),
            "kept_pixels_per_class": kept,
            "valid_pixels": valid,
            "loss": self._mean_loss(),
        }

    def _mean_loss(self) -> float | None:
        total, number = self._losses.tolist() if self._losses is not None else (0.0, 0.0)
        return total / number if number and math.isfinite(total) else None

    def _warn_of_extremes(self, share: float, valid: int) -> None:
        if share <= _EXTREME:
            remark = _NONE_KEPT
        elif share >= 1 - _EXTREME:
            remark = _ALL_KEPT
        else:
            return
        if remark in self._said:
            return
        self._said.add(remark)
        warnings.warn(
            f"kept {share:.2%} of {valid} valid pixels since the last reset; {remark}",
            KeptShareWarning,
            stacklevel=4,
        )

    def _totals_on(self, device: torch.device, num_classes: int) -> Tensor:
        totals = self._totals
        if totals is None:
            # Made under inference mode, a later training step could not add to it. The compiler
            # does not take this block, and does not need it.
            with nullcontext() if compiling() else torch.inference_mode(False):
                totals = torch.zeros(num_classes + 2, dtype=torch.int64, device=device)
        elif len(totals) != num_classes + 2:
            raise ShapeError(
                f"logits have {num_classes} classes and earlier ones had {len(totals) - 2}; use "
                f"one ConformalSupervision per class list"
            )
        elif totals.device != device:
            totals = totals.to(device)
        self._totals = totals
        return totals


STRAY_REMEDY = (
    "make the labels class indices, and mark dropped pixels with the ignore index and padding "
    "(254 in some hosts) with valid=False"
)

_NONE_KEPT = (
    "likely causes: the threshold is too strict for this annotator, pseudo-labels or valid are "
    "inverted or blank, or the label files belong to other images"
)
_ALL_KEPT = (
    "this is normal for foreground-first at a small alpha such as .05, where the threshold decides "
    "between object and background and drops nothing; otherwise likely causes: raw labels (argmax) "
    "were passed instead of filtered ones, the files mark dropped pixels with another number than "
    "ignore_index, or the threshold is so high that most-probable gives the argmax everywhere"
)
