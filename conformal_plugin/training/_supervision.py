"""The conformal term of the training loss: any per-pixel criterion, on the kept pixels alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import (
    InputTypeError,
    LabelError,
    OptionError,
    ShapeError,
)
from conformal_plugin.labelling import (
    Least,
    check_rule,
    filter,
    label_maps,
    least_scores,
    promised_rule,
    refuse_uninformative,
)
from conformal_plugin.scores import check_ignore_index, grid_named
from conformal_plugin.training._batch_checks import check_logits, check_valid, checked_pseudo
from conformal_plugin.training._criteria import Criterion, adds_up, ignored_label, without_mean
from conformal_plugin.training._device_values import readable
from conformal_plugin.training._kept_log import STRAY_REMEDY, KeptLog, KeptShareWarning
from conformal_plugin.training._schedule import TwoStage, check_epoch

__all__ = ["ConformalSupervision", "KeptShareWarning", "ScheduleChangedWarning"]

Thresholds = Calibration | float | Sequence[float] | np.ndarray[Any, Any]

_SCORE_DTYPES = ("float16", "bfloat16", "float32", "float64")
_DENOMINATORS = ("valid", "kept")


class ScheduleChangedWarning(UserWarning):
    """A checkpoint was written under another schedule than the one that goes on with it."""


class ConformalSupervision(nn.Module):
    """The loss of a student on conformal pseudo-labels, with a criterion of the user's.

    Two kinds of criterion fit, told apart by what they return:

    - **A value per pixel** ``(N, H, W)``. A criterion with a ``reduction`` is of this kind: a copy
      of it with ``reduction="none"`` is used (for an ``nn.CrossEntropyLoss`` that took the mean one
      that adds up by itself, which is the same in less time), the user's object stays as it is. The
      term is the sum over the kept pixels, divided by the denominator. Class weights thus weigh the
      sum and, other than in ``nn.CrossEntropyLoss(weight, reduction="mean")``, not the denominator.
    - **A scalar**, such as Dice or OHEM losses. It is read as a mean over the kept pixels, which
      are all that the criterion sees.

    ``denominator="valid"``, as the hosts do, divides by the number of pixels that are not padding:
    the term grows with the share of pixels that conformal filtering keeps. A scalar is multiplied
    by that share, which is the same thing. ``denominator="kept"`` divides by the number of kept
    pixels: every batch weighs the same, however few pixels it rests on; a scalar stays as it is.
    Under DistributedDataParallel the denominator is that of the rank's own batch, and gradients
    are averaged over ranks, as with any loss.

    Padded pixels (``valid`` False) and dropped ones (``ignore_index`` in ``pseudo``) both reach the
    criterion as the label that it skips: its own ``ignore_index`` (or ``ignore_label``) if it has
    one, else the ``ignore_index`` given here. Only padding is left out of the valid pixels.

    Without a kept pixel the term is a zero that stays in the graph, with gradients of zero; a
    criterion that returns a scalar is lent a few pixels and its result multiplied by zero, as a
    mean over nothing would be NaN. In stage II of the schedule the term is such a zero too, and the
    criterion is not called.

    Half-precision logits are converted to float32 before the criterion, and sums are taken in
    float32. An infinite or NaN logit, even at a dropped pixel, makes the gradients of most criteria
    NaN, as it does without this class; torch's ``GradScaler`` skips such a step.

    No value is read back from a GPU in a call, so nothing waits for it: labels that are neither a
    class nor ignored raise in the call on the CPU; on a GPU and under ``torch.compile`` they are
    left out, counted, and raise in :meth:`summary`. Likewise scores are looked at on the CPU alone;
    elsewhere a NaN score is in no prediction set.

    Args:
        criterion: ``criterion(logits (N, K, H, W), target (N, H, W) int64)``, an ``nn.Module`` or
            any other callable, returning one of the above.
        calibration: threshold that filters probability maps: a ``Calibration``, a number, or one
            number per class. Label maps need none.
        schedule: a ``TwoStage``; without one it is always stage I.
        rule, background: as in :func:`conformal_plugin.filter`, for probability maps.
        ignore_index: the label of dropped pixels in ``pseudo``.
        denominator: ``"valid"`` or ``"kept"``.
        weight: factor of the term, at least 0.
        num_classes: K, when it should be checked; a ``Calibration`` brings its own.

    Raises:
        InputTypeError: a criterion, schedule or weight of the wrong kind.
        OptionError: an unknown rule or denominator, or a criterion that skips nothing.
        ShapeError: thresholds for another number of classes than ``num_classes``.
        LabelError: ``ignore_index`` is a class.
        UninformativeThresholdError: a threshold of 1 or more.

    Example:
        >>> supervise = ConformalSupervision(nn.CrossEntropyLoss(), schedule=TwoStage.voc())
        >>> logits = torch.zeros(1, 2, 1, 2, requires_grad=True)
        >>> term = supervise(logits, torch.tensor([[[1, 255]]]), epoch=0)
        >>> round(term.item(), 4)  # log(2) at one of two valid pixels
        0.3466
        >>> supervise.summary()["kept"]
        0.5
        >>> supervise(logits, None, epoch=60).item()
        0.0
    """

    def __init__(
        self,
        criterion: Criterion,
        *,
        calibration: Thresholds | None = None,
        schedule: TwoStage | None = None,
        rule: str | None = None,
        background: int | None = None,
        ignore_index: int = 255,
        denominator: str = "valid",
        weight: float = 1.0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        _check_options(schedule, ignore_index, denominator, weight, num_classes)
        self.criterion = without_mean(criterion)
        self.calibration = calibration
        self.schedule = schedule
        self.rule, self.background = promised_rule(calibration, rule, background)
        self.ignore_index = ignore_index
        self.denominator = denominator
        self.weight = weight
        self.num_classes = _agreed_classes(calibration, num_classes)
        self._skipped = ignored_label(self.criterion, ignore_index)
        self._least = {} if calibration is None else _least_by_dtype(calibration, self.num_classes)
        self._epoch: float | None = None
        self._log = KeptLog()
        if self.num_classes is None:
            check_rule(self.rule, 0, 1)  # the name alone: background waits for K
        else:
            self._check_classes(self.num_classes)

    def forward(
        self,
        logits: Tensor,
        pseudo: Tensor | None,
        epoch: float | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """The conformal term of one batch of unlabelled images.

        Args:
            logits: ``(N, K, H, W)``, floating point; whatever the criterion takes.
            pseudo: label maps ``(N, H, W)``, integers (class indices and ``ignore_index``), or
                class scores ``(N, K, H, W)`` in [0, 1], floating point, which are filtered with
                the calibration. Not looked at in stage II, where it may be None.
            epoch: the current epoch or iteration, counted from 0, in the schedule's unit; a Python
                number. Without it the last one counts, that of a loaded checkpoint included.
            valid: ``(N, H, W)`` bool, False on padding; None where there is none.

        Returns:
            A scalar in the graph of ``logits``; float32, or float64 for float64 logits.

        Raises:
            InputTypeError, ShapeError, DeviceMismatchError: arguments that do not fit.
            LabelError: on the CPU, a label that is neither a class nor ignored.
            ScoreError: on the CPU, a score that is NaN or outside [0, 1].
            UninformativeThresholdError: on the CPU, every class is in the set of every pixel.
            OptionError: scores without a calibration, or a schedule without an epoch.
        """
        check_logits(logits)
        if self._stage(epoch) == 2:
            return _zero(logits)
        num_classes = logits.shape[1]
        self._check_classes(num_classes)
        given = checked_pseudo(logits, pseudo)
        check_valid(logits, valid)
        if logits.numel() == 0:
            return _zero(logits)

        with torch.no_grad():
            labels = self._labels(given)
            in_range = (labels >= 0) & (labels < num_classes)
            stray = self._count_stray(labels, in_range, valid)
            keep = in_range if valid is None else in_range & valid
            n_valid = labels.numel() if valid is None else valid.sum()
            n_kept = keep.sum()
            target = torch.where(keep, labels, self._skipped)
            self._log.add(target, n_valid, stray, num_classes)
            sums = adds_up(self.criterion)
            if not sums:
                _lend(target, n_kept, num_classes)

        values = self.criterion(_at_least_float32(logits), target)
        total = values if sums else self._sum_over_kept(values, keep, n_kept)
        divisor = n_valid if self.denominator == "valid" else n_kept
        if isinstance(divisor, Tensor):
            divisor = divisor.clamp(min=1)
        return total * self.weight / divisor

    def summary(self) -> dict[str, Any]:
        """What was kept since the last :meth:`reset`: the only call that waits for the device.

        Stage II is not counted. Under DistributedDataParallel each rank counts its own pixels.

        Returns:
            A dict of plain numbers, ready for JSON: ``kept``, the share of valid pixels that were
            kept; ``kept_per_class``, the same by pseudo-label, which adds up to ``kept``;
            ``kept_pixels``, ``kept_pixels_per_class`` and ``valid_pixels``, the counts. Shares are
            None where no valid pixel was seen.

        Raises:
            LabelError: off the CPU, some labels were neither a class nor ignored.

        Warns:
            KeptShareWarning: next to none or next to all of the pixels were kept; each is said
                once by this object, not at every call.
        """
        return self._log.summary()

    def reset(self) -> None:
        """Start counting anew, for instance at the beginning of an epoch."""
        self._log.reset()

    def get_extra_state(self) -> Tensor:
        """Epoch and schedule for ``state_dict``, as a float64 tensor ``(5,)`` on the CPU.

        A tensor, NaN where there is nothing, since some checkpoint formats hold nothing else.
        """
        epoch = math.nan if self._epoch is None else self._epoch
        return torch.tensor([epoch, *_numbers(self.schedule)], dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Take up the epoch of a checkpoint.

        Warns:
            ScheduleChangedWarning: the checkpoint was written under another schedule.
        """
        epoch, *saved = state.tolist()
        self._epoch = None if math.isnan(epoch) else epoch
        own = _numbers(self.schedule)
        if not np.array_equal(saved, own, equal_nan=True):
            warnings.warn(
                f"the checkpoint was written with {_describe(saved)} and this run has "
                f"{_describe(own)}, which is used; pass the saved numbers to ConformalSupervision "
                f"to go on as before",
                ScheduleChangedWarning,
                stacklevel=2,
            )

    def extra_repr(self) -> str:
        """The options, in the module's ``repr``."""
        return (
            f"rule={self.rule!r}, background={self.background}, ignore_index={self.ignore_index}, "
            f"denominator={self.denominator!r}, weight={self.weight:g}, "
            f"num_classes={self.num_classes}, schedule={self.schedule}, "
            f"calibration={self.calibration}"
        )

    def _stage(self, epoch: float | None) -> int:
        if epoch is not None:
            check_epoch(epoch)
            self._epoch = epoch
        if self.schedule is None:
            return 1
        current = self._epoch if epoch is None else epoch
        if current is None:
            raise OptionError(
                "a schedule needs the current epoch: expected epoch=, counted from 0, got None and "
                "no checkpoint with one; pass supervise(logits, pseudo, epoch=epoch)"
            )
        return self.schedule.stage(current)

    def _check_classes(self, num_classes: int) -> None:
        if self.num_classes is not None and num_classes != self.num_classes:
            raise ShapeError(
                f"expected logits with {self.num_classes} classes, (N, {self.num_classes}, H, W), "
                f"got {num_classes} channels; give the model the classes of the calibration"
            )
        check_rule(self.rule, self.background, num_classes)
        check_ignore_index(self.ignore_index, num_classes)
        if 0 <= self._skipped < num_classes:
            raise OptionError(
                f"the criterion skips label {self._skipped}, which is a class of the {num_classes} "
                f"classes here; build it with ignore_index={self.ignore_index}"
            )

    def _labels(self, pseudo: Tensor) -> Tensor:
        if pseudo.ndim == 3:
            return pseudo.long()
        if self.calibration is None:
            raise OptionError(
                "pseudo holds class scores (N, K, H, W), which need a threshold: expected "
                "ConformalSupervision(criterion, calibration=...), got none; pass one, or label "
                "maps (N, H, W) made with conformal_plugin.filter"
            )
        if readable(pseudo):
            labels: Tensor = filter(
                pseudo.detach(),
                self.calibration,
                rule=self.rule,
                background=self.background,
                ignore_index=self.ignore_index,
            )
            return labels.long()
        least = self._least[pseudo.dtype]
        return label_maps(
            pseudo,
            least if len(least) > 1 else least * pseudo.shape[1],
            rule=self.rule,
            background=self.background,
            ignore_index=self.ignore_index,
        ).long()

    def _count_stray(self, labels: Tensor, in_range: Tensor, valid: Tensor | None) -> Tensor:
        stray = (labels != self.ignore_index) & ~in_range
        if valid is not None:
            stray = stray & valid
        count = stray.sum()
        if readable(labels) and bool(count):
            found = labels[stray].unique().tolist()  # type: ignore[no-untyped-call]
            shown = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
            raise LabelError(
                f"pseudo-labels must be classes (below the number of logit channels) or the ignore "
                f"index {self.ignore_index}, got {shown} at {int(count)} pixels; {STRAY_REMEDY}"
            )
        return count

    def _sum_over_kept(self, values: Any, keep: Tensor, n_kept: Tensor) -> Tensor:
        if not isinstance(values, Tensor):
            raise InputTypeError(
                f"the criterion must return a tensor, got {type(values).__name__}; wrap it in a "
                f"function that returns the loss alone"
            )
        if values.ndim == 0:
            return _at_least_float32(values) * n_kept
        if values.shape != keep.shape:
            raise ShapeError(
                f"the criterion must return a scalar or one value per pixel, {tuple(keep.shape)}, "
                f"got {tuple(values.shape)}; if it has a reduction that it applies to something "
                f"else than pixels, wrap it: lambda logits, target: criterion(logits, target)"
            )
        return _at_least_float32(torch.where(keep, values, 0)).sum()


