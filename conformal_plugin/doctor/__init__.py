"""Checks of a host's run before it starts: one small function a check, one module a subject.

A check takes the :class:`~conformal_plugin.doctor.Case` and yields findings; the decorator
:func:`~conformal_plugin.doctor._findings.check` is all it takes to have it run.
"""

from __future__ import annotations

from conformal_plugin.doctor._case import (
    Case as Case,
    read_config as read_config,
)
from conformal_plugin.doctor._checks import (
    all_checks as all_checks,
)
from conformal_plugin.doctor._findings import (
    Finding as Finding,
    Level as Level,
    diagnose as diagnose,
)
