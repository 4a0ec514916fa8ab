"""One score map as bytes: rounded to a stated precision, predicted from neighbours, deflated.

A store file is a header, one bit per class that tells whether its plane holds anything but zeros,
and the deflated planes. Version 1:

======  ==================================================================
bytes   content
======  ==================================================================
8       ``MAGIC``
1       version, 1
1       precision in bits, 8 ... 11 or 16
1       how plane 0 is predicted: 0 not at all, 1 as one minus the sum of
        the others, 2 as one minus the largest of them
1       S, the bytes at the end that tell what the map was made from; 0 at first
4 x 3   K, H, W, unsigned, little-endian, as all numbers here
16      digest of the annotator that made the map
4       length of what follows the header
4       CRC-32 of the header before this field and of what follows it
(K+7)/8 the bits of the planes, the first class in the lowest bit
        raw deflate: the high bytes of all residuals, then their low bytes
S       what the map was made from; readers of a map pass over it
======  ==================================================================

Version 2 is of volumes: it has D between K and H, and a plane's slices below each other.

A plane's levels are whole numbers: multiples of ``2**-bits``, or float16 patterns at 16 bits. Each
is predicted as left + upper - upper left, and the difference, modulo 2**16, is folded so that small
ones of either sign have a high byte of zero.

Other codecs were compared: planes of 11 bits as JPEG-LS are 20 % larger and take as long.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from conformal_plugin.errors import (
    InputTypeError,
    OptionError,
    ScoreError,
    ShapeError,
    SourceFileError as Damaged,
)
from conformal_plugin.files._memory import LARGEST_MAP_BYTES, require_room
from conformal_plugin.scores import PART_BYTES, ScoreParts, to_tensor

__all__ = [
    "DEFAULT_PRECISION",
    "DIGEST_BYTES",
    "FLOAT16",
    "HEADER_BYTES",
    "MAGIC",
    "MOST_HEADER_BYTES",
    "MOST_SOURCE_BYTES",
    "PRECISIONS",
    "Header",
    "check_precision",
    "decode",
    "encode",
    "encoded",
    "read_header",
    "rounded",
]

MAGIC = b"\x89CPMAP\r\n"
DIGEST_BYTES = 16
MOST_SOURCE_BYTES = 255
FLOAT16 = 16
"""The precision at which a float16 map comes back bit for bit."""
PRECISIONS = (8, 9, 10, 11, FLOAT16)
DEFAULT_PRECISION = 11
"""Up to 11 bits each multiple of ``2**-bits`` is a float16 number."""

_IMAGE, _VOLUME = 1, 2
_FIELDS = {
    version: struct.Struct(f"<8s4B{sides}I{DIGEST_BYTES}sI")
    for version, sides in ((_IMAGE, 3), (_VOLUME, 4))
}
_CHECK = struct.Struct("<I")
HEADER_BYTES, MOST_HEADER_BYTES = (fields.size + _CHECK.size for fields in _FIELDS.values())
"""Of an image's map, and of any."""
_ONE_AS_FLOAT16 = 0x3C00
_UNITS = 2**24
"""Each float16 number in [0, 1] is a multiple of 2**-24, so that sums in these units are exact."""
_ALONE, _LESS_SUM, _LESS_LARGEST = range(3)
_LARGEST_SIDE = 2**16
_LARGEST_MAP = 2**31

Levels = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Header:
    """What a store file says before its planes.

    Attributes:
        shape: ``(K, H, W)`` or ``(K, D, H, W)``.
        precision: in bits, one of ``PRECISIONS``.
        digest: of the annotator, ``DIGEST_BYTES`` bytes.
        length: bytes of the whole file.
        source_bytes: how many of these, at the end, tell what the map was made from.
    """

    shape: tuple[int, ...]
    precision: int
    digest: bytes
    length: int
    source_bytes: int


def check_precision(precision: int) -> None:
    """Refuse a precision that the store has not.

    Raises:
        OptionError: with those that there are.
    """
    if precision not in PRECISIONS:
        raise OptionError(
            f"precision must be one of {', '.join(map(str, PRECISIONS))} bits, got {precision!r}; "
            f"{DEFAULT_PRECISION} is as fine as float16 is near 1, {FLOAT16} is float16 itself"
        )


