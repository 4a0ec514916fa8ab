"""Which unlabelled photos to look at first."""

from __future__ import annotations

from conformal_plugin.review._figures import (
    PhotoFigures as PhotoFigures,
    photo_figures as photo_figures,
)
from conformal_plugin.review._ranking import (
    RankedPhoto as RankedPhoto,
    ranked as ranked,
)
