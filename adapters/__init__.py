"""Conformal pseudo-labels in existing training code: one module a host, imported by its name.

``aligned`` carries pseudo-labels through the host's own augmentations; ``fixmatch`` and
``unimatch`` put the conformal loss where the host has its own; ``views`` is what they share.
"""
