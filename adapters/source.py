"""Conformal labels at their source: where a script makes its pseudo-labels, not where it uses them.

For any script that makes a label and a confidence for each unlabelled photo, whatever it does with
them afterwards: CutMix, thresholds, further views, loss weights and mixed precision stay its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from conformal_plugin.adapters.loop import ConformalViews, HostLoop, beside
from conformal_plugin.errors import OptionError, ShapeError

__all__ = ["PADDING", "SourceLoop"]

PADDING = -1
"""The label of padding, which is neither kept nor counted; the script's own padding mask rules."""

_MOST_CLASSES = 255


class SourceLoop(HostLoop[Tensor]):
    """The object of a script whose labels are replaced where they are made.

    Four calls are added::

        conformal = SourceLoop(cfg)
        trainset_u = conformal.align(trainset_u)    # before its sampler and loader are made
        loader = conformal.watch(loader, epoch, parts=(1,))    # before the loop over it
        conf, label = conformal.source(conf, label, photos, part=1)    # where both are made

    In stage I :meth:`source` gives the conformal label and a confidence of 1 where the filter kept
    one; where it dropped the pixel, the script's own label and a confidence of 0, which no
    threshold lets through. In stage II, and without a ``conformal:`` key, it gives back what it was
    given, the same objects.

    The first step of stage I is followed closely: labels through all that the script does with
    them, into the losses that read them. The run stops before the second step where no gradient
    came back at pixels with a conformal label, or where one came back at pixels without.

    Args:
        cfg: the script's config as a dict, with ``epochs`` and the key ``conformal:``.

    Raises:
        OptionError, InputTypeError: the config does not fit; ``mode: add`` and a ``weight`` are for
            losses, which are the script's own here.
        CalibrationFileError: the calibration that the config names cannot be read.
    """

    term = ConformalViews
    padding = PADDING

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__(cfg, nn.CrossEntropyLoss(reduction="none"))
        self._positions: tuple[int, ...] = ()
        self._shown: dict[int, list[Tensor]] = {}
        self._classes = _MOST_CLASSES
        if self.config is None:
            return
        if self.config.mode == "add" or self.config.weight != 1:
            raise OptionError(
                "conformal: mode 'add' and a weight other than 1 are not for labels at their "
                "source: the script's own losses train on them, with its own weights. Take both "
                "out of the YAML"
            )
        known = self.conformal.supervise.num_classes
        for value in (known, cfg.get("nclass"), cfg.get("num_classes")):
            if isinstance(value, int) and value > 1:
                self._classes = value
                break

    def watch(
        self, loader: Iterable[Any], epoch: int, parts: Sequence[int] = (1,)
    ) -> Iterable[Any]:
        """The batches of ``loader`` for one epoch, as the script's own data set would give them.

        Args:
            loader: what the loop goes over, a tuple of batches each time.
            epoch: the script's epoch, counted from 0.
            parts: which of the tuple are of unlabelled photos, counted from 0.
        """
        self._positions = tuple(parts)
        return super().watch(loader, epoch)

    def source(
        self, confidence: Tensor, label: Tensor, photos: Tensor, *, part: int
    ) -> tuple[Tensor, Tensor]:
        """Give the script's confidence and label of a batch of photos, get those to train on.

        Args:
            confidence: how sure the model is of its labels, ``(N, H, W)``, floating point.
            label: its labels, ``(N, H, W)``, integers; of features, they may be smaller than the
                photos.
            photos: what it labelled, as the loader gave it, ``(N, C, H, W)``.
            part: which part of the batch they are, counted from 0.

        Returns:
            Confidence and label, in stage I new tensors, else those given.

        Raises:
            OptionError: :meth:`watch` gave no such part, or other photos.
            ShapeError: label and confidence differ in shape, or are of another batch.
        """
        if self.config is None:
            return confidence, label
        if self._parts is None or part not in self._positions:
            raise OptionError(
                f"expected a batch with part {part} from watch() before the labels: put 'loader = "
                f"conformal.watch(loader, epoch, parts=({part},))' before the loop over the loader"
            )
        if self.conformal.is_hosts_turn(self.epoch):
            return confidence, label
        (pseudo,) = beside(label, self._parts[self._positions.index(part)][-1])
        pseudo = _at_the_size(pseudo, label, confidence)
        self._check_photos(part, photos)
        self._settled = True
        valid = pseudo != PADDING
        self.conformal.supervise.count(pseudo, self._classes, valid)
        with torch.no_grad():
            kept = valid & (pseudo != self.config.ignore_index)
            given = torch.where(kept, pseudo.to(label.dtype), label)
            sure = kept.to(confidence.dtype)
        self._first_steps.hand_out(given, kept)
        return sure, given

    def settle(self, losses: Tensor, preds: Tensor, parts: Sequence[Any]) -> Tensor:
        """Not of use here: see :meth:`source`.

        Raises:
            OptionError: always.
        """
        raise OptionError("labels at their source have no losses to settle: call source() alone")

    def host_part(self, part: Sequence[Any]) -> Any:
        """An unlabelled part as the script's own data set gives it: a bare tensor stays one."""
        return part[0] if len(part) == 2 else part[:-1]

    def _watched(self, loader: Iterable[Any], epoch: int) -> Iterator[Any]:
        """The base class watches the unlabelled parts alone; the others pass by them."""
        whole: list[Any] = []

        def unlabelled() -> Iterator[Any]:
            for batch in loader:
                whole[:] = batch
                self._remember([batch[at] for at in self._positions])
                yield (None, *(batch[at] for at in self._positions))

        for _, *own in super()._watched(unlabelled(), epoch):
            for at, part in zip(self._positions, own):
                whole[at] = part
            yield tuple(whole)

    def _remember(self, parts: Sequence[Any]) -> None:
        """Keep the photos as they came, since scripts paste into them in place."""
        self._shown = {}
        if self._first_steps.pending and not self.conformal.is_hosts_turn(self.epoch):
            for at, part in zip(self._positions, parts):
                self._shown[at] = [one.clone() for one in part if _is_photo(one)]

    def _check_photos(self, part: int, photos: Tensor) -> None:
        for shown in self._shown.get(part, [photos]):
            if shown.shape == photos.shape and torch.equal(shown.to(photos.device), photos):
                return
        raise OptionError(
            f"the photos that the model labelled are not those of part {part} of the batch, as the "
            "loader gave them: something was pasted into them, or they come from elsewhere, so "
            "the conformal labels would not go with them"
        )

    def _nothing_settled(self) -> str:
        return (
            "its labels were never asked for: put 'conf, label = conformal.source(conf, label, "
            "photos, part=...)' where both are made. A script that trains on labelled photos alone "
            "at first has to begin with the unlabelled ones: set that warm-up to 0 epochs"
        )


def _at_the_size(pseudo: Tensor, label: Tensor, confidence: Tensor) -> Tensor:
    """Pseudo-labels at the size of a script's labels, nearest neighbours where that is smaller."""
    fits = label.shape == confidence.shape and label.ndim == 3 and len(label) == len(pseudo)
    if not fits or any(own > whole for own, whole in zip(label.shape[1:], pseudo.shape[1:])):
        raise ShapeError(
            f"expected label and confidence (N, H, W) of one shape, for the {len(pseudo)} photos "
            f"of the batch and no larger than these, {tuple(pseudo.shape[1:])}, but got "
            f"{tuple(label.shape)} and {tuple(confidence.shape)}: they are of other photos"
        )
    if label.shape == pseudo.shape:
        return pseudo
    size = (int(label.shape[1]), int(label.shape[2]))
    return nn.functional.interpolate(pseudo[:, None].double(), size)[:, 0].long()


def _is_photo(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4