def _lend(target: Tensor, n_kept: Tensor, num_classes: int) -> None:
    """Where no pixel is kept, write one of each class into a row of the target, while they fit.

    A scalar criterion thus has something to average, even if it gives some classes no weight.
    """
    row = target[0, 0, :num_classes]
    classes = torch.arange(row.shape[0], device=target.device)
    row.copy_(torch.where(n_kept == 0, classes, row))


def _zero(logits: Tensor) -> Tensor:
    # The sum of an empty slice: unlike a product with zero it is 0 for infinite logits too.
    return _at_least_float32(logits[:0]).sum()


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _numbers(schedule: TwoStage | None) -> list[float]:
    if schedule is None:
        return [math.nan] * 4
    return [schedule.stage1, schedule.total, schedule.lambda_start, schedule.lambda_end]


def _describe(numbers: Sequence[float]) -> str:
    if any(map(math.isnan, numbers)):
        return "no schedule"
    stage1, total, start, end = numbers
    return f"TwoStage({stage1:g}, {total:g}, lambda_start={start:g}, lambda_end={end:g})"


def _agreed_classes(calibration: Thresholds | None, num_classes: int | None) -> int | None:
    if isinstance(calibration, Calibration):
        brought = calibration.num_classes
    elif calibration is not None and np.ndim(calibration):
        brought = len(calibration)  # type: ignore[arg-type]
    else:
        return num_classes
    if num_classes not in (None, brought):
        raise ShapeError(
            f"the calibration has {brought} classes and num_classes is {num_classes}; leave "
            f"num_classes out, or calibrate with the same class list"
        )
    return brought


