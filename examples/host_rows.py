"""The rows of the host study: how the host's unlabelled photos are labelled, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LABELS", "ROWS", "TRUTH", "Row"]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        title: in words.
        labels: of :data:`LABELS`; None where the host is not patched.
        script: in the place of the one that was asked for.
        stage1: share of the epochs in stage I.
        mode: of the patch.
    """

    title: str
    labels: str | None = None
    script: str | None = None
    stage1: float = 2 / 3
    mode: str = "replace"


LABELS: dict[str, tuple[list[str] | None, list[str]]] = {
    "default": ([], []),
    "paper": (["--preset", "paper"], []),
    "raw": (None, ["--raw"]),
    "precision": (["--guarantee", "precision", "--epsilon", "0.05"], []),
}
"""Options of ``calibrate``, which is left out where they are None, and of ``filter``."""
TRUTH = "truth"
ROWS = {
    "supervised": Row("labels only", script="supervised.py"),
    "host": Row("the host alone"),
    "default": Row("+ conformal labels", "default"),
    "default-to-the-end": Row("+ conformal labels, no stage II", "default", stage1=1.0),
    "default-added": Row("+ conformal labels beside its own", "default", mode="add"),
    "paper": Row("+ the paper's preset", "paper"),
    "raw": Row("+ raw labels", "raw"),
    "precision": Row("+ labels at most 5 % wrong, certified", "precision"),
    "ceiling": Row("+ true masks", TRUTH),
}
