"""The names that options may take, kept apart from the code behind them for instant help."""

from __future__ import annotations

__all__ = [
    "ALPHAS",
    "CLASS_ALPHAS",
    "FEW",
    "GUARANTEES",
    "OF",
    "PRESETS",
    "REVIEW_ORDERS",
    "RULES",
    "TESTS",
    "TOOLS",
    "WEIGHTINGS",
]

ALPHAS = (
    *(0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1),
    *(0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3, 0.4),
)
"""The grid that :func:`conformal_plugin.choose` sweeps."""

CLASS_ALPHAS = (0.2, 0.1, 0.05, 0.02)
"""Its grid of thresholds per class."""

PRESETS = ("paper",)
"""Named ways to calibrate."""

RULES = ("foreground-first", "most-probable", "singleton")
"""How a label is picked from a prediction set, see :func:`conformal_plugin.filter`."""

FEW = ("pool", "leave-out", "fail")
"""What becomes of a class that few images hold, see ``calibrate_class_conditional``."""

WEIGHTINGS = ("share", "pixel", "macro")
"""What precision control averages, see :func:`conformal_plugin.calibrate_precision`."""

OF = ("all", "foreground")
"""The labels that precision control is about, see :func:`conformal_plugin.calibrate_precision`."""

TESTS = ("betting", "hoeffding-bentkus")
"""The tests of precision control, see :mod:`conformal_plugin.betting._pvalues`."""

GUARANTEES = (
    "pixel",
    "image-level",
    "image-wise",
    "confidence",
    "class-conditional",
    "class-conditional-image-level",
    "clustered",
    "precision",
)
"""What ``conformal-plugin calibrate`` can be asked for."""

REVIEW_ORDERS = ("all", "unsure", "lost", "classes", "sets")
"""By what photos are ranked for review, see :func:`conformal_plugin.review.ranked`."""

TOOLS = ("cvat", "cvat-masks", "label-studio", "fiftyone")
"""The annotation tools that labels go to and come back from."""
