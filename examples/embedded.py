"""Puts the embedded default together: photo-like scenes, annotated by a network of studio shots."""

from __future__ import annotations

import numpy as np
from annotator import annotate, train_annotator
from material import Annotation, Material, Split
from scenes import CLASSES, PHOTO, draw_many

__all__ = ["make_material"]

PALETTE = np.array(
    [[40, 40, 48], [230, 80, 70], [70, 150, 235], [250, 190, 60], [90, 190, 110], [190, 110, 220]],
    np.uint8,
)
SEEDS = {"labelled": 11, "unlabelled": 12, "test": 13}


def make_material(
    labelled: int = 12, unlabelled: int = 240, test: int = 200, annotator_steps: int = 600
) -> Material:
    """Draw the scenes, train the annotator and let it score them; always the same result."""
    counts = {"labelled": labelled, "unlabelled": unlabelled, "test": test}
    drawn = {split: draw_many(PHOTO, counts[split], seed) for split, seed in SEEDS.items()}
    annotator = train_annotator(annotator_steps)
    return Material(
        name="embedded scenes",
        classes=CLASSES,
        palette=PALETTE,
        core=tuple(range(len(CLASSES))),
        annotations={
            "seem-like": Annotation(
                labelled=annotate(annotator, drawn["labelled"][0]),
                unlabelled=annotate(annotator, drawn["unlabelled"][0]),
            )
        },
        **{split: Split(list(photos), list(truth)) for split, (photos, truth) in drawn.items()},
    )
