"""From the numbers or colours that a user's masks hold to classes, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch

from conformal_plugin._messages import shortened, shown
from conformal_plugin.errors import LabelError, OptionError
from conformal_plugin.scores._arrays import back_to_kind, to_tensor
from conformal_plugin.scores._named_label_maps import NAMED, voc_colour

__all__ = ["LabelMap"]

IGNORE: Final = "ignore"
REST: Final = "*"
_REFUSE: Final = "refuse"
_INDICES: Final = "indices"
_REFUSED: Final = -(2**62)
_LARGEST: Final = 2**16
_COLOUR: Final = re.compile(r"#([0-9a-fA-F]{6})")
_SHOWN: Final = 8


class LabelMap:
    """What the values of masks mean: which is which class, and which are ignored.

    A value that is not named keeps its number, unless another value was given that number: two
    meanings of one number are refused. ``"*"`` says what becomes of all that are not named.

    Args:
        entries: from a value (``255``), a colour (``"#804080"`` or ``(128, 64, 128)``) or ``"*"``
            to a class (``0``), to ``"ignore"``, or, for ``"*"`` alone, to ``"refuse"``. Where
            colours are named the colours of a mask are read, and never its numbers.

    Raises:
        OptionError: something else.

    Example:
        >>> import numpy as np
        >>> from conformal_plugin import LabelMap
        >>> LabelMap({255: 1})(np.uint8([[0, 255]])).tolist()
        [[0, 1]]
        >>> LabelMap.of("reduce-zero-label")(np.uint8([[0, 1, 150, 255]])).tolist()
        [[255, 0, 149, 255]]
        >>> LabelMap.of("254=ignore,*=refuse,0=0,1=1").back(np.uint8([[0, 1, 255]])).tolist()
        [[0, 1, 254]]
    """

    def __init__(self, entries: Mapping[Any, Any]) -> None:
        self._values: dict[int, int | None] = {}
        self._colours: dict[int, int | None] = {}
        self._rest: str | None = None
        for key, target in entries.items():
            self._add(key, target)
        if self._values and self._colours:
            raise OptionError(
                "a label map names numbers or colours, and this one names both; the masks hold one "
                "of them: leave the other out"
            )

    @classmethod
    def of(cls, text: str) -> LabelMap:
        """A label map from its name or its entries.

        Args:
            text: ``"cityscapes"`` (ids to trainIds), ``"ade20k"`` and ``"reduce-zero-label"`` (0 is
                ignored, all others are one less), ``"one-more"`` (all are one more, where maps have
                a background first), ``"binary"`` (0, and 1 or 255), ``"binary-threshold"`` (below
                128, and from there on), ``"voc-colours"``, ``"indices"`` (numbers are
                classes, whatever colours a palette gives them); or entries such as
                ``"0=ignore,1=0,2=1,*=ignore"`` and ``"#804080=0,#f423e8=1"``.

        Raises:
            OptionError: neither a name nor entries.
        """
        if text in NAMED:
            return cls(NAMED[text]())
        if text == _INDICES:
            return cls({})
        pairs = [part.partition("=") for part in text.split(",")]
        if not all(equals for _, equals, _ in pairs):
            raise OptionError(
                f"a label map is one of {', '.join(NAMED)}, {_INDICES}, a JSON file that is there, "
                f"or entries such as 0=ignore,1=0,255=1, got {shown(text)}"
            )
        return cls({key.strip(): target.strip() for key, _, target in pairs})

    @property
    def text(self) -> str:
        """The entries, as :meth:`of` reads them."""
        named = [
            *((str(value), target) for value, target in self._values.items()),
            *((f"#{colour:06x}", target) for colour, target in self._colours.items()),
        ]
        parts = [f"{key}={IGNORE if target is None else target}" for key, target in named]
        if self._rest is not None:
            parts.append(f"{REST}={self._rest}")
        return ",".join(parts) or _INDICES

    @property
    def has_colours(self) -> bool:
        """Whether colours are what it maps."""
        return bool(self._colours)

    @property
    def classes(self) -> frozenset[int]:
        """The classes that something is mapped to by name."""
        return frozenset(target for target in self._targets() if target is not None)

    def __call__(self, labels: Any, ignore_index: int = 255) -> Any:
        """Classes from what masks hold.

        Args:
            labels: integers of any shape; NumPy, torch or DLPack.
            ignore_index: what ignored pixels become.

        Returns:
            The same kind and shape: uint8 where that holds every class and the ignore index, else
            int32.

        Raises:
            LabelError: a value that is refused.
            OptionError: the map is of colours.
        """
        if self._colours:
            raise OptionError(
                "this label map is of colours, and labels are numbers here; read the masks' "
                "colours with conformal_plugin.files.read_label(path, label_map)"
            )
        given = to_tensor(labels, "labels")
        if given.numel() == 0 or given.dtype.is_floating_point:
            raise LabelError(f"a label map takes integers, got {given.dtype}, {tuple(given.shape)}")
        values = given.to(torch.int64)
        low, high = (int(end) for end in torch.aminmax(values))
        if high - low > _LARGEST:
            raise LabelError(
                f"masks hold {low} ... {high}, which are no labels; were they read as numbers?"
            )
        table = self._table(low, high, ignore_index)
        mapped = torch.from_numpy(table).to(values.device)[values - low]
        if bool((mapped == _REFUSED).any()):
            self._refuse(torch.unique(values[mapped == _REFUSED]).tolist())
        return back_to_kind(labels)(mapped.to(_dtype(table, ignore_index)))

    def of_colours(self, pixels: np.ndarray[Any, Any], ignore_index: int = 255) -> Any:
        """Classes ``(H, W)`` from colours.

        Args:
            pixels: ``(H, W, 3)`` uint8.
            ignore_index: what ignored pixels become.

        Raises:
            LabelError: a colour that the map does not name.
        """
        wide = pixels.astype(np.int64)
        packed = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        present, places = np.unique(packed, return_inverse=True)
        rest = None if self._rest == IGNORE else _REFUSED
        table = np.array(
            [_number(self._colours.get(int(c), rest), ignore_index) for c in present],
            dtype=np.int64,
        )
        if (table == _REFUSED).any():
            self._refuse([f"#{colour:06x}" for colour in present[table == _REFUSED]])
        dtype = np.uint8 if _dtype(table, ignore_index) == torch.uint8 else np.int32
        return table[places.reshape(packed.shape)].astype(dtype)

    def back(self, labels: Any, ignore_index: int = 255, dropped: int | None = None) -> Any:
        """The numbers that the masks have for these classes.

        Args:
            labels: classes ``(H, W)``, a NumPy array.
            ignore_index: what ignored pixels hold.
            dropped: what they are to hold; by default the first number that the map ignores, or
                ``ignore_index`` where the map leaves that alone.

        Raises:
            OptionError: nothing is left for ignored pixels, or the map is of colours.
            LabelError: a class that no number stands for.
        """
        if self._colours:
            raise OptionError(
                "this label map is of colours, which are written as a palette of these colours "
                "without being asked for; leave --own-numbers out (in Python pass "
                "palette=label_map.palette() to conformal_plugin.files.write_label)"
            )
        own: dict[int, int] = {}
        for value, target in self._values.items():
            own.setdefault(ignore_index if target is None else target, value)
        if dropped is not None:
            if dropped in {own[target] for target in own if target != ignore_index}:
                raise OptionError(
                    f"dropped pixels cannot hold {dropped}, which is a class in the masks' own "
                    f"numbers; choose a number that is none"
                )
            own[ignore_index] = dropped
        spoken_for = self._values.keys() | (own.keys() - {ignore_index})
        if ignore_index not in own and ignore_index in spoken_for:
            raise OptionError(
                f"dropped pixels hold {ignore_index}, which is a class in the masks' own numbers; "
                f"say what they are to hold (--dropped on the command line)"
            )
        found = np.unique(np.asarray(labels))
        free = self._rest is None
        strange = [int(c) for c in found if int(c) not in own and (not free or c in spoken_for)]
        strange = [c for c in strange if c != ignore_index]
        if strange:
            raise LabelError(f"no number of the masks stands for {strange[:_SHOWN]}")
        table = {int(c): own.get(int(c), int(c)) for c in found}
        places = np.searchsorted(found, labels)
        numbers = np.array([table[int(c)] for c in found], dtype=np.int64)
        if len(numbers) and (numbers.min() < 0 or numbers.max() > 255):
            return numbers[places].astype(np.int32)
        return numbers[places].astype(np.uint8)

    def palette(self, ignore_index: int = 255) -> bytes:
        """The colours of the classes, 768 bytes, that of ignored pixels among them.

        What has none in the map gets one that the map does not name, of VOC's where these are free:
        code that reads colours would take it for a class.
        """
        targets = reversed(self._colours.items())
        own = {_number(target, ignore_index): colour for colour, target in targets}
        taken = set(self._colours)
        for index in range(256):
            if index not in own:
                colour = int.from_bytes(voc_colour(index), "big")
                while colour in taken:
                    colour = (colour + 1) % 2**24
                own[index] = colour
                taken.add(colour)
        return b"".join(own[index].to_bytes(3, "big") for index in range(256))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelMap) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"LabelMap.of({shortened(self.text)!r})"

    def _targets(self) -> Iterator[int | None]:
        yield from self._values.values()
        yield from self._colours.values()

    def _add(self, key: Any, target: Any) -> None:
        if key == REST:
            if target not in (IGNORE, _REFUSE):
                raise OptionError(f"* stands for {IGNORE} or {_REFUSE}, got {shown(target)}")
            self._rest = target
            return
        if target == IGNORE:
            number: int | None = None
        else:
            number = _whole(target)
            if number is None or not 0 <= number < _LARGEST:
                raise OptionError(
                    f"a class is a whole number from 0, or ignore, got {shown(target)}"
                )
        colour, value = _colour(key), _whole(key)
        if colour is not None:
            self._colours[colour] = number
        elif value is not None:
            self._values[value] = number
        else:
            raise OptionError(
                f"a label map is from numbers or colours such as #804080, got {shown(key)}"
            )

    def _table(self, low: int, high: int, ignore_index: int) -> np.ndarray[Any, Any]:
        """What each value from ``low`` to ``high`` becomes."""
        if self._rest is None:
            table = np.arange(low, high + 1, dtype=np.int64)
            for taken in self.classes:
                if low <= taken <= high:  # would have two meanings
                    table[taken - low] = _REFUSED
        else:
            rest = ignore_index if self._rest == IGNORE else _REFUSED
            table = np.full(high - low + 1, rest, dtype=np.int64)
        for value, target in self._values.items():
            if low <= value <= high:
                table[value - low] = _number(target, ignore_index)
        return table

    def _refuse(self, values: list[Any]) -> None:
        names = ", ".join(map(str, values[:_SHOWN])) + (", ..." if len(values) > _SHOWN else "")
        raise LabelError(
            f"masks hold {names}, and the label map says nothing of that: it is "
            f"{shortened(self.text)}; add an entry such as {values[0]}=ignore, or *=ignore for all "
            f"that are not named"
        )


def _number(target: int | None, ignore_index: int) -> int:
    return ignore_index if target is None else target


def _dtype(table: np.ndarray[Any, Any], ignore_index: int) -> torch.dtype:
    used = table[table != _REFUSED]
    low, high = min(used.min(initial=0), ignore_index), max(used.max(initial=0), ignore_index)
    return torch.uint8 if low >= 0 and high <= 255 else torch.int32


def _whole(value: Any) -> int | None:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,6}", value):
        return int(value)
    return None


def _colour(key: Any) -> int | None:
    if isinstance(key, str):
        match = _COLOUR.fullmatch(key)
        return int(match[1], 16) if match else None
    if isinstance(key, tuple) and len(key) == 3 and all(_whole(c) is not None for c in key):
        return int(bytes(key).hex(), 16) if all(0 <= c <= 255 for c in key) else None
    return None
