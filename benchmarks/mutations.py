"""Damaged files of every kind that is read: refused or read as they were, and never anything else.

Each damaged version of a file must give equal values or a typed error. Other values may come only
where a format has no checksum over all that it says: ``.npy``, torch's old format, ``.safetensors``
and the JSON of label maps; there the checksum of what was read tells, see ``filter --verify``.

    python benchmarks/mutations.py --each 3000
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from conformal_plugin import Calibration, Calibrator, calibrate
from conformal_plugin.cli._checkpoint import Checkpoint
from conformal_plugin.errors import ConformalError
from conformal_plugin.exchange import (
    SENT,
    Sent,
    SentPhoto,
    Sheet,
    Vocabulary,
    read_returned,
    write_export,
)
from conformal_plugin.files import read_label, read_label_map, read_map, write_label
from conformal_plugin.files._store_codec import encode
from conformal_plugin.hub._contents import CALIBRATION, CONTENTS, LABELS, Contents, digest_of


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: of the file.
        write: writes a good one.
        read: gives what can be compared.
        checked: whether the format has a checksum over all that it says; where it has none, what
            was read can be other values, and nothing but a digest tells.
        needs: the package that reads it, of an extra.
    """

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    checked: bool
    needs: str = "numpy"

    @property
    def is_read(self) -> bool:
        """Whether that package is installed."""
        return importlib.util.find_spec(self.needs) is not None


