"""Lays a bed out as UniMatch and its kin read it: smaller photos, masks, score maps, lists."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from named_forms import NAMED_FORMS
from PIL import Image
from tqdm import tqdm
from voc_like import photo_paths, read_ids

from conformal_plugin._atomic import atomic_open, atomic_write_text
from conformal_plugin.files import map_files, read_label, write_label

__all__ = ["FORMS", "PHOTOS", "SPLITS", "lay_out", "without_mask"]

FORMS = ("as-is", "seem-like")
PHOTOS = "JPEGImages"
IGNORE = 255
SPLITS = {"labeled": "labeled", "unlabeled": "unlabeled", "test": "val"}


def lay_out(
    bed: Path, folder: Path, side: int | None, labelled: int | None, forms: list[str]
) -> None:
    """Write a bed as a ``data_root``; what is there already stays.

    ``JPEGImages/ID.jpg``, ``SegmentationClass/ID.png``, ``maps/FORM/ID.npz`` of all but the test
    photos, and for each split a list for the host, ``{labeled,unlabeled,val}.txt``, and one of ids
    for the command, ``{labeled,unlabeled,val}_ids.txt``. ``labeled_repeated.txt`` has the labelled
    photos over and over, as many lines as there are unlabelled ones. An unlabelled photo without a
    mask gets one of dropped pixels.

    Args:
        bed: a folder with photos, labels, probs and lists, see :mod:`voc_like`.
        folder: where to write.
        side: pixels of a photo's longer side; None to leave photos as they are.
        labelled: how many of the labelled photos, the first of their list; None for all.
        forms: of the scores, of :data:`FORMS`.
    """
    all_ids = {split: read_ids(bed, split) for split in SPLITS}
    all_ids["labeled"] = all_ids["labeled"][:labelled]
    listed: dict[str, list[str]] = {}
    for split, name in SPLITS.items():
        ids = all_ids[split]
        photos = photo_paths(bed, ids)
        maps = None if split == "test" else map_files(bed / "probs", ids)
        for index, one in enumerate(tqdm(ids, desc=f"{split} photos", unit="photo", leave=False)):
            size = _photo(photos[index], folder / PHOTOS / f"{one}.jpg", side)
            _mask(bed, folder, one, size, needed=split != "unlabeled")
            targets = {form: folder / "maps" / form / f"{one}.npz" for form in forms}
            due = {form: path for form, path in targets.items() if not path.is_file()}
            if maps is not None and due:
                _write_maps(np.asarray(maps[index], np.float32), one, size, due)
        lines = [f"{PHOTOS}/{one}.jpg SegmentationClass/{one}.png" for one in ids]
        atomic_write_text(folder / f"{name}.txt", "\n".join(lines) + "\n")
        atomic_write_text(folder / f"{name}_ids.txt", "\n".join(ids) + "\n")
        listed[split] = lines
    over_and_over = itertools.islice(itertools.cycle(listed["labeled"]), len(listed["unlabeled"]))
    atomic_write_text(folder / "labeled_repeated.txt", "\n".join(over_and_over) + "\n")


def without_mask(bed: Path) -> str | None:
    """An unlabelled photo that has no mask; None where all have one."""
    ids = read_ids(bed, "unlabeled")
    return next((one for one in ids if not _mask_path(bed, one).is_file()), None)


def _photo(path: Path, target: Path, side: int | None) -> tuple[int, int]:
    """Height and width as written."""
    with Image.open(path) as photo:
        scale = 1.0 if side is None else side / max(photo.size)
        width, height = (round(length * scale) for length in photo.size)
        if not target.is_file():
            small = photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            with atomic_open(target) as handle:
                small.save(handle, "JPEG", quality=95)
    return height, width


def _mask(bed: Path, folder: Path, name: str, size: tuple[int, int], *, needed: bool) -> None:
    """Of the size of the photo; one of dropped pixels where there is none, as hosts open one."""
    target, path = folder / "SegmentationClass" / f"{name}.png", _mask_path(bed, name)
    if target.is_file():
        return
    if path.is_file() or needed:
        mask = Image.fromarray(read_label(path)).resize(size[::-1], Image.Resampling.NEAREST)
        write_label(target, np.asarray(mask))
    else:
        write_label(target, np.full(size, IGNORE, np.uint8))


def _mask_path(bed: Path, name: str) -> Path:
    return bed / "labels" / f"{name}.png"


def _write_maps(
    scores: npt.NDArray[np.float32], name: str, size: tuple[int, int], targets: dict[str, Path]
) -> None:
    """A photo's map of the photo's size, in each of the forms."""
    whole = torch.as_tensor(scores)[None]
    small = F.interpolate(whole, size, mode="bilinear", antialias=True)[0].clamp(0, 1).numpy()
    for form, target in targets.items():
        with atomic_open(target) as handle:
            np.savez(handle, probs=NAMED_FORMS[form](small, name).astype(np.float16))
