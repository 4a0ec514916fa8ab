"""Phrases that the promises of several calibrations share."""

from __future__ import annotations

from typing import Any

from conformal_plugin.calibration._quantile import exact_alpha, images_needed

__all__ = ["class_list", "coverage_share", "of_new_images", "shortage", "slack"]


def coverage_share(alpha: Any) -> str:
    """``1 - alpha`` as a percentage."""
    return f"{100 * float(1 - exact_alpha(alpha)):g} %"


def of_new_images(unit: str, holding: str = "") -> str:
    """Over what a promise averages, beside calibration sets.

    Args:
        unit: ``"image"`` or ``"group"``.
        holding: what the images hold, with a space before it.
    """
    if unit == "image":
        return f"new exchangeable images{holding}"
    return (
        f"new exchangeable groups, and over the images{holding} of each, all groups counting alike"
    )


def shortage(alpha: float, images: int, unit: str = "image") -> str:
    """Why q-hat is infinite; empty where there are enough images, or groups."""
    needed = images_needed(alpha)
    if images >= needed:
        return ""
    return (
        f" Here q-hat is infinite: alpha {alpha:g} needs at least {needed} {unit}s, and there are "
        f"{images}."
    )


def slack(alpha: float, images: int, unit: str = "image") -> str:
    """What image level lets the calibration images miss, where that is far below alpha."""
    allowed = (exact_alpha(alpha) * (images + 1) - 1) / images
    if allowed < 0 or 2 * allowed >= exact_alpha(alpha):
        return ""
    return (
        f" With {images} {unit}s q-hat may miss only {100 * float(allowed):.3g} % of their pixels "
        f"on average, not {100 * alpha:g} %: it is then mostly so large that it filters little or "
        f"nothing."
    )


def class_list(classes: tuple[int, ...]) -> str:
    """``"Class 3"`` or ``"Classes 3, 7"``."""
    return ("Class " if len(classes) == 1 else "Classes ") + ", ".join(map(str, classes))
