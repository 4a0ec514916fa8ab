"""Whether a criterion that returns one number leaves dropped pixels out: tried on a few pixels.

A criterion that skips a label gives the same number whatever the logits are where that label
stands. One that gives the mean over what it sees gives the same for a batch as for the batch twice,
and the same where pixels are dropped as where they are cut off. A loss inside it that is given a
label to skip gives what it gives without one, where no pixel has that label.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from conformal_plugin.errors import OptionError
from conformal_plugin.training._criteria import Criterion

__all__ = ["probe", "refuse"]

_COLUMNS = 8


def probe(criterion: Criterion, skipped: int, like: Tensor) -> Tensor | None:
    """Try the criterion on a few pixels, half of them dropped.

    A copy is tried, so that what it counts or remembers stays as it is, and random numbers go on as
    if it had not been. Nothing is read back from the device.

    Args:
        criterion: takes logits and labels of the shapes of a batch, and returns a scalar.
        skipped: the label of dropped pixels.
        like: logits ``(N, K, H, W)`` or ``(N, K, D, H, W)``, of whose kind those tried are.

    Returns:
        What it gave, ``(6,)``: with half of the pixels dropped, the same with other logits there,
        with these pixels cut off, and with all images twice; and what a loss inside it that has an
        ``ignore_index`` gave of the third, and gives without one, zeros where there is none. None
        where it takes no such batch.
    """
    num_classes = like.shape[1]
    rows = max(_COLUMNS, -(-num_classes // 4))
    rest = (*(1 for _ in like.shape[2:-2]), rows, _COLUMNS)  # of volumes a slice
    cuda = [like.device] if like.device.type == "cuda" else []
    with torch.no_grad():
        numbers = torch.arange(2 * num_classes * rows * _COLUMNS, device=like.device)
        # Of any size between -2 and 2, and not alike in any two columns or classes.
        logits = (2 * torch.sin(12.9898 * numbers)).to(like.dtype)
        logits = logits.reshape(2, num_classes, *rest)
        labels = torch.arange(2 * rows * _COLUMNS, device=like.device) % num_classes
        labels = labels.reshape(2, *rest)
        half = _COLUMNS // 2
        dropped = labels.clone()
        dropped[..., half:] = skipped
        other = logits.clone()
        other[..., half:] = logits[..., half:].flip(1) * 5
        batches = (
            (logits, dropped),
            (other, dropped),
            (logits[..., :half].contiguous(), labels[..., :half].contiguous()),
            (torch.cat([logits, logits]), torch.cat([dropped, dropped])),
        )
        try:
            tried = copy.deepcopy(criterion)
            values = []
            for batch in batches:
                with torch.random.fork_rng(devices=cuda):  # each draws the same
                    values.append(tried(*batch).detach().double().reshape(()))
            with torch.random.fork_rng(devices=cuda):
                values += _with_and_without(tried, *batches[2])
        except Exception:  # a user's own code, which may ask for more of a batch
            return None
        return torch.stack(values)


def refuse(given: Tensor, skipped: int) -> None:
    """Raise where what :func:`probe` gave shows a criterion that learns from dropped pixels.

    Raises:
        OptionError: it looks at dropped pixels, counts them in its mean, returns a sum, or has
            another scale where it is given a label to skip.
    """
    here, elsewhere, cut, twice, told, untold = given.tolist()

    def alike(first: float, second: float, tolerance: float = 1e-3) -> bool:
        return abs(first - second) <= tolerance * max(abs(first), abs(second), tolerance)

    if here != here or here == 0:  # NaN or nothing, of which nothing can be told
        return
    if not alike(here, elsewhere, 1e-5):  # rounding alone may tell them apart
        raise OptionError(
            f"the criterion learns from dropped pixels: with other logits at pixels labelled "
            f"{skipped} alone it went from {here:g} to {elsewhere:g}; expected a criterion that "
            f"skips that label. Use one that takes an ignore_index, multiply its terms by "
            f"(target != {skipped}), or take a loss by name: 'dice', 'ce+dice', 'focal'"
        )
    if alike(twice, 2 * here):
        raise OptionError(
            f"the criterion returns a sum: {here:g} for a batch and {twice:g} for the same batch "
            f"twice; expected one value per pixel (reduction='none'), or the mean over the pixels "
            f"that are not labelled {skipped}"
        )
    if alike(2 * here, cut):
        raise OptionError(
            f"the criterion's mean counts dropped pixels: {here:g} where half of them are labelled "
            f"{skipped}, {cut:g} where that half is cut off; expected one value per pixel "
            f"(reduction='none'), or a sum divided by (target != {skipped}).sum()"
        )
    if untold and not alike(told, untold):
        raise OptionError(
            f"the criterion's loss is {told / untold:g} times as large with ignore_index={skipped} "
            f"as without it, on the same pixels, of which none has that label: beside a loss of "
            f"labelled photos without it the term would weigh as much more. Build it with "
            f"reduction='none', and pass the mean over its classes: lambda logits, target: "
            f"loss(logits, target.unsqueeze(1)).mean(1); or take 'focal' by name"
        )


def _with_and_without(criterion: Criterion, logits: Tensor, labels: Tensor) -> list[Tensor]:
    """What the last loss inside that has an ignore index gives, and what it gives without one."""
    seen: list[tuple[nn.Module, Any, Tensor]] = []

    def see(module: nn.Module, given: Any, found: Any) -> None:
        index = getattr(module, "ignore_index", None)
        if isinstance(index, int) and isinstance(found, Tensor) and found.ndim == 0:
            seen.append((module, given, found))

    watching = register_module_forward_hook(see)
    try:
        criterion(logits, labels)
    finally:
        watching.remove()
    nothing = torch.zeros((), dtype=torch.float64, device=logits.device)
    if not seen:
        return [nothing, nothing]
    module, given, told = seen[-1]
    untold = copy.copy(module)
    untold.ignore_index = None  # type: ignore[assignment]
    try:
        found = untold(*given)
    except Exception:  # it cannot be without one, as torch's own, or is called by keywords
        return [nothing, nothing]
    return [value.detach().double().reshape(()) for value in (told, found)]