def rounded(scores: Any, precision: int = DEFAULT_PRECISION) -> npt.NDArray[np.float16]:
    """The float16 scores that come back from a store of this precision.

    At 8 to 11 bits each score becomes the nearest multiple of ``2**-precision``, at most
    ``2**-(precision + 1)`` away. Rounding is monotone, and an order statistic of rounded scores is
    the rounded order statistic: q-hat moves by at most that much, and float16 scores of one half
    or more do not move at all at 11 bits. At 16 bits float16 scores stay as they are, and wider
    ones are rounded to float16.

    Args:
        scores: ``(K, H, W)`` or ``(K, D, H, W)`` in [0, 1]: NumPy or torch, of any floating-point
            dtype.
        precision: one of ``PRECISIONS``.

    Raises:
        InputTypeError, ShapeError, ScoreError: no such scores.
        OptionError: no such precision.
    """
    return _values(_levels(scores, precision), precision)


def encode(
    scores: Any,
    *,
    precision: int = DEFAULT_PRECISION,
    digest: bytes = bytes(DIGEST_BYTES),
    source: bytes = b"",
) -> bytes:
    """A map as the content of a store file; arguments and errors as for :func:`rounded`.

    Args:
        scores: ``(K, H, W)`` or ``(K, D, H, W)`` in [0, 1].
        precision: one of ``PRECISIONS``.
        digest: ``DIGEST_BYTES`` bytes that tell the annotator.
        source: what the map is made from, at most ``MOST_SOURCE_BYTES`` bytes.
    """
    return b"".join(encoded(scores, precision, digest, source))


def encoded(scores: Any, precision: int, digest: bytes, source: bytes) -> list[bytes]:
    """The pieces of what :func:`encode` gives.

    Of scores that are read part by part two bytes each are in memory, and what is written.
    """
    given = _levels(scores, precision)
    levels = given.reshape(len(given), -1, given.shape[-1])
    present = np.array([bool(plane.any()) for plane in levels])
    planes = [plane for plane, there in zip(levels, present) if there]
    rule = _ALONE
    if present[0]:
        rule, planes[0] = _best_prediction(planes, precision)
    for plane in planes:  # in place: of a large map only one plane more is in memory
        plane[:] = _residuals(plane)
    bits = np.packbits(present, bitorder="little").tobytes()
    body = [bits, *_deflated(planes), source]
    version = _IMAGE if given.ndim == 3 else _VOLUME
    length = _FIELDS[version].size + _CHECK.size + sum(map(len, body))
    head = _FIELDS[version].pack(
        MAGIC, version, precision, rule, len(source), *given.shape, digest, length
    )
    check = zlib.crc32(head)
    for piece in body:
        check = zlib.crc32(piece, check)
    return [head, _CHECK.pack(check), *body]


def read_header(content: bytes, name: str) -> Header:
    """The header of a store file, from its first ``MOST_HEADER_BYTES`` bytes or more.

    Raises:
        SourceFileError: no store file, or of a later version; ``name`` is in the message.
    """
    return _parsed(content, name)[0]


def decode(
    content: bytes, name: str, *, max_bytes: int = LARGEST_MAP_BYTES
) -> tuple[npt.NDArray[np.float16], Header]:
    """The float16 scores ``(K, H, W)`` or ``(K, D, H, W)`` of a file's content, and its header.

    Beside the scores it takes as much memory again, and a few planes.

    Raises:
        SourceFileError: no store file, damaged, too large, or of a later version; ``name`` is in
            the message.
    """
    header, rule, expected = _parsed(content, name)
    begin = _begin_of_body(header.shape)
    if len(content) != header.length:
        raise Damaged(f"the map {name} has {len(content)} bytes of {header.length}; {_AGAIN}")
    view = memoryview(content)
    if zlib.crc32(view[begin:], zlib.crc32(view[: begin - _CHECK.size])) != expected:
        raise Damaged(f"the map {name} is damaged (its checksum does not fit); {_AGAIN}")
    classes, *rows, width = header.shape
    height = math.prod(rows)
    require_room(2 * classes * height * width, Path(name), max_bytes)
    bits = begin + (classes + 7) // 8
    present = np.unpackbits(
        np.frombuffer(view[begin:bits], dtype=np.uint8), count=classes, bitorder="little"
    )
    held = np.flatnonzero(present)
    packed = view[bits : header.length - header.source_bytes]
    high, low = _inflated(packed, (len(held), height, width), name)
    scores = np.zeros((classes, height, width), dtype=np.float16)
    top = _ONE_AS_FLOAT16 if header.precision == FLOAT16 else 2**header.precision
    others = _Taken(rule, header.precision, (height, width))
    for number in (*range(1, len(held)), 0)[: len(held)]:  # the first is predicted from the others
        plane = _plane(high[number], low[number])
        if number:
            others.add(plane)
        elif rule != _ALONE:
            plane += others.rest()
        if int(plane.max()) > top:
            raise Damaged(f"the map {name} holds scores above 1; {_AGAIN}")
        scores[held[number]] = _values(plane, header.precision)
    return scores.reshape(header.shape), header


