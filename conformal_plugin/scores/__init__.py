"""What a caller passes, read and checked: arrays in, one image at a time, codes of a dtype."""

from __future__ import annotations

from conformal_plugin.scores._arrays import (
    as_tensor as as_tensor,
    back_to_kind as back_to_kind,
    in_cpu_memory as in_cpu_memory,
    to_tensor as to_tensor,
)
from conformal_plugin.scores._binary import (
    from_foreground as from_foreground,
)
from conformal_plugin.scores._grid import (
    ScoreGrid as ScoreGrid,
    grid_named as grid_named,
    grid_of as grid_of,
)
from conformal_plugin.scores._in_step import (
    GroupLabels as GroupLabels,
    group_labels as group_labels,
)
from conformal_plugin.scores._inputs import (
    LabelledParts as LabelledParts,
    LabelledScores as LabelledScores,
    check_ignore_index as check_ignore_index,
    class_indices as class_indices,
    elsewhere as elsewhere,
    labelled_images as labelled_images,
    read_scores as read_scores,
    rereadable as rereadable,
    true_scores as true_scores,
)
from conformal_plugin.scores._label_content import (
    LabelContent as LabelContent,
    label_fingerprint as label_fingerprint,
)
from conformal_plugin.scores._label_map import (
    LabelMap as LabelMap,
)
from conformal_plugin.scores._named_label_maps import (
    voc_colour as voc_colour,
)
from conformal_plugin.scores._parts import (
    PART_BYTES as PART_BYTES,
    ScoreParts as ScoreParts,
)
from conformal_plugin.scores._patterns import Patterns as Patterns, patterns_of as patterns_of
from conformal_plugin.scores._repeats import (
    SeenIds as SeenIds,
)
from conformal_plugin.scores._score_range import (
    check_range as check_range,
    extremes as extremes,
    ordered as ordered,
)
from conformal_plugin.scores._true_scores import (
    RecentReadings as RecentReadings,
    TrueScores as TrueScores,
    read_true_scores as read_true_scores,
)
from conformal_plugin.scores._volumes import (
    as_image as as_image,
    one_kind as one_kind,
    refuse_a_volume as refuse_a_volume,
)
