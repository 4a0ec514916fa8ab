"""Calibrations with other promises than the pooled pixels' of :func:`conformal_plugin.calibrate`.

Each module holds one function and the streaming class behind it; each result is a
:class:`conformal_plugin.Calibration` that says in a sentence what it promises.

- :mod:`.image_level`: on average over images, a share ``1 - alpha`` of pixels is covered; exact.
- :mod:`.image_wise`: a new image has a share ``tau`` covered with probability ``1 - alpha``; exact.
- :mod:`.class_conditional`: a threshold per class, from its pixels (heuristic) or its images
  (exact), with a policy for classes that few images hold.
- :mod:`.clustered`: classes that behave alike share a threshold; exact, for many rare classes.
"""
