"""Carries each pseudo-label through exactly the resize, crop and flip that its photo gets."""

from __future__ import annotations

import dis
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from conformal_plugin.adapters.labels._in_flight import LabelInFlight
from conformal_plugin.adapters.labels._opened import OpenedPhotos
from conformal_plugin.adapters.labels._pseudo_labels import PseudoLabelFolder
from conformal_plugin.errors import InputTypeError, OptionError, ShapeError

__all__ = ["AlignedPseudoLabels", "HostDataset"]

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

    The host's code stays as it is: its own ``__getitem__`` runs, with the functions of its module
    wrapped for the length of that call. One that is called with the photo and its mask is called as
    the host calls it, then once more with the pseudo-label in the mask's place and the same random
    draws, after which the random streams stand where the host left them. A run with the wrapper
    therefore draws the same samples as one without it.

    That the label goes with its photo is seen in every sample: it is that of the line which
    ``__getitem__`` takes from ``ids``; the second call must do to the photo what the first did; and
    a view of the sample must be the photo that comes out, each channel up to scale and offset, or
    a mix of the photo's channels, as in grey.

    A sample is the host's tuple with one element more, a label map ``(H, W)``, int64. Filtered
    pixels and padding hold ``ignore_index``; the host's ``ignore_mask`` tells the two apart, or
    ``padding`` does.
    Attributes that the wrapper lacks are the host dataset's.

    Args:
        dataset: the host's dataset in mode ``train_u``; ``ids`` holds lines ``IMAGE MASK``.
        pseudo_labels: a folder of label PNGs, see
            :class:`~conformal_plugin.adapters.labels.PseudoLabelFolder`.
        transforms: names of the functions, as the dataset's module knows them, that move pixels;
            None: whichever of its module's functions ``__getitem__`` calls with the mask. Each is
            given photos and the mask, the mask last, as Pillow images or arrays, and returns them
            first, in that order; or it is given the photo alone, then the mask alone.
        ignore_index: the label of padding, where ``padding`` names none.
        padding: a label for padding alone, for hosts whose samples do not tell where it is.

    Raises:
        SourceFileError: ids without a pseudo-label (all are looked up here), and, when a sample is
            read, a damaged file or one whose size is not the photo's.
        OptionError: a dataset of another mode, one that does not call ``transforms``, and, when a
            sample is read, a label that cannot be shown to go with its photo.
    """

    def __init__(
        self,
        dataset: HostDataset,
        pseudo_labels: str | os.PathLike[str],
        *,
        transforms: Sequence[str] | None = None,
        ignore_index: int = 255,
        padding: int | None = None,
    ) -> None:
        mode = getattr(dataset, "mode", "train_u")
        if mode != "train_u":
            raise OptionError(
                f"expected the unlabelled dataset, mode 'train_u', but got mode {mode!r}: labelled "
                "and validation photos have masks of their own, wrap only the unlabelled dataset"
            )
        self.dataset = dataset
        self.transforms = _called(dataset, transforms)
        # One list for all that wrap this data set: each sample is made under the one lock.
        lines = dataset.ids
        self._lines = lines if isinstance(lines, _TakenLines) else _TakenLines(lines)
        dataset.ids = self._lines
        self.padding = ignore_index if padding is None else padding
        self._pseudo_labels = PseudoLabelFolder(pseudo_labels, dataset.ids)

    @property
    def ids(self) -> Sequence[str]:
        """The host's id lines, to be read; change ``dataset.ids`` before wrapping."""
        return self.dataset.ids

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int) -> tuple[Any, ...]:
        opened = OpenedPhotos()
        carried = LabelInFlight(self._read_taken, f"sample {item}", opened)
        getitem = type(self.dataset).__getitem__
        # A copy of the function over a namespace of its own: the host's module is never changed.
        namespace = dict(getitem.__globals__)
        namespace.update((name, carried.along(namespace[name])) for name in self.transforms)
        namespace.update(opened.watching(getitem.__globals__))
        own = FunctionType(
            getitem.__code__, namespace, argdefs=getitem.__defaults__, closure=getitem.__closure__
        )
        own.__kwdefaults__ = getitem.__kwdefaults__
        with _one_sample_at_a_time, self._lines.watched():
            sample = own(self.dataset, item)
            line = self._line_taken()
        sample = tuple(sample) if isinstance(sample, (tuple, list)) else (sample,)
        label = torch.from_numpy(carried.settled(sample, self.padding))
        shown = [one.shape[-2:] for one in sample if isinstance(one, torch.Tensor) and one.ndim > 2]
        if not shown:
            raise InputTypeError(
                f"expected a sample of {line!r} to hold the photo as a tensor (C, H, W), but it is "
                f"made of {', '.join(type(one).__name__ for one in sample)}"
            )
        if label.shape not in shown:
            raise ShapeError(
                f"the photo of {line!r} came out as {_size(shown[0])} (H x W) and its "
                f"pseudo-label as {_size(label.shape)}: the host moves pixels with a function that "
                f"is not among transforms={self.transforms}, name it there"
            )
        carried.check_views(sample)
        return (*sample, label)

    def _read_taken(self) -> tuple[str, npt.NDArray[np.int32]]:
        line = self._line_taken()
        return line, self._pseudo_labels.read(line)

    def _line_taken(self) -> str:
        """The line of the sample that is being made, which need not be that of its number."""
        lines = list(dict.fromkeys(self._lines.taken))
        if len(lines) == 1:
            return lines[0]
        came = f"{len(lines)} lines, {lines[0]!r} and others" if lines else "none"
        raise OptionError(
            f"expected {type(self.dataset).__name__}.__getitem__ to take one line from self.ids "
            f"for a sample, so that its pseudo-label is known, but it took {came}: a sample of "
            "several photos, or of a list of its own, has no label here"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # not yet there while being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)


class _TakenLines(list[str]):
    """A host's id list that notes which lines a sample is made of."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(lines)
        self.taken: list[str] = []
        self._thread: int | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note what is taken from now on, for one sample."""
        self.taken.clear()
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = None

    def __getitem__(self, item: Any) -> Any:
        value = super().__getitem__(item)
        if self._thread == threading.get_ident() and isinstance(value, str):
            self.taken.append(value)
        return value


def _called(dataset: object, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The functions of its module that the ``__getitem__`` of ``dataset`` calls: those wanted."""
    getitem = getattr(type(dataset), "__getitem__", None)
    if not isinstance(getitem, FunctionType):
        raise OptionError(
            f"expected the host's dataset with a __getitem__ written in Python, but got "
            f"{type(dataset).__name__}: wrap the host's own SemiDataset"
        )
    names = {step.argval for step in dis.get_instructions(getitem) if step.opname == "LOAD_GLOBAL"}
    known = [name for name in getitem.__globals__ if name in names]
    if wanted is None:
        found = tuple(name for name in known if _is_function(getitem.__globals__[name]))
        unknown = [] if found else ["any function"]
    else:
        found = tuple(wanted)
        unknown = [repr(name) for name in wanted if name not in known]
    if unknown:
        raise OptionError(
            f"{type(dataset).__name__}.__getitem__ in {getitem.__module__} does not call "
            f"{', '.join(unknown)} as a function of its module: wrap the host's own dataset (not a "
            "Subset or another wrapper of it), whose functions take photo and mask together, or "
            "give the functions that move pixels as transforms=(...)"
        )
    return found


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type)


def _size(size: Sequence[int]) -> str:
    return " x ".join(str(side) for side in size)
