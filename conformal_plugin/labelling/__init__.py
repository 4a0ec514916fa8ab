"""From scores and q-hat to prediction sets and pseudo-labels."""

from __future__ import annotations

from conformal_plugin.labelling._cap import (
    Cap as Cap,
    cap_of as cap_of,
    cap_settings as cap_settings,
    most_kept as most_kept,
    spread_order as spread_order,
)
from conformal_plugin.labelling._cpu_labels import (
    fill_maps as fill_maps,
    label_part as label_part,
)
from conformal_plugin.labelling._filtering import (
    filter as filter,
    prediction_sets as prediction_sets,
)
from conformal_plugin.labelling._image_labels import (
    image_labels as image_labels,
)
from conformal_plugin.labelling._p_values import (
    label_weights as label_weights,
    p_values as p_values,
)
from conformal_plugin.labelling._raw import (
    raw_labels as raw_labels,
)
from conformal_plugin.labelling._rules import (
    check_rule as check_rule,
    in_set as in_set,
    label_dtype as label_dtype,
    label_maps as label_maps,
    members as members,
    promised_rule as promised_rule,
    score_of as score_of,
    unfiltered_labels as unfiltered_labels,
)
from conformal_plugin.labelling._share_gap import (
    classes_far_off as classes_far_off,
)
from conformal_plugin.labelling._thinning import (
    thin as thin,
)
from conformal_plugin.labelling._thresholds import (
    Least as Least,
    class_thresholds as class_thresholds,
    least_patterns as least_patterns,
    least_scores as least_scores,
    refuse_uninformative as refuse_uninformative,
)
