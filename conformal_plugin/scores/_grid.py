"""Class scores as ordered integer codes, so that counting codes replaces sorting scores.

A *code* numbers the distinct values that a score P in [0, 1] can take: a larger score has a larger
code. Counting codes is exact for float16 (15,361 patterns), bfloat16 (16,257) and integer maps.
float32 and float64 have too many values; their codes are bins of width at most 2**-16, and a second
reading of the data finds the exact value inside a bin.

The nonconformity score is ``1 - P``, evaluated in float64 for every dtype. A class is in the
prediction set when ``1 - P <= qhat``; :meth:`ScoreGrid.least` gives the smallest P of the dtype for
which that holds, so that membership is one exact comparison ``P >= least`` in the maps' own dtype.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.errors import InputTypeError
from conformal_plugin.scores._arrays import as_tensor

__all__ = ["ScoreGrid", "grid_named", "grid_of"]

_LINEAR_FROM = 2.0**-8
_BINS = 2**16


@dataclass(frozen=True)
class ScoreGrid:
    """The codes of one dtype.

    Attributes:
        name: the dtype's name, e.g. ``"float16"``.
        size: number of codes.
        resolution: upper bound on ``1 - lower edge - (1 - P)`` over a code's values, 0.0 when each
            code is one value.
        top: the ordered pattern of the score 1.
        patterns: ordered integer pattern of each score (int32 or int64 tensor); invalid scores
            give a pattern below 0 or above ``top``.
        value: the score of a pattern, as float64.
    """

    name: str
    size: int
    resolution: float
    top: int
    patterns: Callable[[Tensor], Tensor]
    value: Callable[[int], float]
    _shift: int = 0

    def codes_of(self, patterns: Tensor) -> Tensor:
        """Codes of the patterns of valid scores; ``size`` of ``beyond``."""
        if not self._shift:
            return patterns
        linear = self._linear(patterns) + self._linear_offset
        return torch.where(linear < self._first_linear, patterns >> self._shift, linear)

    def code_of(self, pattern: int) -> int:
        """The code of one valid pattern."""
        integer = torch.int64 if self.name == "float64" else torch.int32
        return int(self.codes_of(torch.tensor([pattern], dtype=integer)))

    def histogram(self, patterns: Any) -> np.ndarray[Any, Any]:
        """How often each code occurs, int64 ``(size,)``, among valid patterns and ``beyond``.

        Args:
            patterns: integers ``(pixels,)``, a tensor or a NumPy array.
        """
        if not self._shift:
            return _counts(patterns, self.size + 1)[: self.size]
        # Two counts, of all linear codes and of the others where there are any, cost less than one
        # code for each pixel.
        linear = self._linear(patterns)
        counts = _counts(linear, _BINS + 2)[: _BINS + 1]
        lowest = int(_LINEAR_FROM * _BINS)
        small = np.zeros(self._first_linear, dtype=np.int64)
        if counts[:lowest].any():
            small += _counts(patterns[linear < lowest] >> self._shift, len(small))
        return np.concatenate([small, counts[lowest:]])

    def _linear(self, patterns: Any) -> Any:
        """Scores in steps of 2**-16, rounded down: int32, of the kind of the patterns."""
        if isinstance(patterns, Tensor):
            real = torch.float32 if self.name == "float32" else torch.float64
            return (patterns.view(real) * _BINS).to(torch.int32)
        linear = np.empty(patterns.shape, dtype=np.int32)
        scores = patterns.view(self.name)
        np.multiply(scores, scores.dtype.type(_BINS), out=linear, casting="unsafe")
        return linear

    @cached_property
    def beyond(self) -> int:
        """A pattern above that of 1, which stands for a pixel to leave out."""
        return self._pattern_of(1 + 1 / _BINS) if self._shift else self.top + 1

    def pattern_range(self, code: int) -> tuple[int, int]:
        """First and last pattern that have this code."""
        if not self._shift:
            return code, code
        if code < self._first_linear:
            return code << self._shift, ((code + 1) << self._shift) - 1
        low, high = (self._pattern_of((code - self._linear_offset + i) / _BINS) for i in (0, 1))
        return low, min(max(high - 1, low), self.top)

    def first_pattern_of_bin(self, pattern: int) -> int:
        """The first pattern that has the same code; of ``beyond`` that of 1."""
        return self.pattern_range(self.code_of(min(pattern, self.top)))[0]

    def lower_edge(self, code: int) -> float:
        """The smallest score with this code, as float64."""
        return self.value(self.pattern_range(code)[0])

    def least(self, qhat: float) -> float | int | None:
        """The smallest raw value with ``1 - P <= qhat`` in float64; None when there is none.

        For integer maps that is the integer before scaling.
        """
        pattern = self.least_pattern(qhat)
        return pattern if pattern is None or self.is_integer else self.value(pattern)

    def least_pattern(self, qhat: float) -> int | None:
        """The pattern of :meth:`least`."""
        return _least_pattern(self.name, qhat)

    @property
    def is_integer(self) -> bool:
        """Whether the maps are integers, scaled to [0, 1] by the largest value of their dtype."""
        return "int" in self.name

    @cached_property
    def _first_linear(self) -> int:
        return self._pattern_of(_LINEAR_FROM) >> self._shift

    @cached_property
    def _linear_offset(self) -> int:
        return self._first_linear - int(_LINEAR_FROM * _BINS)

    def _pattern_of(self, score: float) -> int:
        """The pattern of a score that the dtype holds exactly."""
        dtype = torch.float32 if self.name == "float32" else torch.float64
        return int(self.patterns(torch.tensor(score, dtype=dtype)))


def _sixteen_bits(scores: Tensor) -> Tensor:
    # Adding zero turns -0.0 into 0.0; the sign bit of a negative score then exceeds every code.
    return (scores + 0.0).view(torch.int16).to(torch.int32) & 0xFFFF


def _float16_value(pattern: int) -> float:
    return float(np.uint16(pattern).view(np.float16))


def _bfloat16_value(pattern: int) -> float:
    return float(np.uint32(pattern << 16).view(np.float32))


def _float32_value(pattern: int) -> float:
    return float(np.uint32(pattern).view(np.float32))


def _float64_value(pattern: int) -> float:
    return float(np.uint64(pattern).view(np.float64))


def _integers(name: str) -> ScoreGrid:
    top = int(np.iinfo(name).max)

    def patterns(scores: Tensor) -> Tensor:
        return scores.to(torch.int32)

    return ScoreGrid(name, top + 1, 0.0, top, patterns, lambda pattern: pattern / top)


def _binned(
    name: str, integer: torch.dtype, shift: int, value: Callable[[int], float]
) -> ScoreGrid:
    """A float grid whose codes are bins of at most 2**16 (float32) or 2**45 (float64) patterns.

    Below 2**-8 a bin keeps 7 bits of the mantissa, above it is 2**-16 wide: both widths are at most
    2**-16, and a float32 bin never holds more than 2**16 patterns, which a second reading counts.
    """

    def patterns(scores: Tensor) -> Tensor:
        return (scores + 0.0).view(integer)

    real = torch.float32 if integer is torch.int32 else torch.float64
    top = int(torch.ones((), dtype=real).view(integer))
    first_linear = int(torch.tensor(_LINEAR_FROM, dtype=real).view(integer)) >> shift
    size = first_linear + _BINS - int(_LINEAR_FROM * _BINS) + 1
    return ScoreGrid(name, size, 1.0 / _BINS, top, patterns, value, shift)


def _counts(values: Any, size: int) -> np.ndarray[Any, Any]:
    """How often each of 0 ... size - 1 occurs, int64 ``(size,)``."""
    # NumPy's own keeps Python's lock.
    counts: np.ndarray[Any, Any] = torch.bincount(as_tensor(values), minlength=size).cpu().numpy()
    return counts


_GRIDS = {
    grid.name: grid
    for grid in (
        ScoreGrid("float16", 0x3C00 + 1, 0.0, 0x3C00, _sixteen_bits, _float16_value),
        ScoreGrid("bfloat16", 0x3F80 + 1, 0.0, 0x3F80, _sixteen_bits, _bfloat16_value),
        _binned("float32", torch.int32, 16, _float32_value),
        _binned("float64", torch.int64, 45, _float64_value),
        *(_integers(name) for name in ("uint8", "int8", "uint16", "int16")),
    )
}


@functools.lru_cache(maxsize=2**12)  # the same few thresholds, image after image
def _least_pattern(name: str, qhat: float) -> int | None:
    grid = _GRIDS[name]
    if 1.0 - grid.value(grid.top) > qhat:
        return None
    low, high = 0, grid.top
    while low < high:
        middle = (low + high) // 2
        if 1.0 - grid.value(middle) <= qhat:
            high = middle
        else:
            low = middle + 1
    return low


def grid_named(name: str) -> ScoreGrid:
    """The grid of the dtype with this name."""
    return _GRIDS[name]


def grid_of(scores: Tensor, name: str = "scores") -> ScoreGrid:
    """The grid of a tensor's dtype.

    Raises:
        InputTypeError: the dtype is none that class scores are read from.
    """
    dtype = str(scores.dtype).removeprefix("torch.")
    if dtype in _GRIDS:
        return _GRIDS[dtype]
    raise InputTypeError(
        f"{name} must be float16, bfloat16, float32 or float64 in [0, 1], or 8- or 16-bit integers "
        f"(scaled by the largest value of their dtype), got {dtype}; convert them to float32"
    )
