"""A calibration and its labels as a folder for others, to the Hugging Face Hub and back."""

from __future__ import annotations

from conformal_plugin.hub._contents import (
    Contents as Contents,
)
from conformal_plugin.hub._labels import (
    LabelSet as LabelSet,
)
from conformal_plugin.hub._shared import (
    Shared as Shared,
)
from conformal_plugin.hub._writing import (
    share as share,
)
