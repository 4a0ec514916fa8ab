"""The labels of a CVAT task, for the field *Raw* of its constructor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.exchange._vocabulary import CHECKED, Vocabulary

__all__ = ["LABELS", "cvat_labels", "write_cvat_labels"]

LABELS: Final = "cvat_labels.json"


def cvat_labels(vocabulary: Vocabulary) -> list[dict[str, str]]:
    """Name, colour and type: a label is painted or drawn in any way, and *checked* is a tag."""
    labels = [
        {"name": label, "color": "#{:02x}{:02x}{:02x}".format(*colour), "type": "any"}
        for label, colour in vocabulary.colours().items()
    ]
    labels.append({"name": CHECKED, "color": "#ffffff", "type": "tag"})
    return labels


def write_cvat_labels(folder: Path, vocabulary: Vocabulary) -> Path:
    """Write ``cvat_labels.json``."""
    content = [{**label, "attributes": []} for label in cvat_labels(vocabulary)]
    path = folder / LABELS
    atomic_write_text(path, json.dumps(content, indent=1) + "\n")
    return path
