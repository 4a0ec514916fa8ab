"""Phrases that the promises of several calibrations share."""

from __future__ import annotations

from typing import Any

from conformal_plugin.calibration._quantile import exact_alpha, images_needed

__all__ = ["class_list", "coverage_share", "shortage"]


def coverage_share(alpha: Any) -> str:
    """``1 - alpha`` as a percentage."""
    return f"{100 * float(1 - exact_alpha(alpha)):g} %"


def shortage(alpha: float, images: int) -> str:
    """Why q-hat is infinite; empty where there are enough images."""
    needed = images_needed(alpha)
    if images >= needed:
        return ""
    return (
        f" Here q-hat is infinite: alpha {alpha:g} needs at least {needed} images, and there are "
        f"{images}."
    )


def class_list(classes: tuple[int, ...]) -> str:
    """``"Class 3"`` or ``"Classes 3, 7"``."""
    return ("Class " if len(classes) == 1 else "Classes ") + ", ".join(map(str, classes))
