"""Lays a bed out as UniMatch and its kin read it: smaller photos, masks, score maps, lists."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from named_forms import NAMED_FORMS
from PIL import Image
from tqdm import tqdm
from voc_like import read_ids

from conformal_plugin._atomic import atomic_open, atomic_write_text
from conformal_plugin.files import read_label, read_map, write_label

__all__ = ["FORMS", "PHOTOS", "lay_out"]

FORMS = ("as-is", "seem-like")
PHOTOS = "JPEGImages"
SPLITS = {"labeled": "labeled", "unlabeled": "unlabeled", "test": "val"}


def lay_out(bed: Path, folder: Path, side: int, labelled: int | None, forms: list[str]) -> None:
    """Write a bed as a ``data_root``; what is there already stays.

    ``JPEGImages/ID.jpg``, ``SegmentationClass/ID.png``, ``maps/FORM/ID.npz`` of all but the test
    photos, and for each split a list for the host, ``{labeled,unlabeled,val}.txt``, and one of ids
    for the command, ``{labeled,unlabeled,val}_ids.txt``. ``labeled_repeated.txt`` has the labelled
    photos over and over, as many lines as there are unlabelled ones.

    Args:
        bed: a folder with ``images/``, ``labels/``, ``probs/`` and ``splits/``.
        folder: where to write.
        side: pixels of a photo's longer side.
        labelled: how many of the labelled photos, the first of their list; None for all.
        forms: of the scores, of :data:`FORMS`.
    """
    listed: dict[str, list[str]] = {}
    for split, name in SPLITS.items():
        ids = read_ids(bed, split)[: labelled if split == "labeled" else None]
        for one in tqdm(ids, desc=f"{split} photos", unit="photo", leave=False):
            size = _photo_and_mask(bed, folder, one, side)
            if split != "test":
                _maps(bed, folder, one, size, forms)
        lines = [f"{PHOTOS}/{one}.jpg SegmentationClass/{one}.png" for one in ids]
        atomic_write_text(folder / f"{name}.txt", "\n".join(lines) + "\n")
        atomic_write_text(folder / f"{name}_ids.txt", "\n".join(ids) + "\n")
        listed[split] = lines
    over_and_over = itertools.islice(itertools.cycle(listed["labeled"]), len(listed["unlabeled"]))
    atomic_write_text(folder / "labeled_repeated.txt", "\n".join(over_and_over) + "\n")


def _photo_and_mask(bed: Path, folder: Path, name: str, side: int) -> tuple[int, int]:
    """Height and width as written."""
    (path,) = (bed / "images").glob(f"{name}.*")
    with Image.open(path) as photo:
        scale = side / max(photo.size)
        width, height = (round(length * scale) for length in photo.size)
        target = folder / PHOTOS / f"{name}.jpg"
        if not target.is_file():
            small = photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            with atomic_open(target) as handle:
                small.save(handle, "JPEG", quality=95)
    target = folder / "SegmentationClass" / f"{name}.png"
    if not target.is_file():
        mask = Image.fromarray(read_label(bed / "labels" / f"{name}.png"))
        write_label(target, np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)))
    return height, width


def _maps(bed: Path, folder: Path, name: str, size: tuple[int, int], forms: list[str]) -> None:
    targets = {form: folder / "maps" / form / f"{name}.npz" for form in forms}
    due = {form: target for form, target in targets.items() if not target.is_file()}
    if not due:
        return
    (path,) = (bed / "probs").glob(f"{name}.*")
    scores = torch.as_tensor(np.asarray(read_map(path), np.float32))[None]
    small = F.interpolate(scores, size, mode="bilinear", antialias=True)[0].clamp(0, 1).numpy()
    for form, target in due.items():
        with atomic_open(target) as handle:
            np.savez(handle, probs=NAMED_FORMS[form](small, name).astype(np.float16))
