"""A rehearsal of training: do pseudo-labels help a student on photos that it has not seen?"""

from __future__ import annotations

from conformal_plugin.rehearsing._encoder import (
    LiteEncoder as LiteEncoder,
    efficientnet_lite0 as efficientnet_lite0,
)
from conformal_plugin.rehearsing._points import (
    Directions as Directions,
    at_points as at_points,
)
from conformal_plugin.rehearsing._probe import (
    Loss as Loss,
    Unlabelled as Unlabelled,
    confusion as confusion,
    loss_of_labels as loss_of_labels,
    new_probe as new_probe,
    train_probe as train_probe,
)
from conformal_plugin.rehearsing._rehearsal import (
    Rehearsal as Rehearsal,
)
from conformal_plugin.rehearsing._rehearse import (
    Training as Training,
    rehearse as rehearse,
)
from conformal_plugin.rehearsing._sampling import (
    Items as Items,
)
