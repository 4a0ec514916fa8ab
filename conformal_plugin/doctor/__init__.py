"""Checks of a host's run before it starts: one small function a check, one module a subject.

A check takes the :class:`~conformal_plugin.doctor.case.Case` and yields findings; the decorator
:func:`~conformal_plugin.doctor.findings.check` is all it takes to have it run.
"""
