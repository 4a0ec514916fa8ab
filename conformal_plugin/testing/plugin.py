"""The pytest plugin: a ``coverage`` fixture and ``--coverage-alarm-rate``.

pytest imports this module at start-up in every suite of an environment that has this library, so
it imports nothing but pytest; the fixture loads the rest when a test asks for it.
"""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["CoverageFixture", "coverage", "pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--coverage-alarm-rate`` to the command line."""
    parser.getgroup("conformal_plugin").addoption(
        "--coverage-alarm-rate",
        type=float,
        default=1e-3,
        metavar="RATE",
        help="rate at which the assertions of the `coverage` fixture fail a sound calibration, at "
        "most (default: %(default)s)",
    )


class CoverageFixture:
    """The assertions of :mod:`conformal_plugin.testing` at the suite's alarm rate.

    Calling it is :func:`conformal_plugin.testing.assert_coverage`; the methods are the assertions
    of the same name. Each takes ``false_alarm`` too, to overrule the suite's rate.

    Attributes:
        alarm_rate: the value of ``--coverage-alarm-rate``.
    """

    def __init__(self, alarm_rate: float) -> None:
        self.alarm_rate = alarm_rate

    def __call__(self, *args: Any, **options: Any) -> None:
        """:func:`conformal_plugin.testing.assert_coverage`."""
        self._run("assert_coverage", args, options)

    def points(self, *args: Any, **options: Any) -> None:
        """:func:`conformal_plugin.testing.assert_point_coverage`."""
        self._run("assert_point_coverage", args, options)

    def images(self, *args: Any, **options: Any) -> None:
        """:func:`conformal_plugin.testing.assert_image_coverage`."""
        self._run("assert_image_coverage", args, options)

    def exchangeable(self, *args: Any, **options: Any) -> None:
        """:func:`conformal_plugin.testing.assert_exchangeable_coverage`."""
        self._run("assert_exchangeable_coverage", args, options)

    def confident(self, *args: Any, **options: Any) -> None:
        """:func:`conformal_plugin.testing.assert_confident_coverage`."""
        self._run("assert_confident_coverage", args, options)

    def image_wise(self, *args: Any, **options: Any) -> None:
        """:func:`conformal_plugin.testing.assert_image_wise_coverage`."""
        self._run("assert_image_wise_coverage", args, options)

    def threshold_rule(self, *args: Any, **options: Any) -> None:
        """:func:`conformal_plugin.testing.assert_threshold_rule`."""
        self._run("assert_threshold_rule", args, options)

    def precision(self, *args: Any, **options: Any) -> None:
        """:func:`conformal_plugin.testing.assert_precision`."""
        self._run("assert_precision", args, options)

    def image_precision(self, *args: Any, **options: Any) -> None:
        """:func:`conformal_plugin.testing.assert_image_precision`."""
        self._run("assert_image_precision", args, options)

    def _run(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        __tracebackhide__ = True
        from conformal_plugin import testing

        getattr(testing, name)(*args, **{"false_alarm": self.alarm_rate, **options})


@pytest.fixture
def coverage(request: pytest.FixtureRequest) -> CoverageFixture:
    """Assertions on conformal coverage, at the rate of ``--coverage-alarm-rate``."""
    return CoverageFixture(request.config.getoption("--coverage-alarm-rate"))
