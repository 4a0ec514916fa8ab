"""What a wrapped criterion is asked: its twin without a mean, and the label that it ignores."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin._messages import shortened
from conformal_plugin.errors import ConformalError, InputTypeError, OptionError

__all__ = ["Criterion", "adds_up", "called", "ignored_label", "of_pixels", "without_mean"]

Criterion = Callable[[Tensor, Tensor], Tensor]
"""``(logits (N, K, H, W), target (N, H, W) int64) -> scalar or (N, H, W)``."""


def without_mean(criterion: Any) -> Criterion:
    """The criterion itself, or where it has a reduction a copy that takes no mean.

    The copy has ``reduction="none"``, or ``"sum"`` where :func:`adds_up`, and shares the parameters
    (an optimiser may hold them) and nothing else.

    Raises:
        InputTypeError: not callable.
    """
    if not callable(criterion):
        raise InputTypeError(
            f"criterion must be callable as criterion(logits, target), got "
            f"{type(criterion).__name__}; pass for example nn.CrossEntropyLoss()"
        )
    if isinstance(criterion, type):
        raise InputTypeError(
            f"criterion must be an instance, got the class {criterion.__name__}; call it: "
            f"{criterion.__name__}()"
        )
    if isinstance(criterion, functools.partial) and isinstance(
        criterion.keywords.get("reduction"), str
    ):
        keywords = {**criterion.keywords, "reduction": "none"}
        return functools.partial(criterion.func, *criterion.args, **keywords)
    if not isinstance(getattr(criterion, "reduction", None), str):
        return criterion  # type: ignore[no-any-return]
    parameters = criterion.parameters() if isinstance(criterion, nn.Module) else ()
    twin: Any = copy.deepcopy(criterion, {id(p): p for p in parameters})
    twin.reduction = "sum" if _may_sum(criterion) else "none"
    return twin  # type: ignore[no-any-return]


def adds_up(criterion: Any) -> bool:
    """Whether it returns the sum over the pixels that it does not skip."""
    return type(criterion) is nn.CrossEntropyLoss and criterion.reduction == "sum"


def of_pixels(criterion: Criterion) -> Criterion:
    """The same with a value for each pixel, where it adds them up; with its own weights."""
    if not (isinstance(criterion, nn.CrossEntropyLoss) and adds_up(criterion)):
        return criterion
    its = criterion

    def values(logits: Tensor, target: Tensor) -> Tensor:  # which torch 2.1 can compile
        return F.cross_entropy(
            logits,
            target,
            weight=its.weight,
            ignore_index=its.ignore_index,
            reduction="none",
            label_smoothing=its.label_smoothing,
        )

    return values


def _may_sum(criterion: Any) -> bool:
    """Whether its copy may add the pixels up: in less time than a value for each of them takes.

    Not where the user has values for each, which on a GPU can be deterministic and sums are not.
    """
    return type(criterion) is nn.CrossEntropyLoss and criterion.reduction != "none"


def ignored_label(criterion: Any, default: int) -> int:
    """The label that the criterion skips: its attribute, its call's keyword, or ``default``.

    Raises:
        OptionError: the criterion has an ignore index that is no integer, so it skips nothing.
    """
    for name in ("ignore_index", "ignore_label"):
        if hasattr(criterion, name):
            return _checked(getattr(criterion, name), name, default)
    # A module is called by way of one that takes anything.
    called = criterion.forward if isinstance(criterion, nn.Module) else criterion
    try:
        parameter = inspect.signature(called).parameters.get("ignore_index")
    except (TypeError, ValueError):  # some built-in callables show no signature
        return default
    if parameter is None or parameter.default is inspect.Parameter.empty:
        return default
    return _checked(parameter.default, parameter.name, default)


@contextmanager
def called(logits: Tensor, target: Tensor, skipped: int) -> Iterator[None]:
    """Around a criterion's first call: turn what it raises into what is expected of a criterion.

    Raises:
        OptionError: for any exception but this package's own, and a lack of memory.
    """
    try:
        yield
    except ConformalError:
        raise
    except Exception as error:
        if "out of memory" in str(error) or isinstance(error, MemoryError):
            raise
        shapes = f"logits {tuple(logits.shape)} and target {tuple(target.shape)}"
        raise OptionError(
            f"the criterion raised {type(error).__name__} ({shortened(error)}) when it was called "
            f"as criterion(logits, target) with {shapes}, int64, {skipped} where dropped; one that "
            f"wants a channel axis goes behind lambda logits, target: criterion(logits, "
            f"target.unsqueeze(1)), if it has an ignore_index, and is given {skipped}; for one "
            f"that has none take a loss by name: 'ce', 'dice', 'ce+dice', 'focal', 'bce'"
        ) from error


def _checked(value: Any, name: str, default: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise OptionError(
            f"the criterion's {name} is {value!r}, so it would learn from dropped pixels; build it "
            f"with {name}={default}, or take a loss by name, such as 'dice' or 'ce+dice'"
        )
    return value