def _least_by_dtype(calibration: Thresholds, num_classes: int | None) -> dict[torch.dtype, Least]:
    """The least score of each class by dtype of the maps; one for all where K is not known yet."""
    refuse_uninformative(calibration)
    return {
        getattr(torch, name): least_scores(calibration, grid_named(name), num_classes or 1)
        for name in _SCORE_DTYPES
    }


def _check_options(
    schedule: Any, ignore_index: Any, denominator: Any, weight: Any, num_classes: Any
) -> None:
    if schedule is not None and not isinstance(schedule, TwoStage):
        raise InputTypeError(
            f"schedule must be a TwoStage, got {type(schedule).__name__}; pass for example "
            f"TwoStage(stage1=60, total=80)"
        )
    if not isinstance(ignore_index, int) or isinstance(ignore_index, bool):
        raise InputTypeError(f"ignore_index must be an int, got {ignore_index!r}; 255 is usual")
    if denominator not in _DENOMINATORS:
        raise OptionError(
            f"denominator must be 'valid' (pixels that are not padding) or 'kept' (pixels with a "
            f"pseudo-label), got {denominator!r}"
        )
    if not isinstance(weight, (int, float)) or isinstance(weight, bool):
        raise InputTypeError(f"weight must be a number, got {weight!r}; 1.0 leaves the term as is")
    if not 0 <= weight < math.inf:
        raise OptionError(f"weight must be finite and at least 0, got {weight!r}")
    if num_classes is not None and (
        not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 2
    ):
        raise OptionError(f"num_classes must be a whole number of at least 2, got {num_classes!r}")
