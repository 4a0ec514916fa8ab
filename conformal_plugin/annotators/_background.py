"""How an annotator without a background class comes to one: by prompt, as the rest, or not."""

from __future__ import annotations

import torch
from torch import Tensor

from conformal_plugin.errors import OptionError

__all__ = ["BACKGROUND_RULES", "check_background_rule", "with_background"]

BACKGROUND_RULES = ("prompt", "complement", "none")
"""``prompt``: the model is asked for background as for any class. ``complement``: background is one
minus the largest foreground score. ``none``: there is no background class."""


def check_background_rule(rule: str) -> None:
    """Refuse a rule that is none of ``BACKGROUND_RULES``.

    Raises:
        OptionError: with the three.
    """
    if rule not in BACKGROUND_RULES:
        raise OptionError(
            f"background must be one of {', '.join(BACKGROUND_RULES)}, got {rule!r}: prompt asks "
            f"the model for it, complement is one minus the largest foreground score, none is for "
            f"data without a background class"
        )


def with_background(scores: Tensor, rule: str) -> Tensor:
    """The scores of all classes from those that were asked for.

    Args:
        scores: ``(K, H, W)`` in [0, 1]. For ``"complement"`` the foreground classes alone.
        rule: one of ``BACKGROUND_RULES``.

    Returns:
        ``(K + 1, H, W)`` with background first for ``"complement"``, else ``scores`` as they are.

    Example:
        >>> import torch
        >>> with_background(torch.tensor([[[0.75]], [[0.5]]]), "complement").flatten().tolist()
        [0.25, 0.75, 0.5]
    """
    check_background_rule(rule)
    if rule != "complement":
        return scores
    return torch.cat([1 - scores.amax(dim=0, keepdim=True), scores])
