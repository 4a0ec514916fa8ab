"""The rules that pick a label from a prediction set: their names, and their labels on any device.

:mod:`conformal_plugin.labelling._cpu_labels` does the same for maps in CPU memory, in less time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin._choices import RULES
from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import LabelError, OptionError
from conformal_plugin.labelling._cap import Cap
from conformal_plugin.labelling._thresholds import Least
from conformal_plugin.scores import ordered

__all__ = [
    "check_rule",
    "in_set",
    "label_dtype",
    "label_maps",
    "members",
    "promised_rule",
    "score_of",
    "unfiltered_labels",
]


def check_rule(rule: str, background: int, num_classes: int) -> None:
    """Check a rule's name and the background class.

    Raises:
        OptionError: an unknown rule, or a background that is no class.
    """
    if rule not in RULES:
        raise OptionError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    integer = isinstance(background, (int, np.integer)) and not isinstance(background, bool)
    if not integer or not 0 <= background < num_classes:
        raise OptionError(
            f"background must be a class index in 0 ... {num_classes - 1}, got {background!r}; for "
            f"data without a background class use rule='most-probable'"
        )


def promised_rule(qhat: Any, rule: str | None, background: int | None) -> tuple[str, int]:
    """The rule and the background class to label with: those asked for, or the calibration's.

    Raises:
        OptionError: others than those that the calibration is for.
    """
    promised = qhat if isinstance(qhat, Calibration) and qhat.rule is not None else None
    if promised is None:
        return RULES[0] if rule is None else rule, 0 if background is None else background
    # Where no class is a background the rule looks at none, and 0 stands for it from here on.
    place = int(promised.background or 0)
    for name, given, meant in (("rule", rule, promised.rule), ("background", background, place)):
        if given is not None and given != meant:
            raise OptionError(
                f"the calibration is for {name}={meant!r}, and {name}={given!r} was asked for; "
                f"leave it out, calibrate for it, or pass the calibration's qhat alone to use it "
                f"for something else"
            )
    return str(promised.rule), place


def label_dtype(num_classes: int, ignore_index: int) -> torch.dtype:
    """The smallest of uint8, int16 and int32 that holds every class and the ignore index.

    Raises:
        LabelError: the ignore index fits none of them.
    """
    for dtype in (torch.uint8, torch.int16, torch.int32):
        info = torch.iinfo(dtype)
        if info.min <= ignore_index <= info.max and num_classes - 1 <= info.max:
            return dtype
    raise LabelError(f"ignore_index must fit 32 bits, got {ignore_index}; 255 and -1 are usual")


def label_maps(
    scores: Tensor,
    least: Least,
    *,
    rule: str,
    background: int,
    ignore_index: int,
    cap: Cap | None = None,
) -> Tensor:
    """The pseudo-labels of ``(N, K, ...)`` scores, as :func:`conformal_plugin.filter`, unchecked.

    Never reads a value back from the device, and is plain enough for ``torch.compile``.
    """
    labels = _PICK[rule](scores, least, background, ignore_index)
    if cap is None:
        return labels
    options = {"background": background, "ignore_index": ignore_index}
    return cap.applied(labels, scores, rule=rule, **options)


def unfiltered_labels(scores: Tensor, rule: str, background: int) -> Tensor:
    """The labels of ``(K, H, W)`` scores when every class is in every set, int64 ``(H, W)``."""
    num_classes = scores.shape[0]
    everything: Least = [0] * num_classes
    maps = label_maps(
        scores.unsqueeze(0), everything, rule=rule, background=background, ignore_index=num_classes
    )
    return maps[0].to(torch.int64)


def score_of(scores: Tensor, labels: Tensor) -> Tensor:
    """Each pixel's raw score of its label, ``(H, W)``."""
    return ordered(scores).gather(0, labels.unsqueeze(0))[0]


def in_set(scores: Tensor, least: float | int | None) -> Tensor:
    """Whether one class is in the prediction set, given its scores and its least score."""
    if least is None:
        return torch.zeros_like(scores, dtype=torch.bool)
    return ordered(scores) >= least


def members(scores: Tensor, least: Least) -> Tensor:
    """Whether each class is in the prediction set, bool, of the shape ``(N, K, ...)`` of scores."""
    if len(set(least)) == 1:
        return in_set(scores, least[0])
    values = ordered(scores)
    # No score exceeds it, nor is any at least NaN.
    never = math.nan if values.is_floating_point() else torch.iinfo(values.dtype).max
    # Filled on the device, where copying a list there would wait for it.
    bounds = [values.new_full((), never if bound is None else bound) for bound in least]
    return values >= torch.stack(bounds).view(-1, *(1,) * (scores.ndim - 2))


def _foreground_first(scores: Tensor, least: Least, background: int, ignore_index: int) -> Tensor:
    foreground = [c for c in range(scores.shape[1]) if c != background]
    labels, found = _most_probable_of(scores, least, foreground, ignore_index)
    alone = in_set(scores[:, background], least[background]) & ~found
    return labels.masked_fill_(alone, background)


def _most_probable(scores: Tensor, least: Least, background: int, ignore_index: int) -> Tensor:
    return _most_probable_of(scores, least, list(range(scores.shape[1])), ignore_index)[0]


def _most_probable_of(
    scores: Tensor, least: Least, classes: list[int], ignore_index: int
) -> tuple[Tensor, Tensor]:
    """The most probable of ``classes`` that are in the set, and whether any is.

    Args:
        scores, least, ignore_index: as for all rules.
        classes: ascending, at most one of all left out.
    """
    common = len({least[c] for c in classes}) == 1
    candidates = ordered(scores)
    if not common:  # with one threshold, comparing the winner alone is enough
        candidates = torch.where(members(scores, least), candidates, -1)
    dtype = label_dtype(scores.shape[1], ignore_index)
    best, labels = _first_maximum(candidates, classes, dtype)
    found = in_set(best, least[classes[0]]) if common else best >= 0
    return labels.masked_fill_(~found, ignore_index), found


def _first_maximum(
    candidates: Tensor, classes: list[int], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The largest of the candidates of ``classes``, and the lowest class that has it."""
    # Classes before the one that is left out, if one is; the compiler of torch 2.1 knows no next().
    gap = sum(c == classes[0] + i for i, c in enumerate(classes))
    runs = [run for run in (classes[:gap], classes[gap:]) if run]
    found = []
    for run in runs:
        values, indices = candidates[:, run[0] : run[-1] + 1].max(dim=1)
        found.append((values, indices.to(dtype).add_(run[0])))
    best, labels = found[0]
    for values, names in found[1:]:
        # A NaN is no score: where it wins, no class is in the set.
        labels = torch.where(values > best, names, labels)
        best = torch.maximum(best, values)
    return best, labels


def _singleton(scores: Tensor, least: Least, background: int, ignore_index: int) -> Tensor:
    flags = members(scores, least).view(torch.uint8)
    alone = flags.sum(dim=1, dtype=torch.int32) == 1
    dtype = label_dtype(scores.shape[1], ignore_index)
    return flags.max(dim=1).indices.to(dtype).masked_fill_(~alone, ignore_index)


_PICK: dict[str, Callable[[Tensor, Least, int, int], Tensor]] = {
    "foreground-first": _foreground_first,
    "most-probable": _most_probable,
    "singleton": _singleton,
}
