"""Carries each pseudo-label through exactly the resize, crop and flip that its photo gets."""

from __future__ import annotations

import dis
import functools
import os
import threading
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from conformal_plugin._extras import optional
from conformal_plugin.adapters.labels._pseudo_labels import PseudoLabelFolder
from conformal_plugin.adapters.labels._streams import RandomStreams
from conformal_plugin.errors import InputTypeError, OptionError, ShapeError, SourceFileError

__all__ = ["AlignedPseudoLabels", "HostDataset"]

Image = optional("PIL.Image", "Pillow", "carrying pseudo-labels through a host's transforms")

# Labels travel as class id + this, so whatever value a host pads with is told from a label.
_LABEL_BASE = 1 << 16

# The random streams are the process's own: two threads drawing at once would mix their draws.
_one_sample_at_a_time = threading.Lock()


def _forget_held_lock() -> None:
    global _one_sample_at_a_time
    _one_sample_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):  # a worker forked while another thread holds the lock
    os.register_at_fork(after_in_child=_forget_held_lock)


class HostDataset(Protocol):
    """What the wrapper needs of the host's dataset: ``SemiDataset`` in ``train_u`` mode has it."""

    ids: Sequence[str]

    def __len__(self) -> int:
        """How many samples there are."""

    def __getitem__(self, item: int, /) -> Any:
        """The sample of ``ids[item]``, augmented through functions of the dataset's module."""


class AlignedPseudoLabels(Dataset[tuple[Any, ...]]):
    """The host's unlabelled dataset, with the aligned pseudo-label at the end of each sample.

    The host's code stays as it is: its own ``__getitem__`` runs, with the functions named in
    ``transforms`` wrapped for the length of that call. Each is called as the host calls it, then
    once more on the pseudo-label with the same random draws, after which the random streams stand
    where the host left them. A run with the wrapper therefore draws the same samples as one
    without it.

    A sample is the host's tuple with one element more, a label map ``(H, W)``, int64. Filtered
    pixels and padding hold ``ignore_index``; the host's ``ignore_mask`` tells the two apart, or
    ``padding`` does.
    Attributes that the wrapper lacks are the host dataset's.

    Args:
        dataset: the host's dataset in mode ``train_u``; ``ids`` holds lines ``IMAGE MASK``.
        pseudo_labels: a folder of label PNGs, see
            :class:`~conformal_plugin.adapters.labels.PseudoLabelFolder`.
        transforms: names of the functions, as the dataset's module knows them, that move pixels.
            Each is called as ``f(img, mask, ...)`` with Pillow images and returns both.
        ignore_index: the label of padding, where ``padding`` names none.
        padding: a label for padding alone, for hosts whose samples do not tell where it is.

    Raises:
        SourceFileError: ids without a pseudo-label (all are looked up here), and, when a sample is
            read, a damaged file or one whose size is not the photo's.
        OptionError: a dataset of another mode, or one that does not call ``transforms``.
    """

    def __init__(
        self,
        dataset: HostDataset,
        pseudo_labels: str | os.PathLike[str],
        *,
        transforms: Sequence[str] = ("resize", "crop", "hflip"),
        ignore_index: int = 255,
        padding: int | None = None,
    ) -> None:
        mode = getattr(dataset, "mode", "train_u")
        if mode != "train_u":
            raise OptionError(
                f"expected the unlabelled dataset, mode 'train_u', but got mode {mode!r}: labelled "
                "and validation photos have masks of their own, wrap only the unlabelled dataset"
            )
        _check_calls(dataset, transforms)
        self.dataset = dataset
        self.transforms = tuple(transforms)
        self.padding = ignore_index if padding is None else padding
        self._pseudo_labels = PseudoLabelFolder(pseudo_labels, dataset.ids)

    @property
    def ids(self) -> Sequence[str]:
        """The host's id lines, to be read; change ``dataset.ids`` before wrapping."""
        return self.dataset.ids

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int) -> tuple[Any, ...]:
        line = self.dataset.ids[item]
        carried = _Carried(self._pseudo_labels.read(line), line)
        getitem = type(self.dataset).__getitem__
        # A copy of the function over a namespace of its own: the host's module is never changed.
        namespace = dict(getitem.__globals__)
        namespace.update((name, carried.along(namespace[name])) for name in self.transforms)
        own = FunctionType(
            getitem.__code__, namespace, argdefs=getitem.__defaults__, closure=getitem.__closure__
        )
        own.__kwdefaults__ = getitem.__kwdefaults__
        with _one_sample_at_a_time:
            sample = own(self.dataset, item)
        sample = tuple(sample) if isinstance(sample, (tuple, list)) else (sample,)
        label = torch.from_numpy(carried.labels(self.padding))
        if sample[0].shape[-2:] != label.shape:
            raise ShapeError(
                f"the photo of {line!r} came out as {_size(sample[0].shape[-2:])} (H x W) and its "
                f"pseudo-label as {_size(label.shape)}: the host moves pixels with a function that "
                f"is not among transforms={self.transforms}, name it there"
            )
        return (*sample, label)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # not yet there while being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)


