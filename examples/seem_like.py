"""Writes the SEEM-like form of a folder's probability maps, for the command line tool to read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from score_forms import seem_like
from tqdm import tqdm

from conformal_plugin._atomic import atomic_open
from conformal_plugin.errors import ConformalError, SourceFileError

__all__ = ["convert", "main"]

EXAMPLES = """\
example:
  python examples/seem_like.py --data ../voc-animals --out runs/seem-like
      reads ../voc-animals/probs/ID.npz, writes runs/seem-like/ID.npz: float32, key probs
"""


def convert(source: Path, target: Path) -> bool:
    """Write the SEEM-like form of one map; return False where it was already there."""
    if target.is_file():
        return False
    with np.load(source) as archive:
        if "probs" not in archive.files:
            raise SourceFileError(
                f"expected the key 'probs' in {source}, got {archive.files}; save the map with "
                "np.savez(path, probs=scores)"
            )
        scores = seem_like(archive["probs"])
    with atomic_open(target) as handle:
        np.savez_compressed(handle, probs=scores)
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Convert every map of a folder; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="seem_like.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with probs/ID.npz"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the new maps go"
    )
    options = parser.parse_args(argv)
    maps = sorted((options.data / "probs").glob("*.npz"))
    if not maps:
        parser.error(f"--data {options.data}: no maps probs/ID.npz in it")
    if options.out.resolve() == (options.data / "probs").resolve():
        parser.error(f"--out {options.out} holds the maps to read; name another folder")
    try:
        written = sum(
            convert(path, options.out / path.name) for path in tqdm(maps, unit="map", leave=False)
        )
    except ConformalError as error:
        print(f"seem_like: {error}", file=sys.stderr)
        return 1
    print(f"{written} maps written to {options.out}, {len(maps) - written} were already there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
