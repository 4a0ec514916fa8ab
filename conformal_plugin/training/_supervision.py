"""The conformal term of the training loss: any per-pixel criterion, on the kept pixels alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from conformal_plugin._compiling import compiling
from conformal_plugin.errors import InputTypeError, LabelError, OptionError, ShapeError
from conformal_plugin.labelling import check_rule, promised_rule
from conformal_plugin.scores import check_ignore_index
from conformal_plugin.training._batch_checks import (
    check_logits,
    check_valid,
    check_weights,
    checked_pseudo,
    classes_of,
)
from conformal_plugin.training._criteria import (
    Criterion,
    adds_up,
    called,
    ignored_label,
    of_pixels,
    without_mean,
)
from conformal_plugin.training._device_values import readable
from conformal_plugin.training._kept_log import STRAY_REMEDY, KeptLog
from conformal_plugin.training._kept_sum import (
    at_least_float32,
    lend,
    sum_over_kept,
    weighted_sum,
    zero,
)
from conformal_plugin.training._map_labels import (
    Thresholds,
    agreed_classes,
    labels_of_maps,
    least_by_dtype,
)
from conformal_plugin.training._named_losses import NamedLoss
from conformal_plugin.training._probe import probe, refuse
from conformal_plugin.training._resuming import epoch_of, saved_stage
from conformal_plugin.training._schedule import TwoStage, check_epoch

__all__ = ["ConformalSupervision"]

_DENOMINATORS = ("valid", "kept")


class ConformalSupervision(nn.Module):
    """The loss of a student on conformal pseudo-labels, with a criterion of the user's.

    Two kinds of criterion fit, told apart by what they return:

    - **A value per pixel** ``(N, H, W)``. A criterion with a ``reduction`` is of this kind: a copy
      of it with ``reduction="none"`` is used (for an ``nn.CrossEntropyLoss`` that took the mean one
      that adds up by itself, which is the same in less time), the user's object stays as it is. The
      term is the sum over the kept pixels, divided by the denominator. Class weights thus weigh the
      sum and, other than in ``nn.CrossEntropyLoss(weight, reduction="mean")``, not the denominator.
    - **A scalar**, such as Dice or OHEM losses. It is read as a mean over the kept pixels. In the
      first step a copy of the criterion is tried on a few pixels of its own: one that looks at
      dropped pixels, counts them in its mean, or returns a sum, is refused.

    Where your loss cannot leave pixels out, take one **by name**: ``"ce"``, ``"focal"``, ``"dice"``
    of a softmax, ``"bce"``, ``"sigmoid-focal"``, ``"sigmoid-dice"`` of sigmoid heads, or a sum of
    one kind such as ``"ce+dice"``; ``"smp:tversky"``, ``"monai:generalized-dice"`` and others are
    those of segmentation_models.pytorch and MONAI (docs/formats.md). A pixel's one label is class
    against all others for sigmoids; a head of one channel, ``(N, 1, H, W)``, is that of class 1,
    its label maps hold 0 and 1, and its score maps two classes.

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
            any other callable, returning one of the above; or a name.
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
        OptionError: an unknown rule, denominator or name of a loss, or a criterion that skips
            nothing.
        ShapeError: thresholds for another number of classes than ``num_classes``.
        LabelError: ``ignore_index`` is a class.
        UninformativeThresholdError: a threshold of 1 or more.
        MissingExtraError: a loss of a library that is not installed.

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

    # Whether the criterion has been tried, what it gave where that is still to be looked at, and
    # whether it has been called; of the class, since objects pickled by earlier versions have none.
    _tried = False
    _probed: Tensor | None = None
    _called = False

    def __init__(
        self,
        criterion: Criterion | str,
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
        self.criterion: Criterion = (
            NamedLoss(criterion, ignore_index)
            if isinstance(criterion, str)
            else without_mean(criterion)
        )
        self.calibration = calibration
        self.schedule = schedule
        self.rule, self.background = promised_rule(calibration, rule, background)
        self.ignore_index = ignore_index
        self.denominator = denominator
        self.weight = weight
        self.num_classes = agreed_classes(calibration, num_classes)
        self._skipped = ignored_label(self.criterion, ignore_index)
        self._least = {} if calibration is None else least_by_dtype(calibration, self.num_classes)
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
        weights: Tensor | None = None,
    ) -> Tensor:
        """The conformal term of one batch of unlabelled images.

        Args:
            logits: ``(N, K, H, W)``, or ``(N, K, D, H, W)`` of volumes, floating point; whatever
                the criterion takes. What follows is of the same size.
            pseudo: label maps ``(N, H, W)``, integers (class indices and ``ignore_index``), or
                class scores ``(N, K, H, W)`` in [0, 1], floating point, which are filtered with
                the calibration. Not looked at in stage II, where it may be None.
            epoch: the current epoch or iteration, counted from 0, in the schedule's unit; a Python
                number. Without it the last one counts, that of a loaded checkpoint included.
            valid: ``(N, H, W)`` bool, False on padding; None where there is none.
            weights: ``(N, H, W)``, floating point, at least 0: what each kept pixel counts for,
                against the others of the batch. The sum over the kept pixels becomes their weighted
                mean times their number, so that weights shift the term and do not scale it. For
                criteria with a value per pixel. As
                :func:`conformal_plugin.labelling.label_weights` gives them, cropped, flipped and
                mixed (:func:`conformal_plugin.cutmix`) as the labels; None to count all alike.

        Returns:
            A scalar in the graph of ``logits``; float32, or float64 for float64 logits.

        Raises:
            InputTypeError, ShapeError, DeviceMismatchError: arguments that do not fit.
            LabelError: on the CPU, a label that is neither a class nor ignored.
            ScoreError: on the CPU, a score that is NaN or outside [0, 1].
            UninformativeThresholdError: on the CPU, every class is in the set of every pixel.
            OptionError: scores without a calibration, a schedule without an epoch, a criterion that
                cannot be called so, weights with one that returns a scalar, or, on the CPU, weights
                that are negative or not finite, or a criterion that learns from dropped pixels.
        """
        named = self.criterion
        check_logits(logits, sigmoid=isinstance(named, NamedLoss) and named.sigmoid)
        if self._stage(epoch) == 2:
            return zero(logits)
        num_classes = classes_of(logits)
        self._check_classes(num_classes)
        given = checked_pseudo(logits, pseudo)
        check_valid(logits, valid)
        check_weights(logits, weights)
        if logits.numel() == 0:
            return zero(logits)

        with torch.no_grad():
            labels = self._labels(given)
            in_range = (labels >= 0) & (labels < num_classes)
            stray = self._count_stray(labels, in_range, valid)
            keep = in_range if valid is None else in_range & valid
            n_valid = labels.numel() if valid is None else valid.sum()
            n_kept = keep.sum()
            target = torch.where(keep, labels, self._skipped)
            self._log.add(target, n_valid, stray, num_classes)
            criterion = self.criterion if weights is None else of_pixels(self.criterion)
            sums = weights is None and adds_up(self.criterion)
            if not sums:
                lend(target, n_kept, num_classes)

        given = at_least_float32(logits)
        values = self._of_criterion(criterion, given, target)
        if weights is not None:
            total = weighted_sum(values, keep, n_kept, weights)
        elif sums:
            total = values
        else:
            if isinstance(values, Tensor) and values.ndim == 0:
                self._try_criterion(given)
            total = sum_over_kept(values, keep, n_kept)
        divisor = n_valid if self.denominator == "valid" else n_kept
        if isinstance(divisor, Tensor):
            divisor = divisor.clamp(min=1)
        term: Tensor = total * self.weight / divisor
        self._log.add_loss(term)
        return term

    def count(self, pseudo: Tensor, num_classes: int, valid: Tensor | None = None) -> None:
        """Count labels that a loss other than this one trains on, for :meth:`summary`.

        Args:
            pseudo: label maps ``(N, H, W)``, integers.
            num_classes: how many classes the model has.
            valid: ``(N, H, W)`` bool, False on padding; None where there is none.

        Raises:
            LabelError: on the CPU, a label that is neither a class nor ignored.
        """
        with torch.no_grad():
            labels = pseudo.long()
            in_range = (labels >= 0) & (labels < num_classes)
            stray = self._count_stray(labels, in_range, valid)
            keep = in_range if valid is None else in_range & valid
            n_valid = labels.numel() if valid is None else valid.sum()
            self._log.add(torch.where(keep, labels, -1), n_valid, stray, num_classes)

    def summary(self) -> dict[str, Any]:
        """What was kept since the last :meth:`reset`: the only call that waits for the device.

        Stage II is not counted. Under DistributedDataParallel each rank counts its own pixels.

        Returns:
            A dict, ready for JSON. ``kept`` is the share of valid pixels that were kept;
            ``kept_per_class``, the same by pseudo-label, which adds up to ``kept``;
            ``kept_pixels``, ``kept_pixels_per_class`` and ``valid_pixels``, the counts; ``loss``,
            the mean of the terms. Shares are None where no valid pixel was seen, the loss where
            there was none or where it is not finite.
            :class:`~conformal_plugin.training.TrainedOn` makes a line of it, with a warning where
            a class swallows the labels.

        Raises:
            LabelError: off the CPU, some labels were neither a class nor ignored.
            OptionError: off the CPU, the criterion learns from dropped pixels.

        Warns:
            KeptShareWarning: next to none or next to all of the pixels were kept; each is said
                once by this object, not at every call.
        """
        self._refuse_criterion()
        return self._log.summary()

    def reset(self) -> None:
        """Start counting anew, for instance at the beginning of an epoch."""
        self._log.reset()

    def begin_epoch(self, epoch: float) -> None:
        """Start counting anew, in this epoch, which calls that give none then go by.

        For loops whose step does not know the epoch; what frameworks call at its beginning is the
        place for it.

        Args:
            epoch: counted from 0, in the schedule's unit.

        Raises:
            InputTypeError: ``epoch`` is no Python number.
            OptionError: it is negative, NaN or infinite.
        """
        check_epoch(epoch)
        self._epoch = epoch
        self.reset()

    @property
    def stage(self) -> int:
        """The stage of the last epoch that was given; without a schedule always 1.

        Raises:
            OptionError: there is a schedule, and no epoch was given yet.
        """
        return self._stage(None)

    def get_extra_state(self) -> Tensor:
        """Epoch and schedule for ``state_dict``, as a float64 tensor ``(5,)`` on the CPU."""
        return saved_stage(self._epoch, self.schedule)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up the epoch of a checkpoint.

        Warns:
            ScheduleChangedWarning: the checkpoint was written under another schedule.
        """
        self._epoch = epoch_of(state, self.schedule)

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

    def _of_criterion(self, criterion: Criterion, logits: Tensor, target: Tensor) -> Any:
        """What the criterion returns, or why it cannot be called so."""
        if self._called or compiling():
            return criterion(logits, target)
        with called(logits, target, self._skipped):
            values = criterion(logits, target)
        self._called = True
        return values

    def _try_criterion(self, logits: Tensor) -> None:
        """Find out, once, whether a criterion that returns a scalar leaves dropped pixels out."""
        if self._tried or isinstance(self.criterion, NamedLoss) or compiling():
            return
        self._tried = True
        self._probed = probe(self.criterion, self._skipped, logits)
        if readable(logits):
            self._refuse_criterion()

    def _refuse_criterion(self) -> None:
        given, self._probed = self._probed, None
        if given is not None:
            refuse(given, self._skipped)

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
        if not pseudo.is_floating_point():
            return pseudo.long()
        if self.calibration is None:
            raise OptionError(
                "pseudo holds class scores (N, K, H, W), which need a threshold: expected "
                "ConformalSupervision(criterion, calibration=...), got none; pass one, or label "
                "maps (N, H, W) made with conformal_plugin.filter"
            )
        return labels_of_maps(
            pseudo,
            self.calibration,
            self._least,
            rule=self.rule,
            background=self.background,
            ignore_index=self.ignore_index,
        )

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
