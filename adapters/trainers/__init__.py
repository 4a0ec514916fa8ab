"""Callbacks for trainers: they begin each epoch of a ``ConformalSupervision`` and log its end."""

from __future__ import annotations

from conformal_plugin.adapters.trainers._lightning import (
    lightning_callback as lightning_callback,
)
from conformal_plugin.adapters.trainers._transformers import (
    transformers_callback as transformers_callback,
)
