"""Reads a folder of photos, labels, probs and lists, as the README or as voc-animals has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from material import Annotation, Material, Split
from named_forms import NAMED_FORMS, Form
from PIL import Image
from tqdm import tqdm

from conformal_plugin.errors import ShapeError, SourceFileError

__all__ = ["CORE", "LAYOUT", "ScoreMaps", "channels", "photo_paths", "read_ids", "read_material"]

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
CORE = (0, 8, 10, 12, 13, 15, 17)  # background, cat, cow, dog, horse, person, sheep
SPLITS = ("labeled", "unlabeled", "test")
LISTS = {"labeled": "labelled.txt", "unlabeled": "unlabelled.txt", "test": "held_out.txt"}
LAYOUT = (
    "a folder with labels/, probs/, photos/ and labelled.txt, unlabelled.txt and held_out.txt, or "
    "with images/ and splits/labeled_N.txt, unlabeled_N.txt and test_N.txt"
)

Scores = npt.NDArray[np.floating]


@dataclass(frozen=True)
class ScoreMaps:
    """Probability maps of some ids, read from disk each time they are gone through."""

    folder: Path
    ids: Sequence[str]
    form: Form

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Scores]:
        for name in self.ids:
            path = _existing(self.folder / "probs" / f"{name}.npz")
            with np.load(path) as archive:
                if "probs" not in archive.files:
                    raise SourceFileError(
                        f"expected the key 'probs' in {path}, got {archive.files}; save the map "
                        "with np.savez(path, probs=scores)"
                    )
                yield self.form(archive["probs"], name)


def read_material(folder: Path, forms: Sequence[str], limit: int | None = None) -> Material:
    """Read photos and masks into memory; ``limit`` keeps the first images of each split."""
    ids = {split: read_ids(folder, split)[:limit] for split in SPLITS}
    labelled = _read_split(folder, ids["labeled"], "labelled photos")
    classes, core = _classes(folder, channels(folder), labelled)
    return Material(
        name=folder.resolve().name,
        classes=classes,
        palette=voc_palette(len(classes)),
        core=core,
        labelled=labelled,
        unlabelled=_read_split(folder, ids["unlabeled"], "unlabelled photos"),
        test=_read_split(folder, ids["test"], "test photos"),
        annotations={
            form: Annotation(
                labelled=ScoreMaps(folder, ids["labeled"], NAMED_FORMS[form]),
                unlabelled=ScoreMaps(folder, ids["unlabeled"], NAMED_FORMS[form]),
                labelled_ids=ids["labeled"],
            )
            for form in forms
        },
    )


def channels(folder: Path) -> int:
    """The number of classes of the maps; VOC's where there is none yet."""
    first = min((folder / "probs").glob("*.npz"), default=None)
    if first is None:
        return len(CLASSES)
    with np.load(first) as archive:
        return len(archive[archive.files[0]])


def _classes(folder: Path, count: int, labelled: Split) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The names of the classes, and those that are not rare.

    ``names.txt`` in the folder has a name a line. Without it 21 classes are VOC's, of which those
    of voc-animals are not rare; others are numbered, and all that are labelled count.
    """
    path = folder / "names.txt"
    if not path.is_file() and count == len(CLASSES):
        return CLASSES, CORE
    names = tuple(f"class {c}" for c in range(count))
    if path.is_file():
        names = tuple(path.read_text(encoding="utf-8").splitlines())
        if len(names) != count:
            raise SourceFileError(
                f"{path} has {len(names)} names and the maps have {count} classes; write one name "
                "a line, in the order of the channels"
            )
    present = np.unique(np.concatenate([np.unique(truth) for truth in labelled.truth]))
    return names, tuple(int(c) for c in present if c < count)


def read_ids(folder: Path, split: str) -> list[str]:
    """Return the ids of ``splits/<split>_<number>.txt``, or of the list that the README has."""
    listed = folder / LISTS[split]
    found = sorted((folder / "splits").glob(f"{split}_*.txt"))
    if listed.is_file():
        found.append(listed)
    if len(found) != 1:
        names = [path.name for path in found] or "none"
        raise SourceFileError(
            f"expected one id list {listed.name} or splits/{split}_<number>.txt in {folder}, found "
            f"{names}; --data takes {LAYOUT}"
        )
    return found[0].read_text(encoding="utf-8").split()


def photo_paths(folder: Path, names: Sequence[str]) -> list[Path]:
    """The photos of ids."""
    found = defaultdict(list)
    for place in (folder / "photos", folder / "images"):
        for path in place.iterdir() if place.is_dir() else ():
            found[path.stem].append(path)
    for name in names:
        if len(found[name]) != 1:
            paths = sorted(path.name for path in found[name]) or "none"
            raise SourceFileError(
                f"expected one photo {name} in {folder}, found {paths}; --data takes {LAYOUT}"
            )
    return [found[name][0] for name in names]


def voc_palette(count: int) -> npt.NDArray[np.uint8]:
    """The VOC colours of classes 0 to ``count - 1``: the bits of the index, spread over RGB."""
    palette = np.zeros((count, 3), np.uint8)
    for index in range(count):
        for bit in range(8):
            for channel in range(3):
                palette[index, channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return palette


def _read_split(folder: Path, ids: Sequence[str], what: str) -> Split:
    photos, truth = [], []
    pairs = list(zip(ids, photo_paths(folder, ids)))
    for name, path in tqdm(pairs, desc=f"reading {what}", unit="image", leave=False):
        with Image.open(path) as image:
            photo = np.asarray(image.convert("RGB"))
        with Image.open(_existing(folder / "labels" / f"{name}.png")) as image:
            mask = np.array(image)
        if mask.shape != photo.shape[:2]:
            raise ShapeError(
                f"image {name}: the photo has height and width {photo.shape[:2]}, its label map "
                f"{mask.shape}; resize the label map by nearest neighbour to the photo"
            )
        photos.append(np.ascontiguousarray(photo.transpose(2, 0, 1)))
        truth.append(mask)
    return Split(photos, truth)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise SourceFileError(
            f"no file {path}: every listed id needs a photo, labels/ID.png and probs/ID.npz; add "
            f"the file or take the id off the list"
        )
    return path
