"""Choosing alpha and the rule on the labelled images, by cross-conformal folds."""
