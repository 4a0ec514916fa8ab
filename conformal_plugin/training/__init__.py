"""The training side: the conformal term of a loss, its schedule, and CutMix."""
