"""Follows labels through one training step: which losses read them, and what came back of it.

A torch function mode sees every call of torch's that a script makes. Where labels go, a map of the
same shape goes along, which says of every pixel whether it carries a conformal label: through
clones, CutMix and what else a script does with them. Where they meet a prediction that learns, the
gradient of the result is kept, and read when the step is over.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import conformal_plugin
from conformal_plugin._compiling import compiling
from conformal_plugin.adapters.loop._indexing import seen_indexing

__all__ = ["LabelFlow", "Meeting"]

DROPPED: Final = 0
KEPT: Final = 1
OTHERS: Final = 2
"""A pixel whose label is not from here: of a labelled photo, say, or the ignore index."""
OWN: Final = 3
"""A pixel whose label the script made itself, of labels that it was given."""

_LOSSES = frozenset(
    {"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
)
_INTO_FIRST = frozenset({"__setitem__", "copy_", "masked_fill_", "masked_scatter_", "index_put_"})
_MOVES = frozenset({
    *("clone", "detach", "contiguous", "to", "cuda", "cpu", "long", "int"),
    *("cat", "stack", "concat", "chunk", "split", "tensor_split", "unbind"),
    *("flip", "fliplr", "flipud", "roll", "rot90", "transpose", "permute", "movedim"),
    *("view", "reshape", "flatten", "unsqueeze", "squeeze", "expand", "repeat", "tile"),
    *("__getitem__", "narrow", "select", "index_select", "take_along_dim"),
    *("masked_fill", "where"),
})  # fmt: skip
_NOT_THE_SCRIPTS = (
    str(Path(__file__).parents[1]),
    *conformal_plugin.__path__,
    os.path.dirname(torch.__file__),
)


@dataclass
class _Trace:
    """What is known of a tensor made of labels: whose each pixel is, where that is known."""

    state: Tensor | None
    conformal: bool


@dataclass
class Meeting:
    """A place where labels met a prediction that learns.

    Attributes:
        where: ``FILE, line N (function)`` of the script.
        calls: file and line of each call that led there, the innermost to begin with.
        conformal: whether they were handed out here, and not the script's own.
        state: whose the label of each pixel is, of the shape of the result; None where unknown.
        gradient: of the result; None where none came.
    """

    where: str
    conformal: bool
    calls: tuple[tuple[str, int], ...] = ()
    state: Tensor | None = None
    gradient: Tensor | None = field(default=None, repr=False)

    def keep(self, gradient: Tensor) -> None:
        """The hook on the result: nothing is computed in the backward pass."""
        self.gradient = gradient.detach()

    def taught(self, whose: int | None = None) -> bool:
        """Whether a gradient other than zero came back, at pixels of this state alone if given."""
        if self.gradient is None:
            return False
        felt = (self.gradient != 0) & ~self.gradient.isnan()
        if whose is not None and self.state is not None:
            felt = felt & (self.state == whose)
        return bool(felt.any())


class LabelFlow(TorchFunctionMode):
    """Follows the labels of one step, from :meth:`hand_out` until :meth:`stop`."""

    def __init__(self) -> None:
        super().__init__()
        self.meetings: list[Meeting] = []
        self._traces: dict[int, tuple[Tensor, _Trace]] = {}  # holds the tensor, so ids stay its own
        self._follows = False
        self._watching = ExitStack()

    def start(self) -> None:
        """See the calls of this thread from now on."""
        self._watching.enter_context(seen_indexing())
        self._watching.enter_context(self)
        self._follows = True

    def stop(self) -> None:
        """See no more, and forget where labels went; the meetings stay."""
        if not self._follows:
            return
        self._follows = False
        self._traces.clear()
        self._watching.close()

    def hand_out(self, labels: Tensor, kept: Tensor) -> None:
        """Follow ``labels``; ``kept`` says where they are conformal, both ``(N, H, W)``."""
        self._trace(labels, torch.where(kept, KEPT, DROPPED), conformal=True)

    def expect(self, losses: Sequence[Tensor], where: str) -> None:
        """Keep what comes back through losses that were made here."""
        for loss in losses:
            self._meet(loss, Meeting(where, conformal=True))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Make the call as the script does, then look at what went in and what came out."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._follows and not compiling():
            self._follows = False  # what is called from here is no call of the script's
            try:
                self._follow(func, args, kwargs, result)
            finally:
                self._follows = True
        return result

    def _follow(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        name = getattr(func, "__name__", "")
        if name.endswith("_like") or name.startswith("new_"):
            return  # of the same shape, and of other values
        traces = [t for one in _tensors((*args, *kwargs.values())) if (t := self._of(one))]
        if not traces:
            if name in ("argmax", "max"):
                for one in _tensors((result,)):
                    if one.dtype == torch.int64 and one.ndim > 2:
                        self._trace(one, None, conformal=False)
            return
        conformal = any(trace.conformal for trace in traces)
        outcomes = list(_tensors((result,)))
        if any(one.requires_grad for one in outcomes):
            if conformal or (name in _LOSSES and self._own_target(args, kwargs)):
                state = self._state_at(name, args, kwargs, outcomes[0]) if conformal else None
                calls = _scripts_calls()
                where = f"{_line(calls)} ({name})"
                self._meet(outcomes[0], Meeting(where, conformal, calls, state))
            return
        if name in _INTO_FIRST and args and isinstance(args[0], Tensor):
            self._written_into(name, func, args, kwargs, conformal)
        elif name in ("scatter", "scatter_") and isinstance(args[0], Tensor) and outcomes:
            states = [trace.state for trace in traces if trace.state is not None]
            self._trace(outcomes[0], _spread(states, outcomes[0]), conformal)
        elif outcomes:
            self._passed_on(name, func, args, kwargs, outcomes, traces, conformal)

    def _passed_on(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        outcomes: Sequence[Tensor],
        traces: Sequence[_Trace],
        conformal: bool,
    ) -> None:
        states: list[Tensor | None] = [None] * len(outcomes)
        if conformal and name in _MOVES:
            moved = self._moved(name, func, args, kwargs)
            if moved is not None and len(moved) == len(outcomes):
                states = list(moved)
        elif conformal and name == "one_hot":
            states = [_spread([t.state.unsqueeze(-1) for t in traces if t.state is not None], one)
                      for one in outcomes]  # fmt: skip
        elif conformal:
            known = [trace.state for trace in traces if trace.state is not None]
            states = [_spread(known, one) for one in outcomes]
        for one, state in zip(outcomes, states):
            if one.dtype != torch.bool or conformal:
                self._trace(one, state, conformal)

    def _moved(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Tensor] | None:
        """The call once more, on what is known of each pixel."""
        is_value = _value_places(name, func)
        put = [self._state(one) if at in is_value else one for at, one in enumerate(args)]
        named = {
            key: self._state(one) if key in ("input", "other", "tensors") else one
            for key, one in kwargs.items()
        }
        try:
            return list(_tensors((func(*put, **named),)))
        except (RuntimeError, TypeError, IndexError, ValueError):
            return None

    def _written_into(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        conformal: bool,
    ) -> None:
        target = args[0]
        trace = self._of(target)
        if not conformal:
            self._trace(target, None, conformal=False)
            return
        state = trace.state if trace is not None else torch.full_like(target, OTHERS)
        if state is None:  # the script's own label, or one that it made of others
            state = torch.full_like(target, OWN, dtype=torch.int64)
        last = len(args) - 1
        put = [
            state if at == 0 else self._state(one) if at == last else one
            for at, one in enumerate(args)
        ]
        try:
            func(*put, **{key: self._state(one) for key, one in kwargs.items()})
        except (RuntimeError, TypeError, IndexError, ValueError):
            self._trace(target, None, conformal)
            return
        self._trace(target, state, conformal)

    def _state(self, value: Any) -> Any:
        """What stands for a value where the call is made on states."""
        if isinstance(value, (tuple, list)):
            return type(value)(self._state(one) for one in value)
        if isinstance(value, Tensor):
            trace = self._of(value)
            if trace is None:
                return torch.full_like(value, OTHERS, dtype=torch.int64)
            if trace.state is not None:
                return trace.state
            return torch.full_like(value, OWN, dtype=torch.int64)
        return OTHERS if isinstance(value, (int, float)) else value

    def _state_at(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
    ) -> Tensor | None:
        known = [
            trace.state
            for one in _tensors((*args, *kwargs.values()))
            if (trace := self._of(one)) is not None and trace.state is not None
        ]
        if name == "cross_entropy" and known and result.ndim == 0:
            # A mean: a dropped pixel is in it unless its label is the one that the loss skips.
            target = args[1] if len(args) > 1 else kwargs.get("target")
            skipped = kwargs.get("ignore_index", -100)
            if isinstance(target, Tensor) and target.shape == known[0].shape:
                read = known[0][target != skipped]
                for whose in (OWN, DROPPED, KEPT):
                    if bool((read == whose).any()):
                        return torch.full_like(result, whose, dtype=torch.int64)
        return _spread(known, result)

    def _own_target(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        target = args[1] if len(args) > 1 else kwargs.get("target")
        return isinstance(target, Tensor) and self._of(target) is not None

    def _meet(self, result: Tensor, meeting: Meeting) -> None:
        if result.requires_grad:
            result.register_hook(meeting.keep)  # type: ignore[no-untyped-call]
        self.meetings.append(meeting)

    def _trace(self, tensor: Tensor, state: Tensor | None, conformal: bool) -> None:
        self._traces[id(tensor)] = tensor, _Trace(state, conformal)

    def _of(self, tensor: Tensor) -> _Trace | None:
        held = self._traces.get(id(tensor))
        return None if held is None else held[1]


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _value_places(name: str, func: Any) -> tuple[int, ...]:
    """Which arguments of a call that moves pixels hold pixels."""
    if name == "where":  # torch.where(condition, one, other), one.where(condition, other)
        return (0, 2) if func is Tensor.where else (1, 2)
    return (0, 2) if name == "masked_fill" else (0,)


def _spread(states: Sequence[Tensor], result: Tensor) -> Tensor | None:
    """What is known of the pixels of a result that was computed from them one by one."""
    for state in states:
        if state.ndim == result.ndim:
            try:
                return torch.broadcast_to(state, result.shape).clone()
            except RuntimeError:
                continue
    return None


def _scripts_calls() -> tuple[tuple[str, int], ...]:
    """File and line of the calls that led here, without those of torch and of this package."""
    calls = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_NOT_THE_SCRIPTS):
            calls.append((file, frame.f_lineno))
        frame = frame.f_back
    return tuple(calls)


def _line(calls: Sequence[tuple[str, int]]) -> str:
    """The line of the script that made the innermost call."""
    return f"{os.path.basename(calls[0][0])}, line {calls[0][1]}" if calls else "the script"
