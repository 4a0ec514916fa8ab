"""Kill ``conformal-plugin annotate`` at random moments, again and again, and look at what is left.

One command, a few minutes for fifty kills::

    python benchmarks/kill_annotate.py --kills 50

A process that has imported everything forks a child for each run, so that a kill costs no start of
Python. The child runs the command line; SIGKILL ends it a random number of maps and milliseconds
later. After each kill every file with the name of a map must be a whole and right one, and those of
before must be the same files. In the end the command runs to its end, each photo must have its map,
and none may have been written twice. Prints a line per kill; exit code 1 where something was not as
it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Threads of OpenMP do not survive a fork: with more than one, the children would hang.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from PIL import Image

from conformal_plugin.cli import main as command_line
from conformal_plugin.files import MapStore, rounded

LINE = 5  # bytes of an id and its end of line in the journal
CLASSES = ("background", "red", "green", "blue")
ANNOTATOR = """
import time
import numpy as np
def scores(photo):
    time.sleep(0.004)
    return np.moveaxis(photo.astype(np.float32) / 255, 2, 0)
"""


def made_photos(folder: Path, count: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Write generated photos of different sizes; gives them by id."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    photos = {}
    for number in range(count):
        height, width = rng.integers(20, 120, 2)
        coarse = rng.integers(0, 256, (height // 10 + 1, width // 10 + 1, 3), dtype=np.uint8)
        photo = np.repeat(np.repeat(coarse, 10, axis=0), 10, axis=1)[:height, :width]
        photos[f"{number:04d}"] = photo
        Image.fromarray(photo).save(folder / f"{number:04d}.png")
    return photos


def expected_map(photo: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    colours = np.moveaxis(photo.astype(np.float32) / 255, 2, 0)
    return rounded(np.concatenate([1 - colours.max(axis=0, keepdims=True), colours]))


def child(arguments: Sequence[str], journal: Path) -> None:
    """Run the command line, noting each map that was written."""
    write = MapStore.write

    def noting(self: MapStore, name: str, scores: Any, **more: Any) -> None:
        write(self, name, scores, **more)
        with journal.open("a") as handle:
            handle.write(f"{name}\n")

    MapStore.write = noting  # type: ignore[method-assign]
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    os._exit(command_line(arguments))


def run(arguments: Sequence[str], journal: Path, after: tuple[int, float] | None) -> bool:
    """Fork a child and kill it some maps, and some seconds, later; False where it ended before."""
    before = journal.stat().st_size
    pid = os.fork()
    if pid == 0:
        child(arguments, journal)
    if after is not None:
        maps, seconds = after
        while (
            journal.stat().st_size < before + maps * LINE
            and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        ):
            time.sleep(0.0005)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"the command line ended with exit code {os.WEXITSTATUS(status)}")
    return False


def look(folder: Path, photos: dict[str, np.ndarray[Any, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The identity of each map that is there, and what is wrong with them."""
    files, wrong = {}, []
    for path in sorted(folder.glob("*.cpmap")):
        status = path.stat()
        files[path.stem] = (status.st_ino, status.st_mtime_ns, status.st_size)
        scores = MapStore.open(folder).read(path.stem)
        if scores.tobytes() != expected_map(photos[path.stem]).tobytes():
            wrong.append(f"{path.name} holds other scores")
    return files, wrong


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        photos = made_photos(root / "photos", options.photos, options.seed)
        (root / "killed_annotator.py").write_text(ANNOTATOR)
        (root / "classes.txt").write_text("\n".join(CLASSES))
        sys.path.insert(0, str(root))
        store, journal = root / "maps", root / "journal"
        journal.touch()
        arguments = [
            *("annotate", "--photos", str(root / "photos"), "--out", str(store)),
            *("--annotator", "killed_annotator:scores", "--classes", str(root / "classes.txt")),
        ]
        before: dict[str, Any] = {}
        wrong: list[str] = []
        ended_early = 0
        for number in range(1, options.kills + 1):
            # The work left is spread over the kills left, so that each falls into work.
            share = 2 * (len(photos) - len(before)) // (options.kills - number + 2)
            maps = int(rng.integers(0, max(share, 1)))
            seconds = float(rng.uniform(0, 0.02 if maps else 0.2))
            ended_early += not run(arguments, journal, (maps, seconds))
            files, damaged = look(store, photos)
            wrong += damaged
            wrong += [f"{name} was made again" for name in before if files[name] != before[name]]
            left = len(list(store.glob(".*.tmp"))) if store.is_dir() else 0
            print(
                f"kill {number:3}: {maps:3} maps and {seconds:.3f} s later, {len(files):4} maps, "
                f"all whole: {not damaged}, {len(files) - len(before):3} new, {left:3} temporary "
                f"files so far"
            )
            before = files
        run(arguments, journal, None)
        files, damaged = look(store, photos)
        wrong += damaged
        wrong += [f"{name} was made again" for name in before if files[name] != before[name]]
        wrong += [f"{name} has no map" for name in photos.keys() - files.keys()]
        twice = [name for name, times in Counter(journal.read_text().split()).items() if times > 1]
        wrong += [f"{name} was written twice" for name in twice]
        result = {
            "kills": options.kills,
            "runs_that_ended_before_their_kill": ended_early,
            "photos": len(photos),
            "maps": len(files),
            "wrong": wrong,
        }
        print(json.dumps(result))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
