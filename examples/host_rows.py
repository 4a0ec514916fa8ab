"""The rows of the host study: how the host's unlabelled photos are labelled, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LABELS", "NEVER_SURE", "ROWS", "THRESHOLD", "TRUTH", "Row"]

THRESHOLD = "conf_thresh"
"""What hosts call the confidence from which on their own pseudo-labels count."""
NEVER_SURE = 2.0
"""A threshold above all confidences."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        title: in words.
        labels: of :data:`LABELS`; None where the host is not patched.
        script: in the place of the one that was asked for.
        stage1: share of the epochs in stage I.
        mode: of the patch.
        self_training: whether the host's own losses on unlabelled photos are left to it; else its
            confidence threshold is one that no pixel reaches, so that after stage I it learns from
            the labelled photos alone.
        repeated: whether the labelled list is repeated to the length of the unlabelled one, for a
            script that goes over the labelled photos once an epoch.
    """

    title: str
    labels: str | None = None
    script: str | None = None
    stage1: float = 2 / 3
    mode: str = "replace"
    self_training: bool = True
    repeated: bool = False


LABELS: dict[str, tuple[list[str] | None, list[str]]] = {
    "default": ([], []),
    "paper": (["--preset", "paper"], []),
    "raw": (None, ["--raw"]),
    "precision": (["--guarantee", "precision", "--epsilon", "0.05"], []),
}
"""Options of ``calibrate``, which is left out where they are None, and of ``filter``."""
TRUTH = "truth"
ROWS = {
    "supervised": Row("labels only, as its script has it", script="supervised.py"),
    "supervised-as-long": Row(
        "labels only, as many steps as the host", script="supervised.py", repeated=True
    ),
    "host": Row("the host alone"),
    "default": Row("+ conformal labels", "default"),
    "default-to-the-end": Row("+ conformal labels, no stage II", "default", stage1=1.0),
    "default-then-labelled": Row(
        "+ conformal labels, then labelled photos alone", "default", self_training=False
    ),
    "default-added": Row("+ conformal labels beside its own", "default", mode="add"),
    "paper": Row("+ the paper's preset", "paper"),
    "raw": Row("+ raw labels", "raw"),
    "precision": Row("+ labels at most 5 % wrong, certified", "precision"),
    "ceiling": Row("+ true masks", TRUTH),
}
