"""Tests of a coverage guarantee, for a user's own suite: laws, assertions, strategies, fixture.

Names are loaded on first use: pytest imports this package at start-up for its plugin, in suites
that never use it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformal_plugin._lazy import lazily

if TYPE_CHECKING:
    from conformal_plugin.testing._confidence import (
        assert_confident_coverage as assert_confident_coverage,
    )
    from conformal_plugin.testing._coverage import (
        assert_coverage as assert_coverage,
    )
    from conformal_plugin.testing._failures import (
        CoverageError as CoverageError,
        PrecisionError as PrecisionError,
        SameDataError as SameDataError,
        ThresholdError as ThresholdError,
    )
    from conformal_plugin.testing._images import (
        assert_exchangeable_coverage as assert_exchangeable_coverage,
        assert_image_coverage as assert_image_coverage,
        assert_image_wise_coverage as assert_image_wise_coverage,
    )
    from conformal_plugin.testing._laws import (
        calibration_images_for as calibration_images_for,
        calibration_size_for as calibration_size_for,
        coverage_law as coverage_law,
        coverage_spread as coverage_spread,
    )
    from conformal_plugin.testing._points import (
        assert_point_coverage as assert_point_coverage,
        assert_threshold_rule as assert_threshold_rule,
    )
    from conformal_plugin.testing._precision import (
        assert_image_precision as assert_image_precision,
        assert_precision as assert_precision,
        assert_promise_rate as assert_promise_rate,
    )
    from conformal_plugin.testing._simulation import (
        correlated_scores as correlated_scores,
        maps_from_scores as maps_from_scores,
    )
    from conformal_plugin.testing._threshold import (
        assert_threshold as assert_threshold,
    )

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "_confidence": ("assert_confident_coverage",),
        "_coverage": ("assert_coverage",),
        "_failures": (
            "CoverageError",
            "PrecisionError",
            "SameDataError",
            "ThresholdError",
        ),
        "_images": (
            "assert_exchangeable_coverage",
            "assert_image_coverage",
            "assert_image_wise_coverage",
        ),
        "_laws": (
            "calibration_images_for",
            "calibration_size_for",
            "coverage_law",
            "coverage_spread",
        ),
        "_points": (
            "assert_point_coverage",
            "assert_threshold_rule",
        ),
        "_precision": (
            "assert_image_precision",
            "assert_precision",
            "assert_promise_rate",
        ),
        "_simulation": (
            "correlated_scores",
            "maps_from_scores",
        ),
        "_threshold": ("assert_threshold",),
    },
)
