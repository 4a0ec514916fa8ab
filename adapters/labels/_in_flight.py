"""One pseudo-label on its way through a host's functions, held to its photo by the pixels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from conformal_plugin._extras import optional
from conformal_plugin.adapters.labels._host_call import HostCall, is_picture
from conformal_plugin.adapters.labels._opened import OpenedPhotos
from conformal_plugin.adapters.labels._showing import same, shows, size_of
from conformal_plugin.adapters.labels._streams import RandomStreams
from conformal_plugin.errors import InputTypeError, OptionError, ShapeError, SourceFileError

__all__ = ["LabelInFlight"]

Image = optional("PIL.Image", "Pillow", "carrying pseudo-labels through a host's transforms")

# Labels travel as class id * _APART + _LABEL_BASE. Whatever value a host pads with is then told
# from a label, and so is what comes of interpolating between two of them.
_LABEL_BASE = 1 << 16
_APART = 1 << 12


@dataclass
class _Alone:
    """A call with the photo alone, which the same call with the mask alone may follow."""

    call: HostCall
    given: Any
    result: Any
    drew: bool


class LabelInFlight:
    """The pseudo-label of one sample, in the place where its mask would be.

    A host's function that is called with the mask, alone or beside its photo, is called once more
    with the pseudo-label in the mask's place and the same random draws. What it then does to the
    photo must be what it did before, pixel for pixel: a crop that looks at what the mask holds
    would cut another piece for the label, and is refused. Where no function moves the two, the
    label stays as it lies in its file, if the sample shows the photo as it was opened.

    Args:
        read: gives the line of the host's id list that the photo is of, and its class ids
            ``(H, W)``; called when the first function is given the mask.
        line: what messages call the sample until then.
        opened: what the sample opens.
    """

    def __init__(
        self,
        read: Callable[[], tuple[str, npt.NDArray[np.int32]]],
        line: str,
        opened: OpenedPhotos,
    ) -> None:
        self._read = read
        self._opened = opened
        self._labels: Any = None
        self._line = line
        self._mask: Any = None  # the host's own mask, as the last function left it
        self._photos: list[Any] = []
        self._alone: list[_Alone] = []
        self._through: list[str] = []
        self._kept_back: list[str] = []  # functions that gave no photo and mask back

    def along(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` as the host calls it, once more for the label where that goes along."""

        @functools.wraps(function)
        def both(*args: Any, **kwargs: Any) -> Any:
            call = HostCall(function, args, kwargs)
            given = [call.at(slot) for slot in call.slots()]
            if not given:
                return call.make()
            if self._mask is None and len(given) > 1:
                self._start(given, call.name)
            elif self._mask is None and self._follows_photo(call, given[0]):
                self._start([self._alone[-1].given, given[0]], call.name)
            at = next((at for at, one in enumerate(given) if one is self._mask), None)
            if at is None:
                return self._photo_alone(call, given[0])
            return self._mask_alone(call) if len(given) == 1 else self._together(call, at)

        return both

    def settled(self, sample: Sequence[Any], padding: int) -> npt.NDArray[np.int64]:
        """Class ids ``(H, W)``; every pixel that the host filled in holds ``padding``.

        Raises:
            OptionError: the host passed its mask to no function and moved the photo, or blends
                neighbouring labels.
            InputTypeError: a function casts masks.
            SourceFileError: photo and label, which stay as they lie in their files, differ in size.
        """
        if not self._through:
            self._stay(sample)
        values = np.asarray(self._labels).astype(np.int64)
        inside = values >= _LABEL_BASE
        if bool(((values[inside] - _LABEL_BASE) % _APART).any()):
            raise OptionError(
                f"{self._names()} blended neighbouring labels of {self._line!r}, as bilinear "
                "resizing does: expected the last picture that they are given to be the mask, "
                "moved by nearest neighbour"
            )
        return np.where(inside, (values - _LABEL_BASE) // _APART, padding)

    def check_views(self, sample: Iterable[Any]) -> None:
        """Make sure that the sample shows the photo as the pseudo-label has gone along with it.

        Raises:
            OptionError: no view of the sample is the photo, but for its colours' scale.
        """
        if not _all_shown(self._photos, sample):
            raise OptionError(
                f"no view in the sample of {self._line!r} is the photo as {self._names()} left "
                "it, so the pseudo-label may not go with what the model sees: the host moves "
                "or changes pixels in a way that the label was not taken along. Pass photo and "
                "mask together through a function of the data set's module, and keep one view "
                "as it then is"
            )

    def _names(self) -> str:
        return ", ".join(map(repr, dict.fromkeys(self._through)))

    def _start(self, pictures: Sequence[Any], name: str) -> None:
        """Take photos and mask out of the pictures of the first call with several."""
        mask_at = _mask_place(pictures)
        self._photos, self._mask = list(pictures[:mask_at]), pictures[mask_at]
        self._read_label()
        if isinstance(self._mask, np.ndarray):
            if np.issubdtype(self._mask.dtype, np.floating):
                self._labels = self._labels.astype(np.float64)
        else:
            self._labels = Image.fromarray(self._labels)
        self._check_size(f"when {name!r} is reached")

    def _read_label(self) -> None:
        self._line, labels = self._read()
        self._labels = labels * np.int32(_APART) + np.int32(_LABEL_BASE)

    def _stay(self, sample: Sequence[Any]) -> None:
        """Leave the label as its file has it, beside a photo that was not moved either."""
        self._photos = self._opened.photos()
        if not self._photos or not _all_shown(self._photos, sample):
            raise self._not_along()
        if self._labels is None:
            self._read_label()
        self._check_size("in their files")

    def _not_along(self) -> OptionError:
        if self._kept_back:
            done = (
                f"for {self._line!r} the host's {self._kept_back[0]!r} was given the photo and its "
                "mask, and did not give both back as pictures, so the pseudo-label could not go "
                "along: expected (photo, mask), or more behind them, as in "
                "img, mask = crop(img, mask, size)"
            )
        else:
            done = (
                f"for {self._line!r} the host's __getitem__ called no function of its module with "
                "the photo and its mask, so the pseudo-label could not go along: photo and mask "
                "have to be passed on together, as in img, mask = crop(img, mask, size)"
            )
        return OptionError(
            f"{done}. None is needed where a view in the sample is the photo as __getitem__ opens "
            "it, which none was seen to be"
        )

    def _check_size(self, where: str) -> None:
        sizes = {size_of(picture) for picture in (*self._photos, self._labels)}
        if len(sizes) > 1:
            raise SourceFileError(
                f"photo and pseudo-label of {self._line!r} differ in size {where}: "
                f"{_by(size_of(self._photos[0]))} and {_by(size_of(self._labels))} (W x H). "
                "Make the pseudo-label at the photo's size"
            )

    def _together(self, call: HostCall, mask_at: int) -> Any:
        """A call with photos and the mask, which is picture number ``mask_at`` of it."""
        slots = call.slots()
        before = RandomStreams.capture()
        result = call.make()
        after = RandomStreams.capture()
        least = mask_at + 1 if mask_at else len(slots)
        theirs = _returned(result, least, len(slots))
        if theirs is None:  # it makes tensors of them, or an answer: check_views has the last word
            self._kept_back.append(call.name)
            return result
        again, drawn = _replayed(call.having(slots[mask_at], self._labels), before, after)
        name = call.name
        if drawn != after:
            raise OptionError(
                f"the host's {name!r} drew other random numbers for the pseudo-label of "
                f"{self._line!r} than for its mask, so the two would not be aligned: its draws "
                "must not depend on the mask's content, and no other thread may draw from the "
                "same random stream meanwhile"
            )
        ours = _returned(again, len(theirs), len(theirs)) or [None] * len(theirs)
        for number in range(len(theirs)):
            if number != mask_at and not same(theirs[number], ours[number]):
                raise OptionError(
                    f"the host's {name!r} did something else to the photo of {self._line!r} with "
                    "the pseudo-label beside it than with its mask: it looks at what the mask "
                    "holds, so no label can be aligned with what it leaves. Use a function whose "
                    "choice does not depend on the mask, or list label files as masks"
                )
        self._check_start(name)
        self._mask, label = theirs[mask_at], ours[mask_at]
        self._photos = theirs[:mask_at] or theirs[1:]
        self._take(label, name)
        return result

    def _photo_alone(self, call: HostCall, given: Any) -> Any:
        its_own = self._mask is None or any(given is photo for photo in self._photos)
        if len(self._photos) >= 2 or not its_own:
            return call.make()  # looking at the streams takes longer than most calls
        before = RandomStreams.capture()
        result = call.make()
        if is_picture(result):
            drew = RandomStreams.capture() != before
            self._alone.append(_Alone(call, given, result, drew))
        return result

    def _follows_photo(self, call: HostCall, given: Any) -> bool:
        """Whether this is the call just before once more, with what may be the mask."""
        if not self._alone:
            return False
        last = self._alone[-1]
        again = call.like(last.call) and given is not last.given
        return again and not last.drew and _may_be_mask(given)

    def _mask_alone(self, call: HostCall) -> Any:
        """The same call as one before with the photo alone: the label goes along with both."""
        result = call.make()
        if not is_picture(result):
            return result
        for before in self._alone[::-1]:
            again = call.like(before.call) and not before.drew
            if again and size_of(before.result) == size_of(result):
                self._check_start(call.name)
                self._mask, self._photos = result, [before.result]
                self._take(call.having(call.slots()[0], self._labels).make(), call.name)
                break
        return result

    def _check_start(self, name: str) -> None:
        """Make sure that the first function was given the photo that the label file is of.

        A strong view or a depth map may be beside it.
        """
        if not self._through and all(map(self._opened.moved, self._photos)):
            raise OptionError(
                f"the photo of {self._line!r} was changed or moved between its file and {name!r}, "
                "the first function that is given it with its mask, so the pseudo-label, which is "
                "read there, may not go with it: let a function of the data set's module that is "
                "given both do so, and change colours behind it"
            )

    def _take(self, label: Any, name: str) -> None:
        mode = getattr(label, "mode", "I")
        narrow = isinstance(label, np.ndarray) and label.dtype.itemsize < 4
        if mode != "I" or narrow:
            came = repr(mode) if mode != "I" else f"an array of {label.dtype}"
            raise InputTypeError(
                "expected the host's transforms to keep the label image's mode I (int32), but it "
                f"came back as {came}: a transform casts masks, for example to uint8"
            )
        self._labels = label
        self._through.append(name)
        if self._photos and size_of(self._photos[0]) != size_of(label):
            raise ShapeError(
                f"{name!r} left the photo of {self._line!r} at {_by(size_of(self._photos[0]))} and "
                f"its label at {_by(size_of(label))} (W x H); expected one size"
            )


def _replayed(
    call: HostCall, before: RandomStreams, after: RandomStreams
) -> tuple[Any, RandomStreams]:
    """What a call gives with the random draws that followed ``before``, and where those end."""
    before.restore()
    try:
        result = call.make()
        return result, RandomStreams.capture()
    finally:
        after.restore()


def _may_be_mask(picture: Any) -> bool:
    """Whether a picture has one channel of whole numbers."""
    if isinstance(picture, np.ndarray):
        return picture.ndim == 2 and bool((picture == np.floor(picture)).all())
    return picture.mode in ("1", "L", "P", "I", "I;16")


def _mask_place(pictures: Sequence[Any]) -> int:
    """Which picture is the mask: the last of one channel, behind a photo; else the last."""
    for at in range(len(pictures) - 1, 0, -1):
        if _channels(pictures[at]) == 1:
            return at
    return len(pictures) - 1


def _channels(picture: Any) -> int:
    if isinstance(picture, np.ndarray):
        return math.prod(picture.shape[2:])
    return len(picture.getbands())


def _returned(result: Any, least: int, most: int) -> list[Any] | None:
    """The pictures that a function gave back, in the order in which it was given them."""
    if not isinstance(result, (tuple, list)):
        return None
    pictures = [one for one in result if is_picture(one)]
    return pictures[:most] if len(pictures) >= least else None


def _all_shown(photos: Sequence[Any], sample: Iterable[Any]) -> bool:
    """Whether each photo is shown by a view of the sample."""
    views = [one for one in sample if isinstance(one, torch.Tensor) and one.ndim == 3]
    return all(any(shows(view, photo) for view in views) for photo in photos)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
