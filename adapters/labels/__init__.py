"""Pseudo-labels that go through a host's own augmentations with their photos."""

from __future__ import annotations

from conformal_plugin.adapters.labels._aligned import (
    AlignedPseudoLabels as AlignedPseudoLabels,
    HostDataset as HostDataset,
)
from conformal_plugin.adapters.labels._label_settings import (
    LABEL_SETTINGS as LABEL_SETTINGS,
    label_remarks as label_remarks,
    label_settings as label_settings,
    labelled_pixels as labelled_pixels,
)
from conformal_plugin.adapters.labels._pseudo_labels import (
    PseudoLabelFolder as PseudoLabelFolder,
)
