"""The names that options may take, kept apart from the code behind them for instant help."""

from __future__ import annotations

__all__ = ["FEW", "GUARANTEES", "RULES", "TESTS", "WEIGHTINGS"]

RULES = ("foreground-first", "most-probable", "singleton")
"""How a label is picked from a prediction set, see :func:`conformal_plugin.filter`."""

FEW = ("pool", "leave-out", "fail")
"""What becomes of a class that few images hold, see ``calibrate_class_conditional``."""

WEIGHTINGS = ("share", "pixel", "macro")
"""What precision control averages, see :func:`conformal_plugin.calibrate_precision`."""

TESTS = ("betting", "hoeffding-bentkus")
"""The tests of precision control, see :mod:`conformal_plugin.guarantees.bounds`."""

GUARANTEES = (
    "pixel",
    "image-level",
    "image-wise",
    "class-conditional",
    "class-conditional-image-level",
    "clustered",
    "precision",
)
"""What ``conformal-plugin calibrate`` can be asked for."""
