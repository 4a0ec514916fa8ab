"""The order in which images are bet on: one that knows nothing of their losses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["betting_order"]


def betting_order(names: Iterable[Any]) -> np.ndarray[Any, Any]:
    """Where each place of the order finds its image: images by a hash of their names.

    A bet on an image may look at the images before it, and is fair only where these say nothing
    about whose turn it is. If images are exchangeable, any order that was fixed without their
    losses leaves them so: that of their arrival, and any permutation of it that depends on their
    places alone. An order that starts from sorted losses does not, whatever permutation follows:
    an image's place then depends on its loss, and the level is lost.

    Lists of ids are often sorted by class or date, so that neighbours are alike. A hash breaks that
    up, the same way on every machine. Where images have no ids, their numbers are their names.

    Args:
        names: one per image, in the order of arrival; compared as text.

    Returns:
        int64 ``(n,)``, a permutation of 0 ... n - 1.

    Example:
        >>> betting_order(["a", "b", "c"]).tolist()
        [2, 1, 0]
    """
    digests = [hashlib.sha256(str(name).encode("utf-8")).digest() for name in names]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)