_AGAIN = "delete it and run the annotator again, which makes what is missing"


def _begin_of_body(shape: Sequence[int]) -> int:
    return HEADER_BYTES if len(shape) == 3 else MOST_HEADER_BYTES


def _parsed(content: bytes, name: str) -> tuple[Header, int, int]:
    """Header, prediction rule and checksum."""
    if len(content) < HEADER_BYTES or not content.startswith(MAGIC):
        raise Damaged(f"the map {name} is no map of a store, or only its beginning; {_AGAIN}")
    version = content[len(MAGIC)]
    if version not in _FIELDS:
        raise Damaged(
            f"the map {name} has version {version} of the store's format and this release reads "
            f"{_IMAGE} and {_VOLUME}; install a newer conformal-plugin"
        )
    fields = _FIELDS[version]
    if len(content) < fields.size + _CHECK.size:
        raise Damaged(f"the map {name} is only the beginning of one; {_AGAIN}")
    _, _, precision, rule, source_bytes, *shape, digest, length = fields.unpack_from(content)
    sensible = (
        all(0 < side <= _LARGEST_SIDE for side in shape)
        and math.prod(shape) <= _LARGEST_MAP
        and precision in PRECISIONS
        and rule in (_ALONE, _LESS_SUM, _LESS_LARGEST)
        and fields.size + _CHECK.size + (shape[0] + 7) // 8 + source_bytes <= length
    )
    if not sensible:
        raise Damaged(f"the map {name} has a header that makes no sense; {_AGAIN}")
    (check,) = _CHECK.unpack_from(content, fields.size)
    header = Header(tuple(shape), precision, digest, length, source_bytes)
    return header, rule, check


