"""Every check, subject by subject, in the order in which findings are printed."""

from __future__ import annotations

from conformal_plugin.doctor import (
    _calibration_checks as calibration_checks,
    _config_checks as config_checks,
    _label_checks as label_checks,
    _list_checks as list_checks,
    _script_checks as script_checks,
)
from conformal_plugin.doctor._findings import CHECKS, Check

__all__ = ["all_checks"]

_SUBJECTS = (config_checks, script_checks, list_checks, label_checks, calibration_checks)


def all_checks() -> list[Check]:
    """The functions decorated with :func:`~conformal_plugin.doctor._findings.check`."""
    return [one for subject in _SUBJECTS for one in CHECKS if one.__module__ == subject.__name__]