def changed(whole: bytes, number: int, seed: int = 0) -> Iterator[bytes]:
    """``number`` damaged versions: flipped bits, bytes, cuts, insertions, swaps, repeats."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        content = bytearray(whole)
        place, other = (int(n) for n in rng.integers(0, len(content), 2))
        length = int(rng.integers(1, 40))
        how = int(rng.integers(0, 8))
        if how <= 2:  # what disks do most
            content[place] ^= 1 << int(rng.integers(0, 8))
        elif how == 3:
            content[place] = int(rng.integers(0, 256))
        elif how == 4:
            del content[place:]
        elif how == 5:
            content[place : place + length] = bytes(length)
        elif how == 6:
            content[place:place] = rng.bytes(length)
        else:
            content[place : place + length] = content[other : other + length]
        if content != whole:
            yield bytes(content)


_SCORES = np.ascontiguousarray(
    np.random.default_rng(0).dirichlet(np.ones(3), (5, 4)).transpose(2, 0, 1), dtype=np.float16
)
_BANDS = np.ascontiguousarray(np.moveaxis(_SCORES, 0, -1))
_LABELS = np.random.default_rng(1).integers(0, 3, (5, 4)).astype(np.uint8)


def _map(path: Path) -> tuple[Any, ...]:
    scores = read_map(path, max_bytes=2**20)
    array = scores.float().numpy() if isinstance(scores, torch.Tensor) else scores
    return str(scores.dtype).removeprefix("torch."), array.shape, array.tobytes()


def _label(path: Path) -> tuple[Any, ...]:
    values = read_label(path)
    return str(values.dtype), values.shape, values.tobytes()


def _old_torch(path: Path) -> None:
    torch.save({"probs": torch.from_numpy(_SCORES)}, path, _use_new_zipfile_serialization=False)


def _write_hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("probs", data=_SCORES, compression="gzip")


def _write_nifti(path: Path) -> None:
    import nibabel

    values = _SCORES[:, None].astype(np.float32).transpose()
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def _write_tiff(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, _BANDS, photometric="rgb")


def _calibration(path: Path) -> None:
    calibrate(_SCORES[None], _LABELS[None], alpha=0.4).save(path)


def _label_map(path: Path) -> None:
    path.write_text('{"0": "ignore", "7": 0, "8": 1, "11": 2, "*": "ignore"}', encoding="utf-8")


def _checkpoint(path: Path) -> Checkpoint:
    return Checkpoint(path, {"alpha": 0.4}, [], [], [])


def _write_checkpoint(path: Path) -> None:
    calibrator = Calibrator()
    calibrator.update(_SCORES, _LABELS)
    _checkpoint(path).save(calibrator)


def _counts(path: Path) -> str:
    found = _checkpoint(path).load(Calibrator)
    assert found is not None
    return found[0].result(0.4).to_json()


_VOCABULARY = Vocabulary(("background", "cat", "dog"), 0)
_SENT_PHOTO = SentPhoto("a", "a.jpg", *_LABELS.shape, None)


def _export(tool: str) -> Callable[[Path], None]:
    """Writes the file of an export, and annotations of what are predictions."""

    def write(path: Path) -> None:
        sheet = Sheet(_SENT_PHOTO, Path("a.jpg"), _LABELS)
        written = write_export(path.parent, tool, _VOCABULARY, [sheet])[0]
        if tool == "label-studio":
            text = written.read_text(encoding="utf-8")
            written.write_text(text.replace('"predictions"', '"annotations"'), encoding="utf-8")

    return write


def _back(tool: str) -> Callable[[Path], list[Any]]:
    sent = Sent(tool, _VOCABULARY, (_SENT_PHOTO,))
    return lambda path: [
        (one.photo, one.composed.labels.tobytes(), one.marked) for one in read_returned(path, sent)
    ]


_CONTENTS = Contents(
    "cc-by-4.0",
    ("background", "cat", "dog"),
    {"name": "segmenter", "revision": "1"},
    {"numpy": "2.0.0"},
    {CALIBRATION: digest_of(b"calibration"), f"{LABELS}/a.png": digest_of(b"label")},
)

KINDS = (
    Kind("label.png", lambda path: write_label(path, _LABELS, origin="a", read="b"), _label, True),
    Kind("stored.npz", lambda path: np.savez(path, probs=_SCORES), _map, True),
    Kind("packed.npz", lambda path: np.savez_compressed(path, probs=_SCORES), _map, True),
    Kind("map.json", _label_map, lambda path: read_label_map(path).text, False),
    Kind("a.npy", lambda path: np.save(path, _SCORES), _map, False),
    Kind("a.pt", lambda path: torch.save({"probs": torch.from_numpy(_SCORES)}, path), _map, True),
    Kind("old.pt", _old_torch, _map, False),
    Kind(
        "a.safetensors",
        lambda path: save_file({"probs": torch.from_numpy(_SCORES)}, str(path)),
        _map,
        False,
    ),
    Kind("a.cpmap", lambda path: path.write_bytes(encode(_SCORES, source=b"photo")), _map, True),
    Kind("a.h5", _write_hdf5, _map, False, "h5py"),
    Kind("a.nii", _write_nifti, _map, False, "nibabel"),
    Kind("a.nii.gz", _write_nifti, _map, True, "nibabel"),
    Kind("a.tif", _write_tiff, _map, False, "tifffile"),
    Kind("c.json", _calibration, lambda path: Calibration.load(path).to_json(), True),
    Kind("c.partial.npz", _write_checkpoint, _counts, True),
    Kind("annotations.xml", _export("cvat"), _back("cvat"), False),
    # Of a photo whose name in the list of files is damaged the mask is not found.
    Kind("segmentation_mask.zip", _export("cvat-masks"), _back("cvat-masks"), False),
    Kind("tasks.json", _export("label-studio"), _back("label-studio"), False),
    Kind(SENT, _export("cvat"), lambda path: Sent.read(path.parent), True),
    Kind(
        CONTENTS,
        lambda path: _CONTENTS.write(path.parent),
        lambda path: Contents.read(path.parent),
        True,
    ),
)


def outcomes(kind: Kind, folder: Path, number: int, seed: int = 0) -> Counter[str]:
    """How often a damaged file was refused, read as it was, or anything else."""
    path = folder / kind.name
    kind.write(path)
    whole = path.read_bytes()
    good = kind.read(path)
    found: Counter[str] = Counter()
    for content in changed(whole, number, seed):
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():  # libraries warn of what they are about to refuse
                warnings.simplefilter("ignore")
                found["equal" if kind.read(path) == good else "other values"] += 1
        except ConformalError as error:
            found["refused" if len(str(error)) < 2000 else "a long message"] += 1
        except Exception as error:
            found[type(error).__name__] += 1
    return found


def is_well(kind: Kind, found: Counter[str]) -> bool:
    """Whether nothing came that may not."""
    allowed = {"refused", "equal"} | (set() if kind.checked else {"other values"})
    return set(found) <= allowed


def main() -> int:
    parser = argparse.ArgumentParser(description="damage files of every kind and read them")
    parser.add_argument("--each", type=int, default=3000, help="damaged versions of each file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable()  # libraries log what they are about to refuse, too
    well = True
    print(f"{'file':<21} {'refused':>8} {'equal':>6} {'other values':>13}  anything else")
    for kind in KINDS:
        if not kind.is_read:
            print(f"{kind.name:<21} {kind.needs} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = outcomes(kind, Path(folder), options.each, options.seed)
        columns = [found.pop(name, 0) for name in ("refused", "equal", "other values")]
        rest = ", ".join(f"{name}: {count}" for name, count in found.items()) or "-"
        mark = "" if kind.checked else "  (no checksum)"
        print(f"{kind.name:<21} {columns[0]:>8} {columns[1]:>6} {columns[2]:>13}  {rest}{mark}")
        well = well and not found and not (kind.checked and columns[2])
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