def _levels(scores: Any, precision: int) -> Levels:
    """Of scores of any size; beside them and what is returned a part alone is in memory."""
    check_precision(precision)
    placed: Iterable[tuple[slice, Any]]
    if isinstance(scores, ScoreParts):
        shape, placed = scores.shape, scores.placed()
    else:
        tensor = to_tensor(scores, "scores")
        if tensor.ndim not in (3, 4) or 0 in tensor.shape:
            raise ShapeError(
                f"a store keeps maps (K, H, W) or (K, D, H, W) with at least one pixel, got "
                f"{tuple(tensor.shape)}"
            )
        shape = tuple(tensor.shape)
        step = max(1, PART_BYTES // (4 * tensor.numel() // shape[1]))
        spans = (slice(top, top + step) for top in range(0, shape[1], step))
        placed = ((span, tensor[:, span]) for span in spans)
    levels = np.empty(shape, np.uint16)
    for span, part in placed:
        levels[:, span] = _levels_of_part(to_tensor(part, "scores"), precision)
    return levels


def _levels_of_part(tensor: torch.Tensor, precision: int) -> Levels:
    if not tensor.dtype.is_floating_point:
        raise InputTypeError(
            f"scores of a store must be floating-point numbers in [0, 1], got {tensor.dtype}; "
            f"divide integers by the largest value of their dtype"
        )
    # On the tensor's own device; adding zero turns -0.0 into 0.0.
    wide = (tensor if tensor.dtype == torch.float64 else tensor.float()) + 0.0
    low, high = wide.aminmax()
    if not bool((low >= 0) & (high <= 1)):
        raise ScoreError(
            f"scores must lie in [0, 1], got {low:.4g} ... {high:.4g}; sums of SEEM and logits are "
            f"brought there first, by clamp or sigmoid"
        )
    if precision == FLOAT16:
        whole = wide.to(torch.float16).view(torch.int16)
    else:
        whole = wide.mul_(2**precision).round_().to(torch.int16)
    levels: Levels = whole.cpu().numpy().view(np.uint16)
    return levels


def _values(levels: Levels, precision: int) -> npt.NDArray[np.float16]:
    if precision == FLOAT16:
        return levels.view(np.float16)
    table = (np.arange(2**precision + 1) / 2**precision).astype(np.float16)
    values: npt.NDArray[np.float16] = table[levels]
    return values


def _best_prediction(planes: Sequence[Levels], precision: int) -> tuple[int, Levels]:
    """The rule that leaves least of plane 0, and what it leaves."""
    left = {_ALONE: planes[0]}
    for rule in (_LESS_SUM, _LESS_LARGEST):
        taken = _Taken(rule, precision, planes[0].shape)
        for plane in planes[1:]:
            taken.add(plane)
        left[rule] = planes[0] - taken.rest()
    cost = {rule: np.count_nonzero(_residuals(plane)) for rule, plane in left.items()}
    best = min(cost, key=lambda rule: cost[rule])
    return best, left[best]


class _Taken:
    """What the other planes leave of one, for plane 0: all but their sum, or but the largest."""

    def __init__(self, rule: int, precision: int, size: tuple[int, int]) -> None:
        self._rule = rule
        self._precision = precision
        self._taken = np.zeros(size, np.int64 if precision == FLOAT16 else np.int32)

    def add(self, plane: Levels) -> None:
        """Take another plane into account."""
        if self._rule == _ALONE:
            return
        part: npt.NDArray[Any] = plane
        if self._precision == FLOAT16:
            part = (plane.view(np.float16).astype(np.float64) * _UNITS).astype(np.int64)
        if self._rule == _LESS_SUM:
            self._taken += part
        else:
            np.maximum(self._taken, part, out=self._taken)

    def rest(self) -> Levels:
        """What is left, as levels; never below zero."""
        if self._precision == FLOAT16:
            rest = np.maximum(_UNITS - self._taken, 0)
            patterns: Levels = (rest / _UNITS).astype(np.float16).view(np.uint16)
            return patterns
        rest = 2**self._precision - self._taken
        levels: Levels = np.maximum(rest, 0, out=rest).astype(np.uint16)
        return levels


def _residuals(plane: Levels) -> Levels:
    across = plane.copy()
    across[:, 1:] -= plane[:, :-1]
    both = across.copy()
    both[1:] -= across[:-1]
    signed = both.view(np.int16)
    folded: Levels = ((signed << 1) ^ (signed >> 15)).view(np.uint16)
    return folded


def _plane(high: npt.NDArray[np.uint8], low: npt.NDArray[np.uint8]) -> Levels:
    """A plane from the two bytes of its residuals."""
    folded = (high.astype(np.uint16) << np.uint16(8)) | low
    both = (folded >> 1) ^ np.negative(folded & 1)
    across = np.cumsum(both, axis=0, dtype=np.uint16)
    plane: Levels = np.cumsum(across, axis=1, dtype=np.uint16)
    return plane


def _deflated(folded: Sequence[Levels]) -> list[bytes]:
    # Run lengths and Huffman codes alone are smaller here than matches are, and four times as fast.
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    high = [packer.compress((plane >> 8).astype(np.uint8).data) for plane in folded]
    low = [packer.compress((plane & 0xFF).astype(np.uint8).data) for plane in folded]
    return [*high, *low, packer.flush()]


def _inflated(packed: memoryview, shape: tuple[int, int, int], name: str) -> npt.NDArray[np.uint8]:
    """The high and the low bytes of all residuals, ``(2, *shape)``."""
    size = int(np.prod(shape))
    unpacker = zlib.decompressobj(-15)
    try:  # never more than the header allows, whatever the file says
        content = unpacker.decompress(packed, 2 * size + 1)
    except zlib.error as error:
        raise Damaged(f"the map {name} is damaged ({error}); {_AGAIN}") from error
    if len(content) != 2 * size or not unpacker.eof:
        raise Damaged(f"the map {name} is damaged (its planes have another size); {_AGAIN}")
    return np.frombuffer(content, dtype=np.uint8).reshape(2, *shape)
