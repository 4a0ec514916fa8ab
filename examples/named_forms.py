"""Every form of an annotator's scores by the name that studies, beds and hosts call it by.

Each takes class probabilities ``(K, H, W)`` and the photo's id, and returns scores of that shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from degraded import DEGRADED, over_called
from score_forms import seem_like

__all__ = ["NAMED_FORMS", "Form"]

Form = Callable[[npt.NDArray[np.floating], str], npt.NDArray[np.floating]]


def _single(probs: npt.NDArray[np.floating], name: str) -> npt.NDArray[np.float32]:
    return np.asarray(probs, np.float32)


NAMED_FORMS: dict[str, Form] = {
    "normalised": lambda probs, name: probs,  # of the study, which reads float16 as such
    "as is": _single,  # of the beds
    "as-is": _single,  # of hosts, where it is the name of a folder
    "seem-like": lambda probs, name: seem_like(probs),
    **DEGRADED,
    "over-called": over_called,
}
