"""Tests of a coverage guarantee, for a user's own suite: laws, assertions, strategies, fixture.

Names are loaded on first use: pytest imports this package at start-up for its plugin, in suites
that never use it too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformal_plugin.testing.coverage import assert_coverage
    from conformal_plugin.testing.failures import CoverageError, PrecisionError, SameDataError
    from conformal_plugin.testing.images import (
        assert_exchangeable_coverage,
        assert_image_coverage,
        assert_image_wise_coverage,
    )
    from conformal_plugin.testing.laws import (
        calibration_images_for,
        calibration_size_for,
        coverage_law,
        coverage_spread,
    )
    from conformal_plugin.testing.points import assert_point_coverage, assert_threshold_rule
    from conformal_plugin.testing.precision import (
        assert_image_precision,
        assert_precision,
        assert_promise_rate,
    )
    from conformal_plugin.testing.simulation import correlated_scores, maps_from_scores

__all__ = [
    "CoverageError",
    "PrecisionError",
    "SameDataError",
    "assert_coverage",
    "assert_exchangeable_coverage",
    "assert_image_coverage",
    "assert_image_precision",
    "assert_image_wise_coverage",
    "assert_point_coverage",
    "assert_precision",
    "assert_promise_rate",
    "assert_threshold_rule",
    "calibration_images_for",
    "calibration_size_for",
    "correlated_scores",
    "coverage_law",
    "coverage_spread",
    "maps_from_scores",
]

_MODULE_OF = {
    "CoverageError": "failures",
    "PrecisionError": "failures",
    "SameDataError": "failures",
    "assert_coverage": "coverage",
    "assert_exchangeable_coverage": "images",
    "assert_image_coverage": "images",
    "assert_image_precision": "precision",
    "assert_image_wise_coverage": "images",
    "assert_point_coverage": "points",
    "assert_precision": "precision",
    "assert_promise_rate": "precision",
    "assert_threshold_rule": "points",
    "calibration_images_for": "laws",
    "calibration_size_for": "laws",
    "correlated_scores": "simulation",
    "coverage_law": "laws",
    "coverage_spread": "laws",
    "maps_from_scores": "simulation",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'conformal_plugin.testing' has no attribute {name!r}")
    module = importlib.import_module(f"conformal_plugin.testing.{_MODULE_OF[name]}")
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