class _Carried:
    """One pseudo-label on its way through the host's transforms."""

    def __init__(self, labels: npt.NDArray[np.int32], line: str) -> None:
        self._image = Image.fromarray(labels + np.int32(_LABEL_BASE))
        self._line = line

    def along(self, transform: Callable[..., Any]) -> Callable[..., Any]:
        """``transform`` as the host calls it, replayed on the pseudo-label afterwards."""

        @functools.wraps(transform)
        def both(img: Any, mask: Any, *args: Any, **kwargs: Any) -> Any:
            self._check_size(img, transform.__name__)
            before = RandomStreams.capture()
            result = transform(img, mask, *args, **kwargs)
            after = RandomStreams.capture()
            before.restore()
            try:
                _, self._image = transform(img, self._image, *args, **kwargs)
                replayed = RandomStreams.capture()
            finally:
                after.restore()
            if replayed != after:
                raise OptionError(
                    f"the host's {transform.__name__!r} drew other random numbers for the "
                    f"pseudo-label of {self._line!r} than for its mask, so the two would not be "
                    "aligned: its draws must not depend on the mask's content, and no other "
                    "thread may draw from the same random stream meanwhile"
                )
            return result

        return both

    def labels(self, padding: int) -> npt.NDArray[np.int64]:
        """Class ids ``(H, W)``; every pixel that the host filled in holds ``padding``."""
        if self._image.mode != "I":
            raise InputTypeError(
                f"expected the host's transforms to keep the label image's mode I (int32), but it "
                f"came back as {self._image.mode!r}: a transform casts masks, for example to uint8"
            )
        values = np.asarray(self._image).astype(np.int64)
        return np.where(values >= _LABEL_BASE, values - _LABEL_BASE, padding)

    def _check_size(self, img: Any, name: str) -> None:
        if not isinstance(img, Image.Image):
            raise InputTypeError(
                f"expected the host to call {name!r} with a Pillow image, but it passed "
                f"{type(img).__name__}: convert after the geometric transforms"
            )
        if img.size != self._image.size:
            raise SourceFileError(
                f"photo and pseudo-label of {self._line!r} differ in size when {name!r} is "
                f"reached: {_size(img.size)} and {_size(self._image.size)} (W x H). Make the "
                "pseudo-label at the photo's size"
            )


def _check_calls(dataset: object, transforms: Sequence[str]) -> None:
    """Make sure that the ``__getitem__`` of ``dataset`` calls ``transforms`` in a way to wrap."""
    getitem = getattr(type(dataset), "__getitem__", None)
    if not isinstance(getitem, FunctionType):
        raise OptionError(
            f"expected the host's dataset with a __getitem__ written in Python, but got "
            f"{type(dataset).__name__}: wrap the host's own SemiDataset"
        )
    called = {step.argval for step in dis.get_instructions(getitem) if step.opname == "LOAD_GLOBAL"}
    unknown = [name for name in transforms if name not in called & getitem.__globals__.keys()]
    if unknown:
        raise OptionError(
            f"{type(dataset).__name__}.__getitem__ in {getitem.__module__} does not call "
            f"{', '.join(map(repr, unknown))} as a function of its module: wrap the host's own "
            "dataset (not a Subset or another wrapper of it), and give the functions that move "
            "pixels as transforms=(...)"
        )


def _size(size: Sequence[int]) -> str:
    return " x ".join(str(side) for side in size)
