"""Weights of pixels in the conformal term: what they do, on whatever path, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision, cutmix
from conformal_plugin.errors import InputTypeError, OptionError, ShapeError


def weights_like(pseudo: Tensor, seed: int = 1) -> Tensor:
    return 3 * torch.rand(pseudo.shape, generator=torch.Generator().manual_seed(seed))


def by_hand(batch: Any, weights: Tensor, denominator: str, **options: Any) -> Tensor:
    target = torch.where(batch.keep, batch.pseudo, 255)
    each = F.cross_entropy(batch.logits, target, ignore_index=255, reduction="none", **options)
    mean = (each * weights * batch.keep).sum() / (weights * batch.keep).sum()
    return mean * batch.keep.sum() / batch.valid.sum() if denominator == "valid" else mean


CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])


@pytest.mark.parametrize("denominator", ["valid", "kept"])
@pytest.mark.parametrize(
    ("criterion", "options"),
    [
        (nn.CrossEntropyLoss(), {}),
        (nn.CrossEntropyLoss(reduction="none"), {}),
        (nn.CrossEntropyLoss(CLASS_WEIGHTS), {"weight": CLASS_WEIGHTS}),
        (nn.CrossEntropyLoss(label_smoothing=0.1), {"label_smoothing": 0.1}),
        ("ce", {}),
    ],
)
def test_the_term_is_the_weighted_mean(
    batch: Any, criterion: Any, options: dict[str, Any], denominator: str
) -> None:
    supervise = ConformalSupervision(criterion, denominator=denominator)
    weights = weights_like(batch.pseudo)
    term = supervise(batch.logits, batch.pseudo, valid=batch.valid, weights=weights)
    expected = by_hand(batch, weights, denominator, **options)
    torch.testing.assert_close(term, expected)
    found, wanted = (torch.autograd.grad(t, batch.logits)[0] for t in (term, expected))
    torch.testing.assert_close(found, wanted)


def test_equal_weights_are_none_at_any_scale(batch: Any) -> None:
    supervise = ConformalSupervision(nn.CrossEntropyLoss())
    plain = supervise(batch.logits, batch.pseudo, valid=batch.valid)
    for scale in (0.01, 1.0, 7.0):
        weights = torch.full(batch.pseudo.shape, scale, dtype=torch.float64)
        term = supervise(batch.logits, batch.pseudo, valid=batch.valid, weights=weights)
        torch.testing.assert_close(term, plain)


def test_dropped_pixels_have_no_say_whatever_they_weigh(batch: Any) -> None:
    supervise, weights = ConformalSupervision("ce"), weights_like(batch.pseudo)
    term = supervise(batch.logits, batch.pseudo, valid=batch.valid, weights=weights)
    weights[~batch.keep] = 1e6
    again = supervise(batch.logits, batch.pseudo, valid=batch.valid, weights=weights)
    assert torch.equal(term, again)


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), "focal"])
def test_without_a_kept_pixel_or_a_weight_it_is_a_zero_in_the_graph(
    batch: Any, criterion: Any
) -> None:
    supervise, weights = ConformalSupervision(criterion), weights_like(batch.pseudo)
    nothing = torch.full_like(batch.pseudo, 255)
    for pseudo, given in ((nothing, weights), (batch.pseudo, torch.zeros_like(weights))):
        term = supervise(batch.logits, pseudo, weights=given)
        assert term.item() == 0
        assert (torch.autograd.grad(term, batch.logits)[0] == 0).all()


def test_mixed_with_the_labels(batch: Any) -> None:
    """CutMix of labels and weights is the term of the mixed pixels."""
    box = torch.zeros(batch.pseudo.shape, dtype=torch.bool)
    box[:, 2:6, 3:] = True
    weights = weights_like(batch.pseudo)
    pseudo, mixed = (cutmix(x, x.flip(0), box) for x in (batch.pseudo, weights))
    for image in range(2):
        inside = box[image]
        assert torch.equal(mixed[image][inside], weights[1 - image][inside])
        assert torch.equal(mixed[image][~inside], weights[image][~inside])
    batch.pseudo = pseudo
    supervise = ConformalSupervision("ce")
    term = supervise(batch.logits, pseudo, valid=batch.valid, weights=mixed)
    torch.testing.assert_close(term, by_hand(batch, mixed, "valid"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(batch: Any, dtype: torch.dtype) -> None:
    supervise, weights = ConformalSupervision("ce"), weights_like(batch.pseudo)
    exact = supervise(batch.logits, batch.pseudo, weights=weights)
    term = supervise(batch.logits.to(dtype), batch.pseudo, weights=weights.to(dtype))
    assert term.dtype == torch.float32
    torch.testing.assert_close(term, exact, rtol=2e-2, atol=1e-3)


def test_under_autocast_gradients_are_those_of_float32(batch: Any) -> None:
    supervise, weights = ConformalSupervision("ce"), weights_like(batch.pseudo)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        term = supervise(batch.logits, batch.pseudo, weights=weights)
    expected = supervise(batch.logits, batch.pseudo, weights=weights)
    found, wanted = (torch.autograd.grad(t, batch.logits)[0] for t in (term, expected))
    torch.testing.assert_close(found, wanted)


def test_a_criterion_with_one_number_is_refused(batch: Any) -> None:
    weights = weights_like(batch.pseudo)
    for criterion in ("ce+dice", lambda x, y: F.cross_entropy(x, y, ignore_index=255)):
        with pytest.raises(OptionError, match="weights are for pixels, and the criterion returned"):
            ConformalSupervision(criterion)(batch.logits, batch.pseudo, weights=weights)


def test_what_is_no_weight_is_refused(batch: Any) -> None:
    supervise, weights = ConformalSupervision("ce"), weights_like(batch.pseudo)
    bad: list[tuple[Any, type[Exception], str]] = [
        (weights.long(), InputTypeError, "floating-point tensor, one per pixel, got torch.int64"),
        ([1.0], InputTypeError, "got list"),
        (weights[:, :-1], ShapeError, "crop, flip and mix them as the pseudo-labels"),
        (weights[:, None], ShapeError, "weights must have shape"),
        (-weights, OptionError, "finite and at least 0"),
        (weights.masked_fill(weights > 1, torch.nan), OptionError, "finite and at least 0"),
    ]
    for given, error, message in bad:
        with pytest.raises(error, match=message):
            supervise(batch.logits, batch.pseudo, weights=given)
