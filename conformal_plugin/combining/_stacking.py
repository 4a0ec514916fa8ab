"""A log-linear pool of annotators, fitted by cross-entropy on pixels of labelled images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from conformal_plugin.combining._combination import Combination, log_scores
from conformal_plugin.combining._labelled_maps import (
    LabelledMaps,
    Maps,
    checked,
    nothing_labelled,
)
from conformal_plugin.combining._parts import in_step

__all__ = ["fit_stack"]

_PIXELS_PER_IMAGE = 512
# Far below what the pixels of one image say, and enough to hold a class that no image has in place.
_RIDGE = 1e-3
_STEPS = 200
# So that threads that sum in another order find the same numbers, and a resumed run its own store.
_DECIMALS = 3


def fit_stack(images: Iterable[LabelledMaps], *, ignore_index: int = 255) -> Combination:
    """One weight for each annotator and one offset for each class, by least cross-entropy.

    At most 512 pixels of an image are looked at, evenly spaced among its labelled ones, and every
    image counts the same. A ridge holds the weights near the geometric mean and the offsets near
    zero.

    Args:
        images: the labelled images to fit on; read once.
        ignore_index: the label of pixels without a class.

    Raises:
        EmptyCalibrationError: there is no labelled pixel.
        ShapeError: maps or a label that do not fit each other.
        ScoreError: a score is not in [0, 1].
        LabelError: a label that is no class.
    """
    names: list[str] = []
    logs: list[npt.NDArray[np.float32]] = []
    truths, shares = [], []
    for name, scores, labels in checked(images, ignore_index):
        names.append(name)
        places = np.flatnonzero(labels != ignore_index)
        if not len(places):
            continue
        some = min(_PIXELS_PER_IMAGE, len(places))
        places = places[np.linspace(0, len(places) - 1, some).round().astype(int)]
        logs.extend(log_scores(some_scores) for some_scores in _at(scores, places))
        truths.append(labels.ravel()[places].astype(np.int64))
        shares.append(np.full(some, 1.0 / some))
    if not logs:
        raise nothing_labelled()
    values = torch.from_numpy(np.concatenate(logs, axis=2)).double()
    weights, offsets = _least_cross_entropy(
        values,
        torch.from_numpy(np.concatenate(truths)),
        torch.from_numpy(np.concatenate(shares)) / len(shares),
    )
    rows = tuple((weight,) * len(offsets) for weight in weights.tolist())
    return Combination("stack", rows, tuple(offsets.tolist()), tuple(names))


def _least_cross_entropy(
    logs: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The numbers of the pool; the loss is convex in them."""
    annotators, classes, _ = logs.shape
    start = torch.full((annotators,), 1.0 / annotators, dtype=torch.float64)
    weights = start.clone().requires_grad_()
    offsets = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, offsets], max_iter=_STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-10
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        values = offsets[:, None] + (weights[:, None, None] * logs).sum(0)
        each = values.logsumexp(0) - values.gather(0, labels[None])[0]
        ridge = (weights - start).square().sum() + offsets.square().sum()
        loss = (shares * each).sum() + _RIDGE * ridge
        torch.autograd.backward(loss)
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    rounded = (value.detach().numpy().round(_DECIMALS) for value in (weights, offsets))
    return next(rounded), next(rounded)


def _at(scores: Maps, places: npt.NDArray[np.int64]) -> Iterator[list[npt.NDArray[np.float32]]]:
    """The scores ``(K, some)`` of each map at sorted places of the flattened image, by parts."""
    row = int(np.prod(scores[0].shape[2:]))
    for rows, arrays in in_step(scores):
        first, last = np.searchsorted(places, (rows.start * row, rows.stop * row))
        here = places[first:last] - rows.start * row
        yield [array.reshape(len(array), -1)[:, here] for array in arrays]
