"""Choosing alpha and the rule on the labelled images, by cross-conformal folds."""

from __future__ import annotations

from conformal_plugin.choosing._choice import (
    Candidate as Candidate,
    Choice as Choice,
    Constant as Constant,
    OwnLabels as OwnLabels,
)
from conformal_plugin.choosing._chooser import (
    choose as choose,
)
from conformal_plugin.choosing._measures import (
    jackknife as jackknife,
)
from conformal_plugin.choosing._next_photos import (
    NextPhotos as NextPhotos,
    next_photos as next_photos,
)
from conformal_plugin.choosing._signs import (
    ENOUGH as ENOUGH,
    LabelSigns as LabelSigns,
    signs_of as signs_of,
)
from conformal_plugin.choosing._ways import MIN_IMAGES as MIN_IMAGES
