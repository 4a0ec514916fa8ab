"""What every host's loop object does: align the data set, watch the loader, settle the losses."""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from conformal_plugin.adapters.labels import AlignedPseudoLabels, label_remarks, labelled_pixels
from conformal_plugin.adapters.loop._calling_script import CallingScript
from conformal_plugin.adapters.loop._epoch_log import EpochLog
from conformal_plugin.adapters.loop._host_config import HostConfig
from conformal_plugin.adapters.loop._losses_going_on import losses_going_on
from conformal_plugin.adapters.loop._proof import FirstSteps
from conformal_plugin.adapters.loop._views import ConformalViews
from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import InputTypeError, OptionError
from conformal_plugin.training import ConformalSupervision, TwoStage

__all__ = ["HostLoop", "beside"]

Losses = TypeVar("Losses", bound="Tensor | tuple[Tensor, ...]")


class HostLoop(ABC, Generic[Losses]):
    """The object that a host's script holds: it adds the conformal term to a loop as it stands.

    The script's own lines stay. Three calls are added::

        conformal = Loop(cfg, criterion_u)
        trainset_u = conformal.align(trainset_u)    # before its sampler and loader are made
        loader = conformal.watch(loader, epoch)     # before the loop over it
        losses = conformal(losses, preds)           # before they are added up

    :meth:`watch` takes the pseudo-label off each batch, so the loop's head unpacks what it always
    has, and remembers the batch; the call then finds pseudo-labels, CutMix boxes and padding there.
    Each batch must therefore be used up before the next one is fetched, as a plain loop does.

    The first step of stage I is looked at more closely, which reads a few values back from the
    device: where no gradient came back through the conformal losses, the run stops before the
    second step.

    Where ``cfg`` has no ``conformal:`` key, every call gives back what it was given.

    A host is a subclass with a ``term`` and :meth:`settle`; see ``docs/new-host.md``.

    Args:
        cfg: the host's YAML as a dict; its ``conformal:`` key is read by
            :class:`~conformal_plugin.adapters.loop.HostConfig`.
        criterion_u: the host's loss on unlabelled photos. Its copy without reduction is used.

    Raises:
        OptionError, InputTypeError: the config does not fit.
        CalibrationFileError: the calibration that the config names cannot be read.
    """

    term: ClassVar[type[ConformalViews]]
    """The host's term."""

    padding: ClassVar[int | None] = None
    """The label of padding in pseudo-labels; the config's ``ignore_index`` where this is None, for
    hosts whose samples have an ``ignore_mask`` that tells padding from filtered pixels."""

    logger: ClassVar[str] = "global"
    """The name of the host's logger."""

    def __init__(self, cfg: Mapping[str, Any], criterion_u: nn.Module) -> None:
        self.config = HostConfig.read(cfg)
        self.epoch: int | None = None
        self._parts: tuple[Any, ...] | None = None
        self._script: CallingScript | None = None
        self._settled = False
        if self.config is not None:
            self._first_steps = FirstSteps(self._log, alone=self.config.mode == "replace")
            self.conformal = self.term(
                _supervision(self.config, criterion_u), mode=self.config.mode
            )
            self._epochs = EpochLog(self.logger, _labelled(self.config))
            self._log(
                f"Conformal: stage I for {self.config.stage1_epochs} of {self.config.epochs} "
                f"epochs, mode {self.config.mode}, labels from {self.config.pseudo_labels}"
            )
            for remark in label_remarks(self.config.pseudo_labels):
                self._epochs.say(f"Conformal: of these labels: {remark}", logging.WARNING)

    def align(self, dataset: Any) -> Any:
        """The unlabelled data set, each sample with its pseudo-label at the end.

        Raises:
            SourceFileError: photos without a pseudo-label; all are looked up here.
            OptionError: a data set of another mode or another kind.
        """
        if self.config is None:
            return dataset
        return AlignedPseudoLabels(
            dataset,
            self.config.pseudo_labels,
            ignore_index=self.config.ignore_index,
            padding=self.padding,
        )

    def watch(self, loader: Iterable[Any], epoch: int) -> Iterable[Any]:
        """The batches of ``loader`` for one epoch, as the host's own data set would give them.

        The first call looks at what the calling function has bound, for TensorBoard's writers, and
        at its text, for losses on unlabelled photos that mode ``"replace"`` leaves as they are.

        Args:
            loader: what the host's loop goes over, batches ``(labelled, unlabelled, ...)``.
            epoch: the host's epoch, counted from 0.
        """
        self.epoch = epoch
        if self.config is None:
            return loader
        if self._script is None:
            self._script = CallingScript.of(sys._getframe(1), self)
            self._epochs.writers = self._script.writers
            if self.config.mode == "replace" and not self.conformal.is_hosts_turn(epoch):
                self._read_losses_that_go_on(self._script)
        return self._watched(loader, epoch)

    def __call__(self, losses: Losses, preds: Losses) -> Losses:
        """Give the host's unlabelled losses, get those to train on.

        Args:
            losses: the host's loss on each unlabelled view, a scalar each, in the host's order.
            preds: the logits of these views, ``(N, K, H, W)`` each.

        Returns:
            In stage I the conformal losses, or the sum of both in mode ``"add"``. In stage II, and
            where there is no ``conformal:`` key, ``losses``, the same tensors.

        Raises:
            OptionError: :meth:`watch` gave no batch before.
        """
        if self.config is None:
            return losses
        if self._parts is None:
            raise OptionError(
                "expected a batch from watch() before the losses: put "
                "'loader = conformal.watch(loader, epoch)' before the loop over the loader"
            )
        if self.conformal.is_hosts_turn(self.epoch):
            return losses
        self._settled = True
        settled = self.settle(losses, preds, self._parts)
        self._first_steps.settled((settled,) if isinstance(settled, Tensor) else settled)
        return settled

    @abstractmethod
    def settle(self, losses: Losses, preds: Losses, parts: Sequence[Any]) -> Losses:
        """Stage I: call ``self.conformal`` with what it needs of the batch's unlabelled parts.

        Args:
            losses: as the host's script gave them.
            preds: likewise.
            parts: the unlabelled parts of the batch with their pseudo-labels, on the CPU.
        """

    def host_part(self, part: Sequence[Any]) -> Any:
        """An unlabelled part of a batch as the host's own data set gives it."""
        return part[:-1]

    def _watched(self, loader: Iterable[Any], epoch: int) -> Iterator[Any]:
        self.conformal.supervise.reset()
        self._settled = False
        stage1 = not self.conformal.is_hosts_turn(epoch)
        try:
            for labelled, *parts in loader:
                for part in parts:
                    self._check_part(part)
                self._parts = tuple(parts)
                if stage1:
                    self._first_steps.begin()
                yield (labelled, *map(self.host_part, parts))
                if stage1:
                    self._check_settled(epoch)
                    self._first_steps.end()
        finally:
            self._first_steps.leave()
        if self._parts is not None:  # there was a batch
            self._parts = None
            self._end(epoch)

    def _check_part(self, part: Any) -> None:
        if not isinstance(part, (tuple, list)) or not (
            isinstance(part[-1], Tensor) and part[-1].ndim == 3 and part[-1].dtype == torch.int64
        ):
            raise InputTypeError(
                "expected each unlabelled batch to end with pseudo-labels (N, H, W), int64, but "
                f"this one is {_describe(part)}: put 'trainset_u = conformal.align(trainset_u)' "
                "before the sampler and the loader of trainset_u are made"
            )

    def _check_settled(self, epoch: int) -> None:
        if not self._settled:
            raise OptionError(f"epoch {epoch} is in stage I, but {self._nothing_settled()}")

    def _nothing_settled(self) -> str:
        return (
            "its losses never went through the conformal term: put 'losses = conformal(losses, "
            "preds)' before the line that adds them up"
        )

    def _end(self, epoch: int) -> None:
        if self.conformal.is_hosts_turn(epoch):
            self._epochs.stage_two(epoch)
            return
        # On every rank, as each counts its own pixels and knows of its own stray labels.
        self._epochs.stage_one(epoch, self.conformal.supervise.summary())

    def _log(self, line: str) -> None:
        self._epochs.say(line)

    def _read_losses_that_go_on(self, script: CallingScript) -> None:
        losses = losses_going_on(script.source, script.line, script.name)
        self._first_steps.read(script.file, losses or ())


def beside(pred: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """``tensors`` on the device of a prediction; nothing waits for the copy."""
    return tuple(tensor.to(pred.device, non_blocking=True) for tensor in tensors)


def _supervision(config: HostConfig, criterion_u: nn.Module) -> ConformalSupervision:
    calibration = None if config.calibration is None else Calibration.load(config.calibration)
    return ConformalSupervision(
        criterion_u,
        schedule=TwoStage(stage1=config.stage1_epochs, total=config.epochs),
        ignore_index=config.ignore_index,
        weight=config.weight,
        num_classes=None if calibration is None else calibration.num_classes,
    )


def _labelled(config: HostConfig) -> Sequence[int] | None:
    """Of each class, the labelled pixels that were calibrated on, where that is known."""
    if config.calibration is None:
        return labelled_pixels(config.pseudo_labels)
    pixels: list[int] = Calibration.load(config.calibration).pixels_per_class.tolist()
    return pixels


def _describe(part: Any) -> str:
    if isinstance(part, (tuple, list)):
        last = part[-1] if part else None
        return f"a {type(part).__name__} that ends with {_describe(last)}"
    if isinstance(part, Tensor):
        return f"a tensor {tuple(part.shape)} of {part.dtype}"
    return f"of type {type(part).__name__}"
