"""Run all sections, print one table, write JSON; ends with 1 where a result is wrong."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

# The package from the checkout, installed or not; in the processes of the sections too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from report import Finished, table
from sections import SECTIONS, carried_out
from setting import Setting

from conformal_plugin._atomic import atomic_write_text

_SECONDS = 345.0  # of the six minutes, the rest is for starting and stopping processes


def main() -> int:
    options = _parser().parse_args()
    began = time.monotonic()
    setting = Setting(options.device, options.small)
    finished: list[Finished] = []
    for section in SECTIONS:
        left = began + options.seconds - time.monotonic()
        done = carried_out(section, setting, left)
        finished.append(done)
        print(f"{done.name}: {done.status}, {done.seconds:.1f} s", file=sys.stderr, flush=True)
        _write(options.json, setting, finished, time.monotonic() - began)
        if done.failed and section is SECTIONS[0]:  # the machine itself: no device, no torch
            break
    print(table(finished))
    return int(any(done.failed and done.decides for done in finished))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("--device", default="cuda", help="a device of torch's (default: cuda)")
    parser.add_argument("--small", action="store_true", help="sizes that say only that it runs")
    parser.add_argument(
        "--seconds", type=float, default=_SECONDS, help="what is not done by then is left out"
    )
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), metavar="FILE")
    return parser


def _write(path: Path, setting: Setting, finished: list[Finished], seconds: float) -> None:
    """After every section, so that a run that is cut off leaves what it found."""
    found = {
        "setting": asdict(setting),
        "seconds": round(seconds, 1),
        "sections": [asdict(done) | {"status": done.status} for done in finished],
    }
    atomic_write_text(path, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
