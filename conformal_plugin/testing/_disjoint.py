"""Whether the ids of calibration and test images show that the two sets share none."""

from __future__ import annotations

from collections.abc import Iterable

from conformal_plugin.errors import OptionError
from conformal_plugin.testing._failures import SameDataError

__all__ = ["require_disjoint"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".npy", ".npz", ".pt")
_SHOWN = 5


def require_disjoint(
    calibration_ids: Iterable[object] | None,
    test_ids: Iterable[object] | None,
    *,
    calibration_images: int,
    test: int,
) -> bool:
    """Whether both sets are named; raises when they share an id, or ids do not name the images.

    Args:
        calibration_ids, test_ids: both, or neither.
        calibration_images: how many calibration images were counted; each needs an id of its own.
            More ids than that are fine: images without a labelled pixel are not counted.
        test: the same of the test images.

    Raises:
        SameDataError: an id that both sets have.
        OptionError: one list alone, or fewer different ids than images.
    """
    __tracebackhide__ = True
    if calibration_ids is None and test_ids is None:
        return False
    if calibration_ids is None or test_ids is None:
        raise OptionError("pass both calibration_ids and test_ids, or neither")
    ours = _distinct("calibration_ids", calibration_ids, calibration_images)
    theirs = _distinct("test_ids", test_ids, test)
    shared = tuple(sorted(ours & theirs))
    if shared:
        shown = ", ".join(shared[:_SHOWN]) + (", ..." if len(shared) > _SHOWN else "")
        raise SameDataError(f"{len(shared)} test ids are calibration ids too: {shown}", shared)
    return True


def _distinct(argument: str, ids: Iterable[object], images: int) -> set[str]:
    __tracebackhide__ = True
    if isinstance(ids, (str, bytes)):
        raise OptionError(f"{argument} must be one id per image, got the single text {ids!r}")
    listed = [_spelt(str(name)) for name in ids]
    distinct = set(listed)
    if len(distinct) < images:
        raise OptionError(
            f"{argument} names {len(distinct)} different images ({len(listed)} ids), and {images} "
            f"were counted: pass each image's own id; an image that came several times must be "
            f"counted once"
        )
    return distinct


def _spelt(name: str) -> str:
    """An id as the project writes it: ``/`` between folders, no extension."""
    name = name.strip().replace("\\", "/").removeprefix("./")
    suffix = next((s for s in _SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]
