"""Choosing alpha and the rule on the labelled images, by cross-conformal folds."""

from __future__ import annotations

from conformal_plugin.choosing._choice import (
    Candidate as Candidate,
    Choice as Choice,
    Constant as Constant,
)
from conformal_plugin.choosing._chooser import (
    choose as choose,
)
