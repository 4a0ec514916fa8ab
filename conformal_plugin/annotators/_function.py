"""Any function of the user's as an annotator."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from conformal_plugin.annotators._background import check_background_rule, with_background
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.errors import AnnotatorError, OptionError
from conformal_plugin.scores import to_tensor

__all__ = ["FunctionAnnotator"]


class FunctionAnnotator:
    """Calls a function on each photo.

    Args:
        function: takes a photo ``(H, W, 3)`` uint8 and returns scores in [0, 1] at its size: those
            of all classes, or of all but background for ``background="complement"``.
        class_names: the K classes, ``"background"`` first where there is one.
        background: how it is formed, one of
            :data:`conformal_plugin.annotators.BACKGROUND_RULES`.
        fingerprint: what the scores depend on besides the function's own lines, such as
            ``{"weights": file_digest("model.pt")}``.

    Raises:
        OptionError: no such background rule, or one that the class names do not fit.

    Example:
        >>> import numpy as np
        >>> def red(photo):
        ...     return photo[None, ..., 0] / np.float32(255)
        >>> annotator = FunctionAnnotator(red, ("background", "red"), background="complement")
        >>> annotator.annotate([np.full((1, 1, 3), 51, np.uint8)])[0].flatten().tolist()
        [0.800000011920929, 0.20000000298023224]
    """

    def __init__(
        self,
        function: Callable[[Photo], Any],
        class_names: Sequence[str],
        *,
        background: str = "none",
        fingerprint: Mapping[str, Any] | None = None,
    ) -> None:
        check_background_rule(background)
        self.class_names = tuple(class_names)
        if background != "none" and self.class_names[:1] != ("background",):
            raise OptionError(
                f"with background={background!r} the first class is called background, got "
                f"{self.class_names[:3]}; for data without one use background='none'"
            )
        self.background = background
        self.fingerprint = {
            "annotator": "function",
            "function": _name(function),
            "source": _source_digest(function),
            "background": background,
            **(fingerprint or {}),
        }
        self._function = function

    def annotate(self, photos: Sequence[Photo]) -> list[torch.Tensor]:
        """Class scores ``(K, H, W)`` of each photo."""
        return [with_background(self._scores(photo), self.background) for photo in photos]

    def _scores(self, photo: Photo) -> torch.Tensor:
        """What the function gives, checked as far as forming background needs it.

        Raises:
            AnnotatorError: masks without scores, or another number of classes than it is asked for.
        """
        scores = to_tensor(self._function(photo), "scores")
        if scores.dtype == torch.bool:
            raise AnnotatorError(
                "the function gave masks of true and false; a class score says how sure it is, "
                "from 0 to 1: give each mask times its score, as float32"
            )
        if self.background == "complement" and scores.ndim == 3:
            asked = len(self.class_names) - 1
            if len(scores) != asked:
                raise AnnotatorError(
                    f"the function gave scores of shape {tuple(scores.shape)} where {asked} "
                    f"classes were expected, all but background, which is formed of them; give "
                    f"zeros for classes that were not found, or choose another background rule "
                    f"where the function gives background itself"
                )
        return scores


def _name(function: Callable[..., Any]) -> str:
    module = getattr(function, "__module__", type(function).__module__)
    return f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"


def _source_digest(function: Callable[..., Any]) -> str | None:
    """A digest of the function's lines; None where Python does not know them."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except (OSError, TypeError):
        return None
